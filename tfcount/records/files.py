"""Files that are complete or not there."""

import contextlib
import json
import os
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
