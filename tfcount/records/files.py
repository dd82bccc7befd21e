"""Files that are complete or not there, and files of others, which may be anything."""

import contextlib
import errno
import functools
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import Any

from tfcount.records import lock

# What a file is called while it is written: no two processes write under one name, and no user has such a file.
TEMPORARY = re.compile(r"tfcount-[0-9a-f]{16}\.writing")


def write_file(path: str, content: str | bytes) -> None:
    """Writes a file under a temporary name and moves it into place; makes its folder if need be.

    Where several processes write the file, it is that of the last one, and whole.

    Args:
      path: of the file.
      content: text, which is encoded as UTF-8, or bytes.
    """
    with _written(path, content) as temporary:
        os.replace(temporary, path)


def create_file(path: str, content: str | bytes) -> None:
    """Writes a file as `write_file` does, but never in place of another one.

    Raises:
      FileExistsError: if there is such a file, however short a time.
    """
    try:
        with _written(path, content) as temporary:
            _link(temporary, path)
    except FileExistsError as error:
        raise FileExistsError(f"{path} exists already: it is not written over. Give another name.") from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        # Not every file system has hard links.
        if error.errno not in (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        with open(target, "xb") as file, open(source, "rb") as written:
            file.write(written.read())


@contextlib.contextmanager
def _written(path: str, content: str | bytes) -> Iterator[str]:
    """Gives the temporary file with the content of a file; removes it at the end if it is still there."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    remove_abandoned(os.path.abspath(folder))
    try:
        descriptor = None
        while descriptor is None:
            temporary = os.path.join(folder, f"tfcount-{secrets.token_hex(8)}.writing")
            # The lock tells others that it is not abandoned.
            descriptor = lock.take(temporary, os.O_CREAT | os.O_EXCL)
        try:
            with open(descriptor, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


@functools.cache
def remove_abandoned(folder: str) -> None:
    """Removes the temporary files that processes left which were killed; looks at a folder once a process.

    Args:
      folder: where they may lie, an absolute path.
    """
    # Not every folder that can be written to can be listed.
    with contextlib.suppress(PermissionError):
        for name in filter(TEMPORARY.fullmatch, os.listdir(folder)):
            _remove_if_abandoned(os.path.join(folder, name))


def _remove_if_abandoned(path: str) -> None:
    # Another process may have removed it, or may be the only one that may write it.
    with contextlib.suppress(FileNotFoundError, PermissionError):
        file = lock.take(path)
        if file is None:
            return
        if lock.has_locks(file):
            os.unlink(path)
        os.close(file)


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
