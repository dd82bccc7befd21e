"""Files of a data set as they may come from strangers: regular, inside of their folder, of bounded size, in UTF-8."""

import collections
import io
import json
import os
import stat
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tfcount.records import images

# The largest file of annotations that is read. A million points take about 20 megabytes.
MOST_BYTES = 256 * 2**20
_REMEDY = "Copy it again from its source."


class AnnotationWarning(UserWarning):
    """Something that may be wrong with a data set: `build` tells it at its end, and the manifest keeps it."""


def warn(text: str) -> None:
    """Warns of something that may be wrong with a data set: a sentence that names the file."""
    warnings.warn(text, AnnotationWarning, stacklevel=3)


def check_file(path: str, folder: str) -> str:
    """Checks that a path is that of a regular file, whose name is UTF-8 and which is no link out of its data set.

    Reading something else may never end (a pipe, a device) or give away what is nobody's business.

    Args:
      path: of the file.
      folder: of the data set.

    Returns:
      The path.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is something else than a regular file, a link out of `folder`, or its name not UTF-8.
    """
    try:
        os.path.basename(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path!a} is not a name in UTF-8, which records need: rename it.") from None
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is missing, or a link that leads nowhere. {_REMEDY}")
    if not os.path.isfile(path):
        raise ValueError(f"{path} must be a regular file: replace or remove it.")
    if os.path.islink(path):
        inside, target = os.path.realpath(folder), os.path.realpath(path)
        if os.path.commonpath([inside, target]) != inside:
            raise ValueError(f"{path} is a link out of {folder}, to {target}: put the file itself there.")
    return path


def list_images(folder: str, root: str) -> list[str]:
    """Returns the sorted names of the image files in a folder, after `check_file` of each.

    Args:
      folder: of the images.
      root: folder of the whole data set.

    Raises:
      FileNotFoundError, ValueError: as `check_file`, or if two names are the same text in other characters.
    """
    names = images.list_images(folder)
    for name in names:
        check_file(os.path.join(folder, name), root)
    check_different(names, folder)
    return names


def check_different(names: Iterable[str], folder: str) -> None:
    """Checks that no two names of files are the same text: an accented letter may be one character or two.

    Raises:
      ValueError: if two are.
    """
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name), name)
        if other is not name:
            raise ValueError(f"{folder} holds {other!a} and {name!a}, which read the same: rename or remove one.")


def read_bytes(path: str) -> bytes:
    """Reads a file of annotations.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is no regular file, or larger than `MOST_BYTES`.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} must be a regular file: replace or remove it.")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES >> 20} megabytes: it is no file of annotations. {_REMEDY}")
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Opens a pipe without waiting for who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: str) -> str:
    """Reads a text file; a byte order mark, which spreadsheets put in front, is left out.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is not UTF-8, no regular file, or too large.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded as UTF-8 ({error}): save it as UTF-8.") from error


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of the lines of a file that are not empty; the first is number 1.

    Raises:
      OSError, ValueError: as `read_text`.
    """
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if line.strip():
            yield number, line.strip()


def read_json(path: str, holds: str) -> Any:
    """Reads a JSON file, all of whose numbers become floats.

    Args:
      path: of the file.
      holds: what the file should hold, a sentence for the error.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is not JSON, names a key twice, or is no regular file.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file ({error}). {holds}") from error


def to_numbers(values: Any, columns: int) -> np.ndarray:
    """Returns what JSON holds as lists of `columns` numbers as an array `(n, columns)` float64.

    Raises:
      ValueError: if it is something else: other lengths, a text, `true` or `null` among the numbers.
    """
    if not isinstance(values, list):
        raise ValueError(f"must be a list. Received: {short(values)}")
    for value in values:
        if not isinstance(value, list) or len(value) != columns or not all(type(number) is float for number in value):
            raise ValueError(f"must be a list of lists of {columns} numbers. Received: {short(value)}")
    return np.array(values, np.float64).reshape(-1, columns)


def to_number(text: str) -> float:
    """Returns the number that a text is; unlike `float`, it takes no underscores.

    Raises:
      ValueError: if it is none.
    """
    if "_" in text:
        raise ValueError(f"{text!r} must be a number.")
    return float(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!a} stands there twice: join or remove one")
    return content


def short(value: Any) -> str:
    """Returns a value for an error, at most 60 characters of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
