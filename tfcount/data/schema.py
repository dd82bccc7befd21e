"""What a record holds: the one definition that the writers of records and the readers share."""

import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcount.files import write_file

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
INDEX = "index.csv"

# What the annotation of an image tells. POINTS: every object has its point. COUNT: only how many there are. NONE:
# nothing. REGIONS: every object inside the labeled rectangles `regions` has its point, the rest is unknown.
POINTS, COUNT, NONE, REGIONS = LABELS = ("points", "count", "none", "regions")

# How the number of objects in image `id_a` compares with that in image `id_b`.
RELATIONS = ("greater", "less", "close")

# How the files of images begin that a record may hold.
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_UPRIGHT = 1


def _points(values=()) -> np.ndarray:
    return np.zeros((0, 2), np.float32) if len(values) == 0 else np.asarray(values, np.float32)


@dataclasses.dataclass
class AnnotatedImage:
    """One image and what is known of it.

    Attributes:
      id: name of the image, unique within a split.
      image: the encoded file, JPEG or PNG, 8 bits a channel, grey or RGB, stored upright.
      height: of the decoded image, pixels.
      width: of the decoded image, pixels.
      points: (n, 2) float32, (x, y) in pixels, origin in the top-left corner, `0 <= x <= width`, `0 <= y <= height`.
      labels: one of `LABELS`.
      count: number of objects; given where `labels` is "count", and allowed elsewhere.
      regions: (r, 4) float32 labeled rectangles, (left, top, right, bottom) in pixels.
      boxes: (n, 4) float32 boxes around the objects, (left, top, right, bottom) in pixels.
      roi: PNG of a mask of the image's size, or b"": zero where objects are not to be counted.
      perspective: (height, width) float32, pixels per meter, or None.
      attributes: anything else that is known, as JSON: weather, scene, session, ...
    """

    id: str
    image: bytes
    height: int
    width: int
    points: np.ndarray = dataclasses.field(default_factory=_points)
    labels: str = POINTS
    count: float | None = None
    regions: np.ndarray | None = None
    boxes: np.ndarray | None = None
    roi: bytes = b""
    perspective: np.ndarray | None = None
    attributes: dict = dataclasses.field(default_factory=dict)

    def serialize(self) -> bytes:
        """Returns the record as a serialized `tf.train.Example`.

        Raises:
          ValueError: if `labels` is none of `LABELS`, or "count" without a count.
        """
        if self.labels not in LABELS:
            raise ValueError(f"`labels` of image {self.id!r} must be one of {LABELS}. Received: {self.labels!r}.")
        if self.labels == COUNT and self.count is None:
            raise ValueError(f"Image {self.id!r} has `labels`={COUNT!r} and needs a `count`. Received: None.")
        features = {
            "id": _bytes(self.id.encode()),
            "image": _bytes(self.image),
            "height": _ints([self.height]),
            "width": _ints([self.width]),
            "labels": _bytes(self.labels.encode()),
            "points": _floats(self.points),
            "count": _floats([] if self.count is None else [self.count]),
            "regions": _floats([] if self.regions is None else self.regions),
            "boxes": _floats([] if self.boxes is None else self.boxes),
            "roi": _bytes(self.roi),
            "perspective": _floats([] if self.perspective is None else self.perspective),
            "attributes": _bytes(json.dumps(self.attributes, sort_keys=True).encode()),
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


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
        features = {name: _bytes(value.encode()) for name, value in self._asdict().items()}
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
    write_file(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=1) + "\n")
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


