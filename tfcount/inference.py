"""From an image to a count and points: the one way for evaluation, validation, prediction and serving."""

import dataclasses
import math
import os
from collections.abc import Callable
from typing import overload

import numpy as np
import tensorflow as tf

from tfcount.data.augment import reduced_image
from tfcount.ops.anchor_line import AnchorLine
from tfcount.ops.peaks import local_maxima
from tfcount.ops.tiling import density_in_tiles
from tfcount.records.files import read_json, write_json
from tfcount.records.images import MAX_MEGAPIXELS, read_pixels

_OneImage = str | os.PathLike | np.ndarray
_Images = list | tuple

# No image shows more people one by one.
MOST_PEAKS = 50_000
# What follows from a count that is no number.
BROKEN = "the weights of the counter are broken; load others, or train it again"
# Peaks are people if they are higher, people per cell, where nothing chose a threshold (Wan et al., CVPR 2021).
THRESHOLD = 0.05


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What makes a count and points of a counter's map; it belongs to the weights, and lies beside them.

    Attributes:
      line: from the sum of the map to a count; of a map that is a density, the line that changes nothing, or what
        `tfcount.calibration` fitted.
      threshold: peaks of the density are people if they are higher, people per cell.
      limits: to what images are reduced before they are counted, longer and shorter side, pixels; 0 for no limit.
      ranks: whether the map only ranks images: its sum is a count by the line alone, and it shows nobody one by one.
    """

    line: AnchorLine = AnchorLine()  # noqa: RUF009 (frozen)
    threshold: float = THRESHOLD
    limits: tuple[int, int] = (0, 0)
    ranks: bool = False

    def write(self, path: str) -> None:
        """Writes a JSON file."""
        write_json(path, self.to_json())

    def to_json(self) -> dict:
        """Returns what JSON holds of it, see `from_json`."""
        line = None if self.line == AnchorLine() else dataclasses.asdict(self.line)
        # JSON knows no infinity, which ends a line that extrapolates nowhere.
        if line and math.isinf(self.line.highest):
            line["highest"] = None
        return {**dataclasses.asdict(self), "line": line}

    @classmethod
    def read(cls, path: str, remedy: str) -> "Calibration":
        """Reads what `write` wrote.

        Args:
          path: of the file.
          remedy: what to do where it is damaged: a sentence.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it is damaged.
        """
        return cls.from_json(read_json(path, remedy), path, remedy)

    @classmethod
    def from_json(cls, content: dict, path: str, remedy: str) -> "Calibration":
        """Returns the calibration that a file holds; raises ValueError, which names it, if that is none."""
        try:
            line = AnchorLine()
            if content["ranks"] or content["line"] is not None:
                highest = content["line"]["highest"]
                line = AnchorLine(**{**content["line"], "highest": math.inf if highest is None else highest})
            return cls(line, float(content["threshold"]), tuple(content["limits"]), content["ranks"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no calibration ({error!r}). {remedy}") from error


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a counter says of an image.

    Attributes:
      count: number of people, at least 0.
      extrapolated: whether no anchor shows so few people, or so many; never of a map that is a density.
      density: `(h, w)` people per cell, of the image as the counter sees it, whose sum is the count but for the line of
        a calibration; of a counter that ranks, its map.
      points: `(n, 2)` people, (x, y) in pixels of the image as it came, those with the highest density first; None of a
        map that only ranks. There are fewer of them than `count` says where people are nearer than two cells.
      scores: `(n,)` densities of their cells, people per cell.
      size: height and width of the image as the counter sees it, pixels.
      zoom: `(2,)` float32, what x and y are multiplied by to lie in that image.
    """

    count: float
    extrapolated: bool
    density: np.ndarray
    points: np.ndarray | None
    scores: np.ndarray
    size: tuple[int, int]
    zoom: np.ndarray

    @property
    def potential(self) -> float:
        """The sum of the map, which orders images also where the line gives no count above 0."""
        return float(self.density.sum(dtype=np.float64))


