"""Shards: the records of a split in files, read in any order, each compared with what the index says of its place."""

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# What the error of a pass says where a shard does not hold the images of the index.
DIFFERS = "does not hold the images that the index says"

# What errors say that come of a shard: also that it is no record, or the name of a shard, where it cannot be opened.
_PHRASES = (DIFFERS, "Could not parse example", ".tfrecord")


class Shard(NamedTuple):
    """One file of records.

    Attributes:
      path: of the file.
      ids: of all of its images, in order.
      wanted: whether each is read; the others are passed over.
    """

    path: str
    ids: Sequence[str]
    wanted: Sequence[bool]


def read(shards: Sequence[Shard], order: tf.data.Dataset, cycle: int) -> tf.data.Dataset:
    """Returns the serialized records of shards.

    Every record has the id that the index has at its place, and every shard as many records: else reading it fails.

    Args:
      shards: to read.
      order: scalars int64, the numbers of the shards in the order to read.
      cycle: how many are read at a time, a record of each in turn.

    Raises:
      tf.errors.DataLossError: while it is iterated, if a record is damaged.
      tf.errors.InvalidArgumentError: while it is iterated, if a shard holds other images than the index says.
    """
    # Also where this is called inside of a graph, which need not hold all names.
    with tf.init_scope():
        paths = tf.constant([shard.path for shard in shards], tf.string)
        # Behind the ids of a shard stands its end: the ids of all shards are one tensor, of which each takes its part.
        ids = tf.constant([name for shard in shards for name in (*shard.ids, "")], tf.string)
        wanted = tf.constant([value for shard in shards for value in (*shard.wanted, False)], tf.bool)
        ends = tf.constant(np.cumsum([0, *(len(shard.ids) + 1 for shard in shards)]), tf.int64)

    def read_one(number):
        begin, end = ends[number], ends[number + 1]
        # The empty record is the end of the file.
        stored = tf.data.TFRecordDataset(paths[number]).concatenate(tf.data.Dataset.from_tensors(""))
        stated = tf.data.Dataset.from_tensor_slices((ids[begin:end], wanted[begin:end]))

        def compare(record, place):
            name, chosen = place
            return _compared(record, name, paths[number]), chosen

        # The end is compared, and left out: where records of shards alternate, it would take a turn.
        compared = tf.data.Dataset.zip(stored, stated).map(compare)
        return compared.take_while(lambda record, _: tf.not_equal(record, ""))

    records = order.interleave(read_one, cycle_length=cycle, num_parallel_calls=cycle)
    if not all(all(shard.wanted) for shard in shards):
        # Not before the records of shards alternate: what is left out takes its turn, too.
        records = records.filter(lambda _, chosen: chosen)
    return records.map(lambda record, _: record)


def read_at(shards: Sequence[Shard], ids: Sequence[str], positions: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the serialized records of images at given positions, in the order of the positions.

    Args:
      shards: to read.
      ids: of images in them.
      positions: scalars int64: of one of the ids each.

    Raises:
      tf.errors.DataLossError: at once if a shard has more or fewer records than the index says; while it is iterated,
        if a record is damaged.
      tf.errors.InvalidArgumentError: while it is iterated, if a record is not that of the index.
    """
    places = {}
    for shard in shards:
        offsets = list(_record_offsets(shard.path))
        if len(offsets) != len(shard.ids):
            message = f"{shard.path} holds {len(offsets)} records, and the index says {len(shard.ids)}"
            raise tf.errors.DataLossError(None, None, message)
        places.update({name: (shard.path, offset) for name, offset in zip(shard.ids, offsets, strict=True)})
    paths = tf.constant([places[name][0] for name in ids], tf.string)
    offsets = tf.constant([places[name][1] for name in ids], tf.int64)
    names = tf.constant(ids, tf.string)

    def read_one(position):
        # As TFRecordDataset reads, with its checksums, but from this place on, and no further than it must.
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=[paths[position]], compression_type="", buffer_size=0, byte_offsets=[offsets[position]]
        )
        stored = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
        record = stored.concatenate(tf.data.Dataset.from_tensors("")).take(1).get_single_element()
        return _compared(record, names[position], paths[position])

    return positions.map(read_one, num_parallel_calls=4, deterministic=True)


def find_damage(shards: Sequence[Shard]) -> str | None:
    """Reads shards until one cannot be read, or does not hold the images of the index; returns a line about it."""
    for shard in shards:
        read = 0
        try:
            for record in tf.data.TFRecordDataset(shard.path):
                if read == len(shard.ids) or _id(record).numpy() != shard.ids[read].encode():
                    return f"{shard.path} {DIFFERS}"
                read += 1
        except tf.errors.OpError:
            name = repr(shard.ids[read]) if read < len(shard.ids) else "behind the last one"
            return f"{shard.path} is damaged: the record of image {name} cannot be read"
        if read < len(shard.ids):
            return f"{shard.path} {DIFFERS}: it ends before image {shard.ids[read]!r}"
    return None


def is_damage(error: tf.errors.OpError) -> bool:
    """Returns whether an error of TensorFlow may come of records that are damaged or not those of the index."""
    return isinstance(error, tf.errors.DataLossError) or any(phrase in str(error) for phrase in _PHRASES)


def _compared(record: tf.Tensor, name: tf.Tensor, path: tf.Tensor) -> tf.Tensor:
    """Returns a record, which must have this id; where there is no id, the record must be empty."""
    found = _id(record)
    same = tf.equal(found, name) & tf.equal(tf.equal(record, ""), tf.equal(name, ""))
    message = tf.strings.join([path, f" {DIFFERS} (the next is ", found, " in place of ", name, ")"])
    with tf.control_dependencies([tf.debugging.Assert(same, [message])]):
        return tf.identity(record)


def _id(record: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_single_example(record, {"id": tf.io.FixedLenFeature([], tf.string, "")})["id"]


def _record_offsets(path: str) -> Iterator[int]:
    """Yields the offset of every whole record of a file, bytes: length, checksum, content, checksum."""
    size = os.path.getsize(path)
    end = 0
    with open(path, "rb") as file:
        while end + 12 <= size:
            file.seek(end)
            (length,) = struct.unpack("<Q", file.read(8))
            begin, end = end, end + length + 16
            if end <= size:
                yield begin
