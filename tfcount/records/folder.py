"""A folder of records: its index, and the images of a split as a dataset of serialized records."""

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcount.records import holding_out, schema, shards
from tfcount.records.files import decode_text, path_in, read_bytes
from tfcount.records.manifest import INDEX, LABEL_KEYS, MANIFEST, difference, read_manifest, split_of

# What to do about a folder that is damaged.
_REMEDY = "Restore it from a copy, or build the records again."

# Of pixels and points: what 32 bits hold.
_MOST = 2**31 - 1

# Memory that shuffling may take, bytes of encoded records.
_SHUFFLE_BYTES = 1 << 30


class IndexRow(NamedTuple):
    """What `index.csv` tells of one image without opening its shard; `count` is NaN where it is unknown."""

    split: str
    id: str
    height: int
    width: int
    labels: str
    points: int
    count: float  # type: ignore[assignment]  # The column hides `tuple.count`, which no row needs.
    shard: str


def read_index(folder: str, split: str) -> list[IndexRow]:
    """Reads the rows of one split from the index of a folder of records, in the order of the shards.

    Raises:
      FileNotFoundError: if there are no records in the folder, or they have no index.
      ValueError: if the records have no such split, or the index cannot be read or is not that of the manifest.
    """
    return _read_rows(folder, split, read_manifest(folder))


def _read_rows(folder: str, split: str, manifest: dict) -> list[IndexRow]:
    split_of(manifest, folder, split)
    path = path_in(folder, INDEX)
    content = read_bytes(path)
    if "index" in manifest:
        found = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        different = difference(found, manifest["index"])
        if different:
            raise ValueError(f"{path} is damaged: {different}. {_REMEDY}")
    table = csv.reader(io.StringIO(decode_text(content, path, _REMEDY), newline=""))
    try:
        header = next(table, [])
        if tuple(header) != IndexRow._fields:
            raise ValueError(f"its first line must be {','.join(IndexRow._fields)}, and is {','.join(header)!r:.200}")
        rows = [_parse_row(row, manifest["splits"]) for row in table]
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is damaged, in line {table.line_num}: {error}. {_REMEDY}") from error
    return [row for row in rows if row.split == split]


def _parse_row(values: list[str], splits: Collection[str]) -> IndexRow:
    if len(values) != len(IndexRow._fields):
        raise ValueError(f"it has {len(values)} values, and must have {len(IndexRow._fields)}")
    split, name, height, width, labels, points, count, shard = values
    row = IndexRow(split, name, int(height), int(width), labels, int(points), float(count), shard)
    if split not in splits:
        raise ValueError(f"the manifest has no split {split!r}")
    if not name or labels not in schema.LABELS:
        raise ValueError(f"`id` must not be empty, and `labels` one of {schema.LABELS}. Received: {name!r}, {labels!r}")
    if not (0 < row.height <= _MOST and 0 < row.width <= _MOST and 0 <= row.points <= _MOST) or not (
        math.isnan(row.count) or 0 <= row.count < math.inf
    ):
        raise ValueError(f"the image {name!r} cannot have {height} x {width} pixels, {points} points, count {count}")
    return row


