"""SHA-256 of files and of JSON documents: damage that leaves a file readable is seen before anything counts by it."""

import hashlib
import json
import os
import re
from typing import Any

from tfcount.records.files import read_json, write_file, write_json

# Of the files of a folder, one a line, as `sha256sum --check` reads it.
SUMS = "SHA256SUMS"
# The key of a JSON document that holds the SHA-256 of all the rest.
SEAL = "sha256"


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed(path: str, content: dict[str, Any]) -> None:
    """Writes a JSON document with its own SHA-256."""
    write_json(path, {**content, SEAL: digest(content)})


def read_sealed(path: str, remedy: str) -> dict[str, Any]:
    """Reads what `write_sealed` wrote, or a JSON document without a SHA-256, as earlier versions wrote them.

    Args:
      path: of the file.
      remedy: what to do where it is damaged: a sentence.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is missing: {remedy[0].lower()}{remedy[1:]}")
    try:
        content = read_json(path, remedy)
        if not isinstance(content, dict):
            raise ValueError(f"{path} is damaged (it holds no JSON object). {remedy}")
        seal = content.pop(SEAL, None)
        whole = seal is None or seal == digest(content)
    except RecursionError as error:
        raise ValueError(f"{path} is damaged (it is nested too deeply). {remedy}") from error
    if not whole:
        raise ValueError(f"{path} is damaged (its SHA-256 is not that of its content). {remedy}")
    return content


def write_sums(folder: str) -> None:
    """Writes the SHA-256 of every file of a folder into `SHA256SUMS` there."""
    lines = [f"{sha256(os.path.join(folder, name))}  {name}\n" for name in _names(folder)]
    write_file(os.path.join(folder, SUMS), "".join(lines))


def check_sums(folder: str, needed: str) -> None:
    """Checks the files of a folder against its `SHA256SUMS`; folders of earlier versions have none, and pass.

    Args:
      folder: of the files.
      needed: the file that must be among them.

    Raises:
      ValueError: if a file is missing, or another one than was written.
    """
    path = os.path.join(folder, SUMS)
    if not os.path.lexists(path):
        return
    try:
        with open(path, encoding="utf-8") as file:
            lines = [re.fullmatch(r"([0-9a-f]{64})  (.+)\n", line) for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
    stated = {line[2]: line[1] for line in lines if line}
    if not all(lines) or needed not in stated:
        raise ValueError(f"{path} is damaged")
    # Names lead nowhere else: only files of the folder are looked at.
    names = _names(folder)
    for name, digest in stated.items():
        if name not in names:
            raise ValueError(f"{os.path.join(folder, name)} is missing")
        if sha256(os.path.join(folder, name)) != digest:
            raise ValueError(f"{os.path.join(folder, name)} is damaged: its SHA-256 is not that of {SUMS}")


def _names(folder: str) -> list[str]:
    """Returns the paths of the regular files of a folder, relative to it, but for `SHA256SUMS`."""
    paths = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    names = [os.path.relpath(path, folder) for path in paths if os.path.isfile(path)]
    return sorted(name for name in names if name != SUMS)


def digest(content: dict[str, Any]) -> str:
    """Returns the SHA-256 of a JSON document, whose keys may be in any order."""
    # As it is read: keys are text, tuples are lists.
    content = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
