"""Folders that tfcount makes and deletes: only those that carry its marker."""

import contextlib
import os
import shutil

# Its name, and what it says, tell that a folder is not the user's.
MARKER = "tfcount.temporary"
_TEXT = "tfcount made this folder, and deletes it when it needs it no longer: keep nothing of your own here.\n"


def make(folder: str) -> None:
    """Makes a temporary folder; one of before stays with what it holds.

    Raises:
      FileExistsError: if it is there, with something in it, and without the marker.
    """
    if is_temporary(folder):
        return
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise FileExistsError(f"{folder} is in the way: it lacks {MARKER}, so tfcount did not make it. Move it away.")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, MARKER), "w", encoding="utf-8") as file:
        file.write(_TEXT)


def is_temporary(folder: str) -> bool:
    """Returns whether a folder carries the marker."""
    return os.path.isfile(os.path.join(folder, MARKER))


def remove(folder: str) -> None:
    """Removes a temporary folder with all that it holds; any other folder, and what is not there, stays as it is."""
    if not is_temporary(folder):
        return
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name != MARKER:
            os.unlink(entry.path)
    # Last, so that what a process which is killed here leaves is known again.
    os.unlink(os.path.join(folder, MARKER))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