@dataclasses.dataclass(frozen=True)
class Records:
    """Images of one split, or some of them.

    Attributes:
      folder: the folder with `manifest.json`.
      rows: what the index tells of each image.
      complete: whether these are all images of their split.
    """

    folder: str
    rows: tuple[IndexRow, ...]
    complete: bool = True

    @classmethod
    def open(cls, folder: str, split: str) -> "Records":
        """Opens a split.

        Sizes of files are compared, and index and manifest; contents are, while they are read.

        Raises:
          FileNotFoundError: if there are no records in the folder, or a shard is missing.
          ValueError: if the records are of another format version, lack the split, the split is empty, or files are
            damaged or do not belong together.
        """
        manifest = read_manifest(folder)
        rows = tuple(_read_rows(folder, split, manifest))
        if not rows:
            raise ValueError(f"Split {split!r} of the records in {folder!r} holds no image.")
        stated = manifest["splits"][split]
        for problem in disagreements(split, stated, rows):
            raise ValueError(f"{os.path.join(folder, INDEX)} does not belong to {MANIFEST}: {problem}. {_REMEDY}")
        for shard in stated["shards"]:
            path = path_in(folder, shard["path"])
            size = os.path.getsize(path)
            if size != shard["bytes"]:
                raise ValueError(
                    f"{path} is damaged: the file has {size} bytes, and {MANIFEST} says {shard['bytes']}. {_REMEDY}"
                )
        return cls(folder, rows)

    def select(self, ids: Collection[str]) -> "Records":
        """Returns only the images with these ids."""
        ids = frozenset(ids)
        rows = tuple(row for row in self.rows if row.id in ids)
        return Records(self.folder, rows, self.complete and len(rows) == len(self.rows))

    def with_labels(self, *labels: str) -> "Records":
        """Returns only the images of which this much is known, see `schema.LABELS`."""
        return self.select({row.id for row in self.rows if row.labels in labels})

    def label_cost(self) -> dict[str, int]:
        """Returns how much annotation these images have: numbers of `images`, `dots`, `counts`, `pairs`, `columns`."""
        return {
            "images": len(self.rows),
            "dots": sum(row.points for row in self.rows),
            "counts": sum(row.labels == schema.COUNT for row in self.rows),
            "pairs": 0,
            "columns": 0,
        }

    def fingerprint(self) -> str:
        """Returns the SHA-256 of what these images are: equal for equal records, wherever they lie.

        Labels that people add later are left out: the images stay as they are.
        """
        manifest = read_manifest(self.folder)["splits"]
        stated = [
            {name: value for name, value in manifest[split].items() if name not in LABEL_KEYS}
            for split in sorted({row.split for row in self.rows})
        ]
        ids = [] if self.complete else sorted(row.id for row in self.rows)
        return hashlib.sha256(json.dumps([stated, ids], sort_keys=True).encode()).hexdigest()

    def hold_out(self, fraction: float, seed: int, rule: str = "") -> tuple["Records", "Records"]:
        """Splits off a part: at random, the last images, or whole groups.

        Args:
          fraction: of the images to hold out, 0 (none) to below 1; rounded to whole images, at least one unless 0, or
            down to whole groups, at least one.
          seed: equal seeds give equal parts.
          rule: which images, see `holding_out.check_rule`; at random if empty.

        Returns:
          The images kept and the images held out.

        Raises:
          ValueError: if no image would be kept, or the rule is not legal or does not fit the images.
        """
        if not 0 <= fraction < 1:
            raise ValueError(f"--data_validation_fraction must be at least 0 and below 1. Received: {fraction}.")
        held_out = 0 if fraction == 0 else max(1, round(fraction * len(self.rows)))
        if held_out >= len(self.rows):
            raise ValueError(
                f"--data_validation_fraction={fraction} leaves no image to train on: the split has {len(self.rows)}."
            )
        ids = [row.id for row in self.rows]
        chosen = holding_out.choose(ids, held_out, seed, rule, self._attributes)
        return self.select({*ids} - chosen), self.select(chosen)

    def serialized(self) -> tf.data.Dataset:
        """Returns the serialized records, in the order of the index; for errors see `shards.read`."""
        parts = self._shards()
        return shards.read(parts, tf.data.Dataset.range(len(parts)), 1)

    def shuffled(self, seed: int, start: int = 0) -> tf.data.Dataset:
        """Returns an endless stream of serialized records, each image once an epoch, in a new order every epoch.

        The stream is a function of the seed: from position `start` on it is what a stream from 0 gives there. For
        errors see `shards.read`.

        Args:
          seed: of the orders.
          start: number of records to pass over.
        """
        parts = self._shards()
        size = sum(os.path.getsize(part.path) for part in parts)
        buffer = max(1, min(len(self.rows), _SHUFFLE_BYTES * len(self.rows) // max(size, 1)))

        def epoch(index):
            # Dataset.shuffle would also depend on the global seed of TensorFlow.
            file_seed, record_seed = tf.unstack(tf.random.split(tf.stack([tf.cast(seed, tf.int64), index]), 2))
            mixed = tf.random.experimental.stateless_shuffle(tf.range(len(parts), dtype=tf.int64), file_seed)
            cycle = min(len(parts), 16)
            windows = shards.read(parts, tf.data.Dataset.from_tensor_slices(mixed), cycle).batch(buffer)
            return windows.map(lambda window: tf.random.experimental.stateless_shuffle(window, record_seed)).unbatch()

        first, rest = divmod(start, len(self.rows))
        return tf.data.Dataset.range(first, np.iinfo(np.int64).max).flat_map(epoch).skip(rest)

    def at(self, positions: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the serialized records at the positions that a dataset gives, in its order.

        Args:
          positions: scalars int64, positions in `rows`.

        Raises:
          tf.errors.DataLossError: at once if a shard has not the records of the index; see also `shards.read_at`.
        """
        return shards.read_at(self._shards(), [row.id for row in self.rows], positions)

    def _shards(self) -> list[shards.Shard]:
        """Returns the shards that hold these images, in the order of the index; of each, all ids must be known."""
        everything: Sequence[IndexRow] = self.rows
        if self.rows and not self.complete:
            everything = read_index(self.folder, self.rows[0].split)
        wanted, used = {row.id for row in self.rows}, {row.shard for row in self.rows}
        ids: dict[str, list[str]] = {shard: [] for shard in sorted(used)}
        for row in everything:
            if row.shard in used:
                ids[row.shard].append(row.id)
        parts = [
            shards.Shard(os.path.join(self.folder, shard), names, [name in wanted for name in names])
            for shard, names in ids.items()
        ]
        if sum(sum(part.wanted) for part in parts) != len(wanted):
            raise ValueError(f"{os.path.join(self.folder, INDEX)} has changed since it was opened: start again.")
        return parts

    def read(self, positions: Sequence[int]) -> Iterator[bytes]:
        """Yields the serialized records at some positions in `rows`; for errors see `at`."""
        wanted = tf.constant(list(positions), tf.int64)
        return self.at(tf.data.Dataset.from_tensor_slices(wanted)).as_numpy_iterator()

    def _attributes(self):
        """Returns the attributes of each image, by id."""
        ids = [row.id for row in self.rows]
        examples = map(tf.train.Example.FromString, self.read(range(len(ids))))
        texts = [example.features.feature["attributes"].bytes_list.value[0] for example in examples]
        return {identity: json.loads(text) for identity, text in zip(ids, texts, strict=True)}


def disagreements(split: str, stated: dict, rows: Sequence[IndexRow]) -> Iterator[str]:
    """Yields a line about each way in which the index of a split is not what the manifest states of it."""
    for name in ("images", "points"):
        indexed = len(rows) if name == "images" else sum(row.points for row in rows)
        if indexed != stated[name]:
            yield f"{split}: the index has {indexed} {name}, the manifest {stated[name]}"
    numbers = Counter(row.id for row in rows)
    for name in sorted(name for name, number in numbers.items() if number > 1):
        yield f"{split}: several images have the id {name}"
    records = Counter(row.shard for row in rows)
    shards_stated = {shard["path"]: shard["records"] for shard in stated["shards"]}
    for row in rows:
        if row.shard not in shards_stated:
            yield f"{row.shard}: {row.id}: the index names a shard that is not in the manifest"
    for shard, number in shards_stated.items():
        if records[shard] != number:
            yield f"{shard}: the index has {records[shard]} records, the manifest {number}"


@contextmanager
def naming_damage(*parts: Records) -> Iterator[None]:
    """Tells which shard is damaged where reading records stops in an error of TensorFlow, which does not.

    Args:
      *parts: the images that are read inside.

    Raises:
      ValueError: in place of the error of TensorFlow.
    """
    try:
        yield
    except tf.errors.OpError as error:
        for part in parts if shards.is_damage(error) else ():
            damage = shards.find_damage(part._shards())
            if damage is not None:
                check = f"`python -m tfrecords_tools.show {part.folder} --check` tells all."
                raise ValueError(f"{damage}. {_REMEDY} {check}") from error
        raise
