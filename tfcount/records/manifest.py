"""The manifest of a folder of records: what the folder holds, by which a damaged or changed file is told."""

import os
import reprlib
from typing import Any, NoReturn

from tfcount.records import checksums
from tfcount.records.checksums import SEAL
from tfcount.records.files import check_name, path_in, read_json

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
INDEX = "index.csv"
# What a split of the manifest calls the file of labels that people added, see `labels`; "pairs" is the key of before.
LABEL_KEYS = ("pairs", "labels")

_REMEDY = "It is not a manifest of records: restore it from a copy, or build the records again."

# What fields must be; numbers are those that 64 bits hold.
_SIZES = {"bytes": int, "sha256": str}
_FILE = {"path": str, "records": int, **_SIZES}
_SPLIT = {"images": int, "points": int, "points_clipped": int, "points_dropped": int, "shards": list}
_NAMES = {int: "a number of at least 0", str: "a text", list: "a list", dict: "a dict"}


def read_manifest(folder: str) -> dict:
    """Reads the manifest of a folder of records.

    Args:
      folder: what `python -m tfrecords_tools.build --output` wrote.

    Returns:
      The manifest: `format_version`, `dataset`, `source`, and `splits`, which maps the name of a split to `images`,
      `points`, `points_clipped`, `points_dropped` and `shards`, a list of `path`, `records`, `bytes` and `sha256`;
      where people added labels, `labels` has these for their file. `index` has `bytes` and `sha256` of the index;
      manifests of before do not have it.

    Raises:
      FileNotFoundError: if the folder or its manifest does not exist.
      ValueError: if the manifest cannot be read, is of another format version, has another form, or is not what was
        written.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"No records in {folder!r}: {path} does not exist. Build them with `python -m tfrecords_tools.build "
            f"--dataset=NAME --input=DIR --output={folder}`, whose --help lists the names."
        )
    manifest = read_json(path_in(folder, MANIFEST), _REMEDY)
    if not isinstance(manifest, dict) or "format_version" not in manifest:
        _refuse(path, "there is no `format_version`")
    version = manifest["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {reprlib.repr(version)}, and this tfcount reads version {FORMAT_VERSION}: "
            f"build the records again with `python -m tfrecords_tools.build`."
        )
    # Manifests of before have no seal.
    stated = manifest.pop(SEAL, None)
    try:
        whole = stated is None or stated == checksums.digest(manifest)
    except RecursionError:
        _refuse(path, "its values are nested too deeply")
    if not whole:
        raise ValueError(
            f"{path} is not what was written, by its own `{SEAL}`: it was damaged, or edited. Restore it from a "
            f"copy, or build the records again; if all that it says now is meant, remove its last key, `{SEAL}`."
        )
    _check_form(path, manifest)
    return manifest


def write_manifest(folder: str, manifest: dict) -> None:
    """Writes the manifest of a folder of records, with the SHA-256 of its content, in place of that of before."""
    checksums.write_sealed(os.path.join(folder, MANIFEST), manifest)


def split_of(manifest: dict, folder: str, split: str) -> dict:
    """Returns what the manifest of a folder tells of a split; raises ValueError if there is no such split."""
    splits = manifest["splits"]
    if split not in splits:
        raise ValueError(f"The records in {folder!r} have no split {split!r}; they have {sorted(splits)}.")
    return splits[split]


def hash_file(path: str) -> dict[str, Any]:
    """Returns what the manifest tells of a file besides its name: its `bytes` and its `sha256`."""
    return {"bytes": os.path.getsize(path), "sha256": checksums.sha256(path)}


def difference(found: dict, stated: dict) -> str:
    """Returns how a file differs from what the manifest states of it, both as `hash_file` has it, or ""."""
    if found["bytes"] != stated["bytes"]:
        return f"the file has {found['bytes']} bytes, and the manifest says {stated['bytes']}"
    return "" if found["sha256"] == stated["sha256"] else "the sha256 of the file is not that of the manifest"


def _check_form(path: str, manifest: dict) -> None:
    _check_fields(path, "", manifest, {"dataset": str, "splits": dict})
    # Results are kept under this name.
    check_name(manifest["dataset"], path)
    if "index" in manifest:
        _check_fields(path, "index", manifest["index"], _SIZES)
    for name, split in manifest["splits"].items():
        # Files of labels are named after their split.
        check_name(name, path)
        where = f"splits/{name}"
        _check_fields(path, where, split, _SPLIT)
        files = {f"{where}/shards/{number}": shard for number, shard in enumerate(split["shards"])}
        files |= {f"{where}/{key}": split[key] for key in LABEL_KEYS if key in split}
        for place, file in files.items():
            _check_fields(path, place, file, _FILE)
            check_name(file["path"], path)


def _check_fields(path: str, where: str, value: Any, fields: dict[str, type]) -> None:
    if not isinstance(value, dict):
        _refuse(path, f"`{where}` must be a dict. Received: {reprlib.repr(value)}")
    for name, kind in fields.items():
        place = f"{where}/{name}".lstrip("/")
        if name not in value:
            _refuse(path, f"`{place}` is missing")
        field: Any = value[name]
        # To Python, True is a number, too.
        if type(field) is not kind or (isinstance(field, int) and not 0 <= field < 2**63):
            _refuse(path, f"`{place}` must be {_NAMES[kind]}. Received: {reprlib.repr(field)}")


def _refuse(path: str, reason: str) -> NoReturn:
    raise ValueError(f"{path} is damaged ({reason}). {_REMEDY}")
