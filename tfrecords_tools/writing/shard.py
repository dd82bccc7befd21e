"""Writes one shard, and notes beside it that it is finished and what it holds."""

import contextlib
import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcount.records import schema
from tfcount.records.files import write_json
from tfcount.records.folder import IndexRow
from tfrecords_tools.writing.plan import ImageWarning, Shard

# What follows the name of a shard in that of its note, and of the file while it is written.
NOTE = ".finished.json"
WRITING = ".writing"


def write_shard(folder: str, shard: Shard, advance: Callable[[], Any]) -> dict:
    """Writes one shard.

    The shard gets its name when it is complete, and then a note beside it, which holds the returned statistics.

    Args:
      folder: to write to.
      shard: what to write.
      advance: is called after each image.

    Returns:
      The statistics of the shard: its `fingerprint`, `bytes`, `sha256`, `points_clipped`, `points_dropped`, and of each
      image its row of the index, `rows`, the SHA-256 of its bytes, `images`, and its `warnings`.

    Raises:
      OSError: if it cannot be written, for example because the disk is full.
      ValueError: if a source cannot be used.
    """
    path = os.path.join(folder, shard.path)
    temporary = path + WRITING
    rows, images = [], []
    warnings: list[ImageWarning] = []
    clipped = dropped = 0
    try:
        with tf.io.TFRecordWriter(temporary) as writer:
            for source in shard.sources:
                loaded = source.load()
                writer.write(loaded.image.serialize())
                clipped += loaded.points_clipped
                dropped += loaded.points_dropped
                warnings += loaded.warnings
                rows.append(_index_row(shard, loaded.image))
                images.append(hashlib.sha256(loaded.image.image).hexdigest())
                advance()
        with open(temporary, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        statistics = {
            "fingerprint": shard.fingerprint,
            "bytes": os.path.getsize(temporary),
            "sha256": digest,
            "points_clipped": clipped,
            "points_dropped": dropped,
            "rows": rows,
            "images": images,
            "warnings": warnings,
        }
        os.replace(temporary, path)
        write_json(path + NOTE, statistics)
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, error.message, path) from error
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written: {error.message}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    return statistics


def read_finished(folder: str, shards: Sequence[Shard]) -> dict[str, dict]:
    """Returns the statistics of the shards that an earlier call finished and whose sources are still the same.

    Args:
      folder: that may hold some of the shards.
      shards: all of them.

    Returns:
      Statistics as `write_shard` returns them, by the name of the shard.
    """
    finished = {}
    for shard in shards:
        path = os.path.join(folder, shard.path)
        try:
            with open(path + NOTE, encoding="utf-8") as file:
                statistics = json.load(file)
            same = statistics["fingerprint"] == shard.fingerprint and "warnings" in statistics
            if same and statistics["bytes"] == os.path.getsize(path):
                finished[shard.path] = statistics
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
    return finished


def _index_row(shard: Shard, image: schema.AnnotatedImage) -> IndexRow:
    count = image.count
    if count is None:
        count = len(image.points) if image.labels == schema.POINTS else math.nan
    return IndexRow(
        shard.split, image.id, image.height, image.width, image.labels, len(image.points), float(count), shard.path
    )
