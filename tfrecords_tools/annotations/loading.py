"""What sources of images share: images with points inside of them, and texts that change when a file does."""

import contextlib
import contextvars
import dataclasses
import os
from collections.abc import Iterator

import numpy as np

from tfcount.records import images, schema
from tfrecords_tools.writing.plan import ImageSource, ImageWarning, LoadedImage

# What becomes of points further than a pixel outside of their image.
DROP, CLIP, ERROR = POINTS_OUTSIDE = ("drop", "clip", "error")
# From this many points on, what holds for most of them is no accident.
_FEWEST = 3

_points_outside = contextvars.ContextVar("points_outside", default=DROP)


@dataclasses.dataclass(frozen=True)
class BoundedImage:
    """An image of a source, in whatever format it is, with what bounds it.

    Attributes:
      source: the image.
      points_outside: what becomes of its points outside, one of `POINTS_OUTSIDE`.
      max_megapixels: it is refused if it has more, million pixels.
    """

    source: ImageSource
    points_outside: str = DROP
    max_megapixels: float = images.MAX_MEGAPIXELS

    @property
    def id(self) -> str:
        """Name of the image."""
        return self.source.id

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its annotation does; the limit changes nothing of either."""
        return repr((self.source.fingerprint(), self.points_outside))

    def load(self) -> LoadedImage:
        """Reads the image and its annotation."""
        with images.pixel_limit(self.max_megapixels), _bounding(self.points_outside):
            return self.source.load()


def load_points(
    image_id: str,
    path: str,
    points: np.ndarray,
    boxes: np.ndarray | None = None,
    attributes: dict | None = None,
) -> LoadedImage:
    """Reads an image whose objects are all annotated with points.

    The count of the image is that of its annotated points, also where some are dropped.

    Args:
      image_id: id of the record.
      path: of the image file.
      points: (n, 2) points (x, y) in pixels, as annotated: some may lie outside of the image, see `clip_points`.
      boxes: (n, 4) boxes of the same objects, (left, top, right, bottom) in pixels; None if there are none. A
        point that is dropped takes its box along.
      attributes: what else is known of the image.

    Raises:
      ValueError: if the image cannot be used, `points` is not of shape (n, 2), most of them lie outside or in the
        first pixel, or a box is not finite.
    """
    points = _of_pairs(points)
    image = images.read_encoded(path)
    outside = _points_outside.get()
    far = ~_near_image(points, image.height, image.width)
    _check_places(path, points, far, image.height, image.width, outside)
    kept, clipped, dropped = clip_points(points, image.height, image.width, outside)
    record = schema.AnnotatedImage(
        image_id, image.encoded, image.height, image.width, kept, attributes=dict(attributes or {})
    )
    if dropped:
        record.count = float(len(points))
    if boxes is not None:
        record.boxes = _finite_boxes(path, boxes)[_kept(points, image.height, image.width, outside)]
    moved = int(np.sum(far)) - dropped
    warnings = []
    for number, done in ((dropped, "are dropped, and stay in the counts"), (moved, "are moved to the edge")):
        if number:
            text = f"have points outside: {{number:,}} of {{points:,}} {done}"
            warnings.append(ImageWarning(text, f"{path}, {number} of {len(points)}", number))
    return LoadedImage(record, clipped, dropped, tuple(warnings))


def clip_points(points: np.ndarray, height: int, width: int, outside: str = DROP) -> tuple[np.ndarray, int, int]:
    """Moves points that lie up to one pixel outside of the image to its edge, and drops the others outside.

    A click at the border easily lands on the next pixel; further out, and for NaN, the place of the object is unknown.

    Args:
      points: (n, 2) points (x, y) in pixels.
      height: of the image, pixels.
      width: of the image, pixels.
      outside: "clip" moves all points outside to the edge, but for those that are not finite.

    Returns:
      The points as (m, 2) float32 with `0 <= x <= width`, `0 <= y <= height`; the number of moved points; the number
      of dropped points.

    Raises:
      ValueError: if `points` is not of shape (n, 2).
    """
    points = _of_pairs(points)
    near = points[_kept(points, height, width, outside)]
    inside = np.clip(near, 0, [width, height])
    clipped = int(np.sum(np.any(inside != near, axis=1)))
    return inside.astype(np.float32), clipped, len(points) - len(near)


def fingerprint_files(*paths: str) -> str:
    """Returns a text that changes when one of the files does."""
    stats = [(os.path.abspath(path), os.stat(path)) for path in paths]
    return repr([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])


@contextlib.contextmanager
def _bounding(points_outside: str) -> Iterator[None]:
    token = _points_outside.set(points_outside)
    try:
        yield
    finally:
        _points_outside.reset(token)


def _of_pairs(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"`points` must be of shape (n, 2). Received: shape {points.shape}.")
    return points


def _kept(points: np.ndarray, height: int, width: int, outside: str) -> np.ndarray:
    return np.isfinite(points).all(axis=1) if outside == CLIP else _near_image(points, height, width)


def _near_image(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns which of some points `(n, 2)` lie in the image or up to one pixel outside: `(n,)` bool."""
    # NaN fails every comparison, so it is not near.
    return np.all((points >= -1) & (points <= np.array([width, height]) + 1), axis=1)


def _check_places(path: str, points: np.ndarray, far: np.ndarray, height: int, width: int, outside: str) -> None:
    """Checks that points may be pixels of their image; `far` says which are outside."""
    number = int(np.sum(far))
    told = f"{path} is {width} x {height} pixels, and {number} of its {len(points)} points lie outside, the first at "
    told += f"({', '.join(f'{value:g}' for value in points[far][0])})." if number else ""
    if number and outside == ERROR:
        raise ValueError(f"{told} Correct its annotation, or give another --points_outside than {ERROR}.")
    # One head or two outside may be an accident, which CLIP accepts; as DROP it would leave an image that looks empty.
    if number > len(points) / 2 and (outside != CLIP or number >= _FEWEST):
        swapped = number >= _FEWEST and np.mean(_near_image(points[:, ::-1], height, width)) > 0.9
        guess = "Are x and y swapped? " if swapped else ""
        else_clip = "" if number >= _FEWEST else f", or give --points_outside={CLIP}"
        raise ValueError(f"{told} {guess}Correct its annotation, or remove it together with the image{else_clip}.")
    relative = len(points) >= _FEWEST and np.all((points >= 0) & (points <= 1))
    if relative and min(height, width) > 2:
        raise ValueError(
            f"{path} is {width} x {height} pixels, and all of its {len(points)} points lie in the first of them. Are "
            "they shares of width and height? Multiply them by the size of the image."
        )


def _finite_boxes(path: str, boxes: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        boxes = np.asarray(boxes, np.float32)
    if not np.all(np.isfinite(boxes)):
        raise ValueError(f"{path} has a box in its annotation that is not finite: correct it.")
    return boxes
