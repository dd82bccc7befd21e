"""Where commands are told to write: looked at before they do what takes long."""

import os


def check_folder(flag: str, path: str) -> None:
    """Checks that a folder is there, or can be made, and can be written to; makes nothing.

    Args:
      flag: that names it, for the message.
      path: of the folder.

    Raises:
      OSError: if it cannot.
      ValueError: if the path is empty.
    """
    if not path:
        raise ValueError(f"--{flag} is empty: give a folder.")
    existing = os.path.abspath(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    what = f"--{flag}={path}" if existing == os.path.abspath(path) else f"--{flag}={path}: {existing}"
    if not os.path.isdir(existing):
        raise NotADirectoryError(f"{what} is {'a file' if os.path.isfile(existing) else 'no folder'}. Give a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{what} is not yours to write to (permission denied). Give another folder.")


def check_file(flag: str, path: str) -> None:
    """Checks that a file can be written, or written over; writes nothing.

    Args:
      flag: that names it, for the message.
      path: of the file.

    Raises:
      OSError: if it cannot.
      ValueError: if the path is empty, or that of something else.
    """
    if not path:
        raise ValueError(f"--{flag} is empty: give a file.")
    # A pipe would wait for somebody who reads.
    if os.path.lexists(path) and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no file"
        raise ValueError(f"--{flag}={path} is {what}. Give the name of a file.")
    check_folder(flag, os.path.dirname(path) or ".")
