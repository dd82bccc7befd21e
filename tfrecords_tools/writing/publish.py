"""Makes a folder of records of finished shards: manifest, index, labels that people added before, its name."""

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tfcount.records import temporary
from tfcount.records.folder import INDEX, MANIFEST, IndexRow, read_index, read_manifest
from tfcount.records.labels import KINDS, changing, is_labels_file, read_labels, write_labels
from tfcount.records.manifest import FORMAT_VERSION, hash_file, write_manifest
from tfrecords_tools.writing import owned
from tfrecords_tools.writing.plan import Shard
from tfrecords_tools.writing.shard import NOTE
from tfrecords_tools.writing.warning import describe_warnings

# What the records that new ones take the place of are called, in the folder of these, until they are removed.
REPLACED = "replaced"


def check_output(output: str, overwrite: bool) -> None:
    """Checks that nothing is lost which nobody wants to replace.

    Args:
      output: folder to make.
      overwrite: whether records there may be replaced.

    Raises:
      FileExistsError: if `output` exists, and holds something else than records or `overwrite` is not set; or its
        manifest cannot be read, and people added labels.
    """
    if os.path.isdir(output) and not os.listdir(output):
        return
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise FileExistsError(f"{output} exists already. Give --overwrite to replace it, or another --output.")
    if not os.path.isfile(os.path.join(output, MANIFEST)):
        raise FileExistsError(f"{output} holds something else than records, which --overwrite would delete.")
    others = owned.others(output)
    if others:
        raise FileExistsError(
            f"{output} also holds {_listed(others)}, which --overwrite would delete. Move it away, or give another "
            "--output."
        )
    try:
        read_manifest(output)
    except ValueError as error:
        labels = [name for name in sorted(os.listdir(output)) if is_labels_file(os.path.join(output, name))]
        if labels:
            raise FileExistsError(
                f"{output} holds labels that people added, {_listed(labels)}, and nothing tells of what: {error} Move "
                "them away to replace the records without them."
            ) from error


def open_partial(partial: str) -> None:
    """Makes the folder in which records are built, or goes on with that of an earlier call.

    Args:
      partial: the folder.

    Raises:
      FileExistsError: if it holds something that no earlier call wrote.
    """
    temporary.make(partial)
    others = owned.others(partial)
    if others:
        raise FileExistsError(
            f"{partial} also holds {_listed(others)}, which is none of the records that are built there. Move it away."
        )


def finish_killed(partial: str, output: str) -> None:
    """Completes, or undoes, what a call that was killed while it replaced records had begun.

    Args:
      partial: folder in which the call built records.
      output: what they were to be called.

    Raises:
      FileExistsError: if the records of before were moved away, and somebody put others in their place.
    """
    if temporary.is_temporary(output):
        _clean(output)
    replaced = os.path.join(partial, REPLACED)
    if temporary.is_temporary(partial) and os.path.isdir(replaced):
        if os.path.lexists(output):
            raise FileExistsError(
                f"{replaced} holds the records that {output} held before a call was killed which replaced them. Move "
                "one of the two away."
            )
        os.rename(replaced, output)
        sys.stderr.write(f"{output} is again what it was before a call was killed which replaced it.\n")


