"""Which files of a folder are those of records: only these are ever deleted."""

import os
import re
from collections.abc import Collection

from tfcount.records import files, lock, temporary
from tfcount.records.folder import INDEX, LABEL_KEYS, MANIFEST, read_manifest
from tfcount.records.labels import TEMPORARY, is_labels_file
from tfrecords_tools.writing.shard import NOTE, WRITING

_SHARD = re.compile(rf".+-\d{{5}}-of-\d{{5}}\.tfrecord({re.escape(NOTE)}|{re.escape(WRITING)})?")
_NAMES = {MANIFEST, INDEX, TEMPORARY, lock.NAME, temporary.MARKER}


def others(folder: str) -> list[str]:
    """Returns the names of what a folder of records holds besides them, sorted.

    Args:
      folder: of records, or of those that are being built.
    """
    named = _named(folder)
    return sorted(name for name in os.listdir(folder) if not _is_ours(folder, name, named))


def remove(folder: str, keep: Collection[str] = ()) -> None:
    """Removes the files of a folder of records, and the folder if nothing else is in it.

    Args:
      folder: of records, or of those that are being built.
      keep: names of files that stay.
    """
    named = _named(folder)
    # The manifest goes last, as it tells which files are those of the records.
    for name in sorted(os.listdir(folder), key=lambda name: name == MANIFEST):
        if name not in keep and _is_ours(folder, name, named):
            os.remove(os.path.join(folder, name))
    if not keep and not os.listdir(folder):
        os.rmdir(folder)


def _named(folder: str) -> set[str] | None:
    """Returns the files that the manifest of records names; None where shards are told by their form alone."""
    # What is being built is in a folder that is temporary, and has no manifest, or that of a call that was killed.
    if temporary.is_temporary(folder):
        return None
    try:
        splits = read_manifest(folder)["splits"].values()
        labels = {split[key]["path"] for split in splits for key in LABEL_KEYS if key in split}
        return labels | {shard["path"] for split in splits for shard in split["shards"]}
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _is_ours(folder: str, name: str, named: set[str] | None) -> bool:
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return False
    if named is not None and name.removesuffix(NOTE) in named:
        return True
    by_form = named is None and _SHARD.fullmatch(name) is not None
    return by_form or name in _NAMES or files.TEMPORARY.fullmatch(name) is not None or is_labels_file(path)