class CountingModel:
    """A trained counter, ready to count.

    Args:
      density: function of `(1, height, width, 3)` uint8 images to `(1, h, w, 1)` people per cell.
      stride: side of a cell, pixels.
      calibration: what makes counts and points of it.
      max_megapixels: larger files are refused before they are decoded, million pixels.

    Example:
      >>> model = tfcount.load("savedmodels/sha")
      >>> model.predict("picture.jpg").count
      >>> model.count(["one.jpg", "another.jpg"])
    """

    def __init__(
        self,
        density: Callable,
        stride: int,
        calibration: Calibration = Calibration(),
        max_megapixels: float = MAX_MEGAPIXELS,
    ):
        self.stride, self.calibration, self.max_megapixels = stride, calibration, max_megapixels
        self._density = density

    @classmethod
    def of_counter(
        cls, counter, calibration: Calibration = Calibration(), max_megapixels: float = MAX_MEGAPIXELS
    ) -> "CountingModel":
        """Compiles a counter for images of any size: one graph, whatever sizes come, and large ones in tiles.

        Args:
          counter: a `tfcount.models.Counter`; the model follows its weights.
          calibration: what makes counts and points of its maps.
          max_megapixels: see `CountingModel`.
        """

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
        def density(images):
            return density_in_tiles(
                lambda window: counter(window, training=False), images, counter.stride, counter.reach, counter.tile
            )

        return cls(density, counter.stride, calibration, max_megapixels)

    def calibrated(self, calibration: Calibration) -> "CountingModel":
        """Returns the same counter, with the same graph, and another calibration."""
        return CountingModel(self._density, self.stride, calibration, self.max_megapixels)

    def reduce(self, image) -> np.ndarray:
        """Returns an image `(height, width, 3)` uint8 as the counter sees it: smaller, if it exceeds the limits."""
        return np.asarray(reduced_image(image, *self.calibration.limits))

    def density(self, image) -> np.ndarray:
        """Returns the density map `(ceil(height / stride), ceil(width / stride))` of an image, people per cell.

        Height and width are those of the image as the counter sees it, see `reduce`. Large images are computed in
        tiles, see `tfcount.ops.tiling.density_in_tiles`.

        Args:
          image: path of an image, or an array `(height, width, 3)` or `(height, width)`, uint8, RGB or grey.

        Raises:
          FileNotFoundError: if the file does not exist.
          ValueError: if the file cannot be read, see `tfcount.records.images.read_pixels`, or the array is not of such
            a form.
          FloatingPointError: if the density is not finite.
        """
        return self._map(self.reduce(self._pixels(image)))

    @overload
    def count(self, image: _OneImage) -> float: ...

    @overload
    def count(self, image: _Images) -> np.ndarray: ...

    def count(self, image):
        """Returns the number of people in an image; for the argument and errors see `density`.

        Of a list of images, which may differ in size, it returns the `(n,)` numbers: one is counted after the other.
        """
        if isinstance(image, list | tuple):
            return np.array([self.count(one) for one in image], np.float64)
        return self.calibration.line.count(float(self.density(image).sum(dtype=np.float64)))

    def locate(self, image) -> tuple[np.ndarray, np.ndarray]:
        """Returns the people in an image; for the argument and errors see `density`.

        Returns:
          `(n, 2)` points and `(n,)` scores, see `Prediction`.

        Raises:
          ValueError: also if the map only ranks.
        """
        if self.calibration.ranks:
            raise ValueError(
                "This counter was trained to rank images: its map does not show where people are. `count` tells how "
                "many there are; a counter that is trained on points finds them."
            )
        found = self.predict(self._pixels(image))
        # Only a map that ranks has none.
        return np.asarray(found.points), found.scores

    @overload
    def predict(self, image: _OneImage, threshold: float | None = None) -> Prediction: ...

    @overload
    def predict(self, image: _Images, threshold: float | None = None) -> list[Prediction]: ...

    def predict(self, image, threshold=None):
        """Counts and finds the people in an image; for the image and errors see `density`.

        Args:
          image: see `density`; of several, see `count`, it returns a list.
          threshold: peaks are higher, people per cell; that of the calibration if None.
        """
        if isinstance(image, list | tuple):
            return [self.predict(one, threshold) for one in image]
        image = self._pixels(image)
        seen = self.reduce(image)
        height, width = seen.shape[:2]
        zoom = (np.array([width, height]) / np.array(image.shape[1::-1])).astype(np.float32)
        density = self._map(seen)
        line, points, scores = self.calibration.line, None, np.zeros(0, np.float32)
        if not self.calibration.ranks:
            lowest = self.calibration.threshold if threshold is None else threshold
            peaks = _find_peaks(tf.constant(density)[None, ..., None], self.stride, tf.constant(lowest, tf.float32))
            points, scores = np.clip(peaks.points[0], 0, [width, height]) / zoom, np.asarray(peaks.scores[0])
        count = line.count(float(density.sum(dtype=np.float64)))
        return Prediction(count, line.extrapolates(count), density, points, scores, (height, width), zoom)

    def _pixels(self, image):
        """Returns an image, given by its path or as an array, as `(height, width, 3)` uint8, RGB."""
        if isinstance(image, str | os.PathLike):
            return read_pixels(image, self.max_megapixels)
        return _as_rgb(image)

    def _map(self, seen):
        density = np.asarray(self._density(seen[None]))[0, ..., 0]
        if not np.isfinite(density).all():
            raise FloatingPointError(f"The density is not finite: {BROKEN}.")
        return density


@tf.function(reduce_retracing=True)
def _find_peaks(density, stride, threshold):
    return local_maxima(density, stride, threshold, MOST_PEAKS)


def _as_rgb(image):
    """Returns an array `(height, width, 3)` or `(height, width)` as `(height, width, 3)` uint8, RGB."""
    if isinstance(image, list | tuple):
        raise ValueError(
            "`image` must be one image: only `count` and `predict` take several. "
            f"Received: a {type(image).__name__} of {len(image)}."
        )
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(
            "`image` must be a path or a uint8 array (height, width, 3), RGB. "
            f"Received: shape {image.shape}, dtype {image.dtype}."
        )
    return image
