"""Files that are complete or not there."""

import contextlib
import errno
import functools
import json
import os
import re
import secrets
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


def read_json(path: str, remedy: str) -> Any:
    """Reads a JSON file.

    Args:
      path: of the file.
      remedy: what to do where it is damaged: a sentence.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). {remedy}") from error


@contextlib.contextmanager
def replacing(path: str, temporary: str) -> Iterator[str]:
    """Moves what is written inside under a temporary name into place, or removes it where writing fails or is stopped.

    Args:
      path: of the file.
      temporary: what it is called until it is complete, in the same folder.
    """
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        # Also where a signal ends the command.
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
