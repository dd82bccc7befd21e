"""Files that are complete or not there, and files of others, which may be anything."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from typing import Any


def write_file(path: str, content: str | bytes) -> None:
    """Writes a file under a temporary name and moves it into place; makes its folder if need be.

    Args:
      path: of the file.
      content: text, which is encoded as UTF-8, or bytes.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        with replacing(path, f"{path}.writing") as temporary, open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def write_json(path: str, value: Any, indent: int | None = 2) -> None:
    """Writes a value as JSON, as `write_file` does; `indent=None` puts all of it into one line."""
    write_file(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def path_in(folder: str, name: str) -> str:
    """Returns the path of a file of a folder that another file names: it is a file of this folder, and no other.

    Args:
      folder: that the file is in.
      name: as the other file has it.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no plain name, the name of something else than a file, or of a link out of the folder.
    """
    check_name(name, f"A file of {folder}")
    path = os.path.join(folder, name)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{path} is missing: restore it from a copy, or build the records again.")
    # Of a link, the file that it leads to.
    if os.path.islink(path) and os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise ValueError(f"{path} is a link out of the folder: put the file itself there.")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file: put the file itself there.")
    return path


def check_name(name: str, where: str) -> None:
    """Raises ValueError if a name that stands in a file, `where`, is more than a name: it may lead anywhere."""
    if not name or name in (".", "..") or not name.isprintable() or any(mark in name for mark in "/\\"):
        raise ValueError(
            f"{where} names {name!r}, which is not the name of a file in its folder: restore it from a copy, or build "
            "the records again."
        )


def read_bytes(path: str) -> bytes:
    """Reads a file, and nothing else: neither a device, which may have no end, nor a pipe, which may wait for ever.

    Raises:
      OSError: if there is no such file, or it cannot be read.
      ValueError: if it is not a regular file.
    """
    # A pipe would be opened when somebody else opens it, too.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    # A folder is refused here, before Python refuses to open it without its name.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file: put the file itself there.")
    with open(descriptor, "rb") as file:
        return file.read()


def decode_text(content: bytes, path: str, remedy: str) -> str:
    """Returns the text of a file; raises ValueError, which names its path and the remedy, if it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged (it is not encoded as UTF-8: {error}). {remedy}") from error


def read_json(path: str, remedy: str) -> Any:
    """Reads a JSON file.

    Args:
      path: of the file.
      remedy: what to do where it is damaged: a sentence.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not a regular file, or not JSON.
    """
    text = decode_text(read_bytes(path), path, remedy)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). {remedy}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is damaged (its values are nested too deeply). {remedy}") from error


@contextlib.contextmanager
def replacing(path: str, temporary: str) -> Iterator[str]:
    """Moves what is written inside under a temporary name into place, or removes it where writing fails or is stopped.

    Args:
      path: of the file.
      temporary: what it is called until it is complete, in the same folder.
    """
    # What is left of before may be a link, which would be followed, wherever it leads.
    with contextlib.suppress(FileNotFoundError):
        os.remove(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        # Also where a signal ends the command.
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
