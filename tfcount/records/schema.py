"""What a record holds: the one definition that the writers of records and the readers share."""

import dataclasses
import json

import numpy as np
import tensorflow as tf

# What the annotation of an image tells. POINTS: every object has its point. COUNT: only how many there are. NONE:
# nothing. REGIONS: every object inside the labeled rectangles `regions` has its point, the rest is unknown.
POINTS, COUNT, NONE, REGIONS = LABELS = ("points", "count", "none", "regions")


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
            "id": bytes_feature(self.id.encode()),
            "image": bytes_feature(self.image),
            "height": _ints([self.height]),
            "width": _ints([self.width]),
            "labels": bytes_feature(self.labels.encode()),
            "points": floats_feature(self.points),
            "count": floats_feature([] if self.count is None else [self.count]),
            "regions": floats_feature([] if self.regions is None else self.regions),
            "boxes": floats_feature([] if self.boxes is None else self.boxes),
            "roi": bytes_feature(self.roi),
            "perspective": floats_feature([] if self.perspective is None else self.perspective),
            "attributes": bytes_feature(json.dumps(self.attributes, sort_keys=True).encode()),
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


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


def bytes_feature(value: bytes) -> tf.train.Feature:
    """Returns one string of bytes as `tf.train.Example` holds it."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def floats_feature(values) -> tf.train.Feature:
    """Returns numbers of any shape as `tf.train.Example` holds them: flat, 32 bits."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.asarray(values, np.float32).ravel()))
