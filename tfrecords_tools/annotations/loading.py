"""What sources of images share: images with points inside of them, and texts that change when a file does."""

import dataclasses
import os

import numpy as np

from tfcount.records import images, schema
from tfrecords_tools.writing.plan import ImageSource, LoadedImage


@dataclasses.dataclass(frozen=True)
class LimitedImage:
    """An image of a source, which is refused if it is too large.

    Attributes:
      source: the image.
      max_megapixels: it has at most, million pixels.
    """

    source: ImageSource
    max_megapixels: float

    @property
    def id(self) -> str:
        """Name of the image."""
        return self.source.id

    def fingerprint(self) -> str:
        """Returns that of the source: the limit does not change what is read."""
        return self.source.fingerprint()

    def load(self) -> LoadedImage:
        """Reads the image and its annotation."""
        with images.pixel_limit(self.max_megapixels):
            return self.source.load()


def load_points(
    image_id: str, path: str, points: np.ndarray, boxes: np.ndarray | None = None, attributes: dict | None = None
) -> LoadedImage:
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
    kept, clipped, dropped = clip_points(points, image.height, image.width)
    record = schema.AnnotatedImage(
        image_id, image.encoded, image.height, image.width, kept, attributes=dict(attributes or {})
    )
    if boxes is not None:
        record.boxes = np.asarray(boxes, np.float32)[_near_image(points, image.height, image.width)]
    return LoadedImage(record, clipped, dropped)


def clip_points(points: np.ndarray, height: int, width: int) -> tuple[np.ndarray, int, int]:
    """Moves points that lie up to one pixel outside of the image to its edge, and drops the others outside.

    A click at the border easily lands on the next pixel; further out, and for NaN, the place of the object is unknown.

    Args:
      points: (n, 2) points (x, y) in pixels.
      height: of the image, pixels.
      width: of the image, pixels.

    Returns:
      The points as (m, 2) float32 with `0 <= x <= width`, `0 <= y <= height`; the number of moved points; the number
      of dropped points.

    Raises:
      ValueError: if `points` is not of shape (n, 2).
    """
    points = np.asarray(points, np.float64)
    if points.size == 0:
        return np.zeros((0, 2), np.float32), 0, 0
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"`points` must be of shape (n, 2). Received: shape {points.shape}.")
    near = points[_near_image(points, height, width)]
    inside = np.clip(near, 0, [width, height])
    clipped = int(np.sum(np.any(inside != near, axis=1)))
    return inside.astype(np.float32), clipped, len(points) - len(near)


def _near_image(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns which of some points `(n, 2)` lie in the image or up to one pixel outside: `(n,)` bool."""
    # NaN fails every comparison, so it is not near.
    return np.all((points >= -1) & (points <= np.array([width, height]) + 1), axis=1)


def fingerprint_files(*paths: str) -> str:
    """Returns a text that changes when one of the files does."""
    stats = [(os.path.abspath(path), os.stat(path)) for path in paths]
    return repr([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])
