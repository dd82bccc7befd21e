"""Labels that people add to records after these were built; they lie beside the images."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from tfcount.records import schema
from tfcount.records.files import write_json
from tfcount.records.folder import MANIFEST, read_index, read_manifest

# How the number of objects in image `id_a` compares with that in image `id_b`.
RELATIONS = ("greater", "less", "close")


class RankingPair(NamedTuple):
    """A statement about two images: that `id_a` shows more, fewer or about as many objects as `id_b`.

    Attributes:
      id_a: id of the first image.
      id_b: id of the second image.
      relation: one of `RELATIONS`.
      source: who says so: "human", "counts", "implied", ...
    """

    id_a: str
    id_b: str
    relation: str
    source: str

    def serialize(self) -> bytes:
        """Returns the record as a serialized `tf.train.Example`.

        Raises:
          ValueError: if `relation` is none of `RELATIONS`.
        """
        if self.relation not in RELATIONS:
            raise ValueError(f"`relation` must be one of {RELATIONS}. Received: {self.relation!r}.")
        features = {name: schema.bytes_feature(value.encode()) for name, value in self._asdict().items()}
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def write_pairs(folder: str, split: str, pairs: Iterable[RankingPair]) -> None:
    """Keeps the labels of pairs of a split beside its images, in place of those that were there.

    The manifest names the file; what it named before is removed when it names the new one.

    Args:
      folder: of the records.
      split: whose images the pairs are of.
      pairs: all of them.

    Raises:
      FileNotFoundError: if there are no records in the folder.
      ValueError: if the records have no such split, or a pair names an image that it has not.
    """
    ids = {row.id for row in read_index(folder, split)}
    pairs = list(pairs)
    for pair in pairs:
        unknown = {pair.id_a, pair.id_b} - ids
        if unknown:
            raise ValueError(f"Split {split!r} of the records in {folder!r} has no image {min(unknown)!r}.")
    manifest = read_manifest(folder)
    before = manifest["splits"][split].pop("pairs", None)
    if pairs:
        path = os.path.join(folder, "pairs.writing")
        with tf.io.TFRecordWriter(path) as writer:
            for pair in pairs:
                writer.write(pair.serialize())
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{split}-pairs-{digest[:12]}.tfrecord"
        stated = {"path": name, "records": len(pairs), "bytes": os.path.getsize(path), "sha256": digest}
        os.replace(path, os.path.join(folder, name))
        manifest["splits"][split]["pairs"] = stated
    write_json(os.path.join(folder, MANIFEST), manifest)
    after = manifest["splits"][split].get("pairs")
    if before and (not after or before["path"] != after["path"]):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, before["path"]))


def read_pairs(folder: str, split: str) -> list[RankingPair]:
    """Reads the labels of pairs that are kept beside the images of a split; none if there are none.

    Raises:
      FileNotFoundError: if there are no records in the folder.
      ValueError: if the records have no such split, or the file of pairs is missing or damaged.
    """
    splits = read_manifest(folder)["splits"]
    if split not in splits:
        raise ValueError(f"The records in {folder!r} have no split {split!r}; they have {sorted(splits)}.")
    stated = splits[split].get("pairs")
    if not stated:
        return []
    path = os.path.join(folder, stated["path"])
    try:
        records = [parse_pair(serialized) for serialized in tf.data.TFRecordDataset(path)]
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read ({error.message}): give the labels of pairs again.") from error
    if len(records) != stated["records"]:
        raise ValueError(f"{path} holds {len(records)} pairs, and the manifest says {stated['records']}.")
    return [RankingPair(**{name: value.numpy().decode() for name, value in record.items()}) for record in records]


def parse_pair(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads one `RankingPair` inside a graph: a dict of scalar strings named like its fields."""
    text = tf.io.FixedLenFeature([], tf.string)
    return tf.io.parse_single_example(serialized, dict.fromkeys(RankingPair._fields, text))