def publish(
    partial: str,
    output: str,
    dataset: str,
    source: Mapping[str, Any],
    shards: Sequence[Shard],
    statistics: Mapping[str, dict],
    warnings: Sequence[str],
    overwrite: bool,
) -> dict:
    """Gives a folder that holds all shards its manifest, its index and its name, in place of what has that name.

    Args:
      partial: temporary folder with the shards and their notes; it ceases to exist.
      output: what it is called from now on.
      dataset: name of the data set, kept in the manifest.
      source: where the data are from; JSON, kept in the manifest.
      shards: all of them, in order.
      statistics: of every shard, by its name; see `write_shard`.
      warnings: what may be wrong with the data set as a whole.
      overwrite: whether records that have the name may be replaced.

    Returns:
      The manifest: see `read_manifest`. It also holds `duplicates`, lists of "split/id" whose images have equal
      bytes, and `warnings`, sentences on what may be wrong with the data set.

    Raises:
      FileExistsError: if something came into `output` meanwhile which must not be replaced.
      BlockingIOError: if another process changes labels of the records there, and does not end.
    """
    manifest = _manifest(dataset, source, shards, statistics)
    manifest["warnings"] = [*warnings, *describe_warnings(shards, statistics, manifest["splits"])]
    index = os.path.join(partial, INDEX)
    _write_index(index, shards, statistics)
    manifest["index"] = hash_file(index)
    write_manifest(partial, manifest)
    if os.path.isdir(output) and os.listdir(output):
        # Nobody adds labels to what is going to be removed.
        with changing(output):
            check_output(output, overwrite)
            _take_over_labels(output, partial)
            os.rename(output, os.path.join(partial, REPLACED))
            os.rename(partial, output)
    else:
        os.rename(partial, output)
    _clean(output)
    return manifest


def _manifest(dataset: str, source: Mapping[str, Any], shards: Sequence[Shard], statistics: Mapping[str, dict]) -> dict:
    splits: dict[str, dict] = {}
    same_bytes: dict[str, list[str]] = {}
    for shard in shards:
        stated = statistics[shard.path]
        rows = [IndexRow(*row) for row in stated["rows"]]
        split = splits.setdefault(
            shard.split, {"images": 0, "points": 0, "points_clipped": 0, "points_dropped": 0, "shards": []}
        )
        split["images"] += len(rows)
        split["points"] += sum(row.points for row in rows)
        split["points_clipped"] += stated["points_clipped"]
        split["points_dropped"] += stated["points_dropped"]
        split["shards"].append(
            {
                "path": shard.path,
                "records": len(rows),
                "bytes": stated["bytes"],
                "sha256": stated["sha256"],
            }
        )
        for row, digest in zip(rows, stated["images"]):
            same_bytes.setdefault(digest, []).append(f"{row.split}/{row.id}")
    return {
        "format_version": FORMAT_VERSION,
        "dataset": dataset,
        "source": dict(source),
        "splits": splits,
        "duplicates": sorted(sorted(names) for names in same_bytes.values() if len(names) > 1),
    }


def _write_index(path: str, shards: Sequence[Shard], statistics: Mapping[str, dict]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(IndexRow._fields)
        for shard in shards:
            for values in statistics[shard.path]["rows"]:
                row = IndexRow(*values)
                whole = float(row.count).is_integer()
                table.writerow(row._replace(count=int(row.count)) if whole else row)


def _take_over_labels(replaced: str, partial: str) -> None:
    """Keeps what people said of images that are still there, and tells how much is lost."""
    try:
        before = read_manifest(replaced)["splits"]
    except ValueError:
        # Then it holds no labels either, see `check_output`.
        return
    after = read_manifest(partial)["splits"]
    for split in before:
        ids = {row.id for row in read_index(partial, split)} if split in after else set()
        try:
            labels = {name: read_labels(replaced, split, kind) for name, kind in KINDS.items()}
        except ValueError as error:
            sys.stderr.write(f"Warning: labels that people added to split {split!r} are lost: {error}\n")
            continue
        for name, given in labels.items():
            kept = [label for label in given if ids.issuperset(label.images())]
            if kept:
                write_labels(partial, split, KINDS[name], kept)
            if len(kept) < len(given):
                lost = f"{len(given) - len(kept)} of {len(given)} labels of the kind {name!r} are lost"
                sys.stderr.write(f"{lost}: split {split!r} lacks their images.\n")


def _clean(output: str) -> None:
    """Removes what is no longer needed of records that have their name: those of before, notes, the marker."""
    replaced = os.path.join(output, REPLACED)
    if os.path.isdir(replaced):
        owned.remove(replaced)
    if os.path.isdir(replaced):
        sys.stderr.write(f"Warning: {replaced} keeps {_listed(os.listdir(replaced))}, which is none of the records.\n")
    for name in os.listdir(output):
        if name.endswith(NOTE):
            os.remove(os.path.join(output, name))
    os.remove(os.path.join(output, temporary.MARKER))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"
