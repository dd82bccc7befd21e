"""What sources of images share: images with their points, and texts that change when a file does."""

import os

import numpy as np

from tfcount.records import images, schema
from tfrecords_tools import writing


def load_points(
    image_id: str, path: str, points: np.ndarray, boxes: np.ndarray | None = None, attributes: dict | None = None
) -> writing.Loaded:
    """Reads an image whose objects are all annotated with points.

    Args:
      image_id: id of the record.
      path: of the image file.
      points: (n, 2) points (x, y) in pixels, as annotated: some may lie outside of the image.
      boxes: (n, 4) boxes of the same objects, (left, top, right, bottom) in pixels; None if there are none. A
        point that is dropped takes its box along.
      attributes: what else is known of the image.

    Raises:
      ValueError: if the image cannot be used, or `points` is not of shape (n, 2).
    """
    image = images.read_encoded(path)
    kept, clipped, dropped = writing.clip_points(points, image.height, image.width)
    record = schema.AnnotatedImage(
        image_id, image.encoded, image.height, image.width, kept, attributes=dict(attributes or {})
    )
    if boxes is not None:
        record.boxes = np.asarray(boxes, np.float32)[writing.near_image(points, image.height, image.width)]
    return writing.Loaded(record, clipped, dropped)


def fingerprint_files(*paths: str) -> str:
    """Returns a text that changes when one of the files does."""
    stats = [(os.path.abspath(path), os.stat(path)) for path in paths]
    return repr([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])