def parse_image(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads one record of an image inside a graph.

    Args:
      serialized: scalar string, an `AnnotatedImage.serialize()`.

    Returns:
      A dict with the fields of `AnnotatedImage`: `id`, `image`, `labels`, `roi`, `attributes` as scalar strings,
      `height` and `width` as int32 scalars, `points` (n, 2), `regions` (r, 4), `boxes` (n, 4) and `perspective`
      ((height, width), or (0, 0) where there is none) as float32, and `count`, a float32 scalar: the number of points
      where nothing else is said, and NaN where the number is unknown.
    """
    text = tf.io.FixedLenFeature([], tf.string)
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    number = tf.io.FixedLenFeature([], tf.int64)
    record = tf.io.parse_single_example(
        serialized,
        {
            "id": text,
            "image": text,
            "height": number,
            "width": number,
            "labels": text,
            "points": floats,
            "count": floats,
            "regions": floats,
            "boxes": floats,
            "roi": text,
            "perspective": floats,
            "attributes": text,
        },
    )
    for name in ("height", "width"):
        record[name] = tf.cast(record[name], tf.int32)
    record["points"] = tf.reshape(record["points"], [-1, 2])
    for name in ("regions", "boxes"):
        record[name] = tf.reshape(record[name], [-1, 4])
    has_perspective = tf.cast(tf.size(record["perspective"]) > 0, tf.int32)
    record["perspective"] = tf.reshape(
        record["perspective"], tf.stack([record["height"], record["width"]]) * has_perspective
    )
    counted = tf.cast(tf.shape(record["points"])[0], tf.float32)
    unstated = tf.where(tf.equal(record["labels"], POINTS), counted, float("nan"))
    record["count"] = tf.concat([record["count"], [unstated]], 0)[0]
    return record


def parse_pair(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads one `RankingPair` inside a graph: a dict of scalar strings named like its fields."""
    text = tf.io.FixedLenFeature([], tf.string)
    return tf.io.parse_single_example(serialized, dict.fromkeys(RankingPair._fields, text))


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
      where pairs of images are labeled, `pairs` has these for the file of the labels.

    Raises:
      FileNotFoundError: if the folder or its manifest does not exist.
      ValueError: if the manifest cannot be read or is of another format version.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"No records in {folder!r}: {path} does not exist. Build them with `python -m tfrecords_tools.build "
            f"--dataset=sha|shb|ucf_qnrf|jhu|nwpu|vgg_cells|folder --input=DIR --output={folder}`."
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


def fingerprint(folder: str, split: str) -> str:
    """Returns the SHA-256 of what the manifest tells of a split: equal for equal records, wherever they lie.

    Labels of pairs are left out: people add to them, and the images stay as they are.

    Raises:
      FileNotFoundError: if there are no records in the folder.
    """
    stated = {name: value for name, value in read_manifest(folder)["splits"][split].items() if name != "pairs"}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


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


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(values) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.asarray(values, np.float32).ravel()))


def is_plain_image(encoded: bytes) -> bool:
    """Whether records hold the bytes of an image file as they are: JPEG or PNG, 8 bits, grey or RGB, upright."""
    try:
        if encoded.startswith(JPEG):
            return _is_plain_jpeg(encoded)
        return encoded.startswith(PNG) and _is_plain_png(encoded)
    except (struct.error, IndexError):
        # A header that only the decoders understand: what they make of it is stored instead.
        return False


def _is_plain_jpeg(encoded: bytes) -> bool:
    upright = True
    for marker, segment in _jpeg_segments(encoded):
        if marker == 0xE1 and segment.startswith(_EXIF):
            upright = upright and _exif_orientation(segment[len(_EXIF) :]) == _UPRIGHT
        # The frame headers: all of 0xC0 to 0xCF but for tables (C4, CC) and an extension (C8).
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, components = segment[0], segment[5]
            return upright and precision == 8 and components in (1, 3)
    return False


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    position = 2
    while True:
        while encoded[position + 1] == 0xFF:
            position += 1
        marker, length = encoded[position + 1], struct.unpack_from(">H", encoded, position + 2)[0]
        yield marker, encoded[position + 4 : position + 2 + length]
        position += 2 + length


def _is_plain_png(encoded: bytes) -> bool:
    depth, color = encoded[24], encoded[25]
    if depth != 8 or color not in (0, 2):
        return False
    position = len(PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", encoded, position)
        chunk = encoded[position + 8 : position + 8 + length]
        if kind == b"tRNS" or (kind == b"eXIf" and _exif_orientation(chunk) != _UPRIGHT):
            return False
        if kind == b"IEND":
            return True
        position += length + 12


def _exif_orientation(exif: bytes) -> int:
    """Returns how the pixels are turned and mirrored, 1 to 8: 1 is upright, and what Exif data do not tell."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return _UPRIGHT
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (entries,) = struct.unpack_from(order + "H", exif, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == _ORIENTATION:
            return value if 1 <= value <= 8 else _UPRIGHT
    return _UPRIGHT
