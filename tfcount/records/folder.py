"""A folder of records: its manifest, its index, and the images of a split as a dataset of serialized records."""

import csv
import dataclasses
import hashlib
import json
import os
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcount.records import holding_out, schema

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
INDEX = "index.csv"
# What a split of the manifest calls the file of labels that people added, see `labels`; "pairs" is the key of before.
LABEL_KEYS = ("pairs", "labels")

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


def read_manifest(folder: str) -> dict:
    """Reads the manifest of a folder of records.

    Args:
      folder: what `python -m tfrecords_tools.build --output` wrote.

    Returns:
      The manifest: `format_version`, `dataset`, `source`, and `splits`, which maps the name of a split to `images`,
      `points`, `points_clipped`, `points_dropped` and `shards`, a list of `path`, `records`, `bytes` and `sha256`;
      where people added labels, `labels` has these for their file.

    Raises:
      FileNotFoundError: if the folder or its manifest does not exist.
      ValueError: if the manifest cannot be read or is of another format version.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"No records in {folder!r}: {path} does not exist. Build them with `python -m tfrecords_tools.build "
            f"--dataset=NAME --input=DIR --output={folder}`, whose --help lists the names."
        )
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a manifest of records ({error!r}): build the records again.") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, and this tfcount reads version {FORMAT_VERSION}: build the records "
            f"again with `python -m tfrecords_tools.build`."
        )
    return manifest


def read_index(folder: str, split: str) -> list[IndexRow]:
    """Reads the rows of one split from the index of a folder of records, in the order of the shards.

    Raises:
      FileNotFoundError: if there are no records in the folder.
      ValueError: if the records have no such split.
    """
    splits = read_manifest(folder)["splits"]
    if split not in splits:
        raise ValueError(f"The records in {folder!r} have no split {split!r}; they have {sorted(splits)}.")
    with open(os.path.join(folder, INDEX), encoding="utf-8", newline="") as file:
        return [
            IndexRow(
                row["split"],
                row["id"],
                int(row["height"]),
                int(row["width"]),
                row["labels"],
                int(row["points"]),
                float(row["count"]),
                row["shard"],
            )
            for row in csv.DictReader(file)
            if row["split"] == split
        ]


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

        Raises:
          FileNotFoundError: if there are no records in the folder, or a shard is missing.
          ValueError: if the records are of another format version, lack the split, or the split is empty.
        """
        rows = tuple(read_index(folder, split))
        if not rows:
            raise ValueError(f"Split {split!r} of the records in {folder!r} holds no image.")
        for shard in sorted({row.shard for row in rows}):
            if not os.path.isfile(os.path.join(folder, shard)):
                raise FileNotFoundError(f"{os.path.join(folder, shard)} is missing: build the records again.")
        return cls(folder, rows)

    def select(self, ids: Collection[str]) -> "Records":
        """Returns only the images with these ids."""
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
        """Returns the serialized records, in the order of the index."""
        # Of no images it is empty, which is also a list of strings.
        return self._read(tf.data.Dataset.from_tensor_slices(tf.constant(self._paths(), tf.string)), 1)

    def shuffled(self, seed: int, start: int = 0) -> tf.data.Dataset:
        """Returns an endless stream of serialized records, each image once an epoch, in a new order every epoch.

        The stream is a function of the seed: from position `start` on it is what a stream from 0 gives there.

        Args:
          seed: of the orders.
          start: number of records to pass over.
        """
        paths = self._paths()
        size = sum(os.path.getsize(path) for path in paths)
        buffer = max(1, min(len(self.rows), _SHUFFLE_BYTES * len(self.rows) // max(size, 1)))

        def epoch(index):
            # Dataset.shuffle would also depend on the global seed of TensorFlow.
            file_seed, record_seed = tf.unstack(tf.random.split(tf.stack([tf.cast(seed, tf.int64), index]), 2))
            mixed = tf.random.experimental.stateless_shuffle(tf.constant(paths), file_seed)
            windows = self._read(tf.data.Dataset.from_tensor_slices(mixed), len(paths)).batch(buffer)
            return windows.map(lambda window: tf.random.experimental.stateless_shuffle(window, record_seed)).unbatch()

        first, rest = divmod(start, len(self.rows))
        return tf.data.Dataset.range(first, np.iinfo(np.int64).max).flat_map(epoch).skip(rest)

    def at(self, positions: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the serialized records at the positions that a dataset gives, in its order.

        Checksums are not compared, which takes a whole shard.

        Args:
          positions: scalars int64, positions in `rows`.

        Raises:
          tf.errors.DataLossError: at once if a shard has not the records of the index, later if it changes.
        """
        files, offsets, lengths = zip(*self._places(), strict=True)

        def read(position):
            with open(files[position], "rb") as file:
                file.seek(offsets[position])
                content = file.read(lengths[position])
            if len(content) < lengths[position]:
                raise tf.errors.DataLossError(None, None, f"{files[position]} ends inside of a record")
            return content

        return positions.map(
            lambda position: tf.ensure_shape(tf.numpy_function(read, [position], tf.string), []),
            num_parallel_calls=4,
            deterministic=True,
        )

    def read(self, positions: Sequence[int]) -> Iterator[bytes]:
        """Yields the serialized records at some positions in `rows`; for checksums and errors see `at`."""
        places = list(self._places())
        for position in positions:
            path, offset, length = places[position]
            with open(path, "rb") as file:
                file.seek(offset)
                yield file.read(length)

    def _attributes(self):
        """Returns the attributes of each image, by id."""
        ids = [row.id for row in self.rows]
        examples = map(tf.train.Example.FromString, self.read(range(len(ids))))
        texts = [example.features.feature["attributes"].bytes_list.value[0] for example in examples]
        return {identity: json.loads(text) for identity, text in zip(ids, texts, strict=True)}

    def _places(self):
        """Yields the file of the record of each row, its offset and its length, bytes."""
        places = {}
        for split in {row.split for row in self.rows}:
            rows = read_index(self.folder, split)
            for shard in {row.shard for row in self.rows if row.split == split}:
                path = os.path.join(self.folder, shard)
                ids = [row.id for row in rows if row.shard == shard]
                found = list(_record_offsets(path))
                if len(found) != len(ids):
                    message = f"{path} holds {len(found)} records, and the index says {len(ids)}"
                    raise tf.errors.DataLossError(None, None, message)
                places.update({(split, name): (path, *place) for name, place in zip(ids, found, strict=True)})
        return (places[row.split, row.id] for row in self.rows)

    def _paths(self):
        return sorted({os.path.join(self.folder, row.shard) for row in self.rows})

    def _read(self, paths, cycle):
        cycle = min(cycle, 16)
        dataset = paths.interleave(tf.data.TFRecordDataset, cycle_length=cycle, num_parallel_calls=cycle)
        if self.complete:
            return dataset
        ids = tf.constant([row.id for row in self.rows], tf.string)

        def is_selected(serialized):
            identity = tf.io.parse_single_example(serialized, {"id": tf.io.FixedLenFeature([], tf.string)})["id"]
            return tf.reduce_any(tf.equal(ids, identity))

        return dataset.filter(is_selected)


def _record_offsets(path):
    """Yields the offset and the length of every whole record of a file, bytes: length, checksum, content, checksum."""
    size = os.path.getsize(path)
    end = 0
    with open(path, "rb") as file:
        while end + 12 <= size:
            file.seek(end)
            (length,) = struct.unpack("<Q", file.read(8))
            offset, end = end + 12, end + length + 16
            if end <= size:
                yield offset, length
