"""SavedModels: counters that run where tfcount is not installed, and `load`, which runs them here."""

import dataclasses
import functools
import os
import shutil

import numpy as np
import tensorflow as tf

from tfcount import evaluation, experiment
from tfcount.data.augment import reduced_image
from tfcount.models.anchors import SUM, Anchors
from tfcount.ops.peaks import local_maxima
from tfcount.ops.tiling import density_in_tiles
from tfcount.records import images


class CountingModule(tf.Module):
    """A counter with the signatures that TensorFlow Serving offers.

    `serving_default`: `image_bytes` (batch,) strings, JPEG or PNG of any sizes -> `count` (batch,) float32 and
    `extrapolated` (batch,) bool. `density`: `image` (batch, height, width, 3) uint8 -> the same, `density`
    (batch, h, w, 1) float32, people per cell, and the people it shows, as `points` (batch, n, 2) float32, (x, y) in
    pixels, `scores` (batch, n) float32, people per cell, and `point_mask` (batch, n) float32, 1 for points and 0 for
    padding.

    A counter that was trained to rank images gives a map that is no density: it may be negative, and the count is
    `max(0, slope * sum + intercept)`, by the line through its anchors, whose numbers are the variables `anchors`.
    `extrapolated` tells that no anchor has so few people, or so many. There are no points: the map does not show where
    people are. Of other counters `extrapolated` is always false.

    Images are reduced as --data_long_side and --data_short_side reduced those of the training; the cells of the density
    are then those of the reduced image, the points are in pixels of the image as it came.

    The bytes are decoded inside the graph, which does not know EXIF: a picture stored turned is counted as it is
    stored, while `load(...).count` and `tfcount.predict` turn it upright first, and compute large ones in tiles.

    Args:
      counter: images -> density.
      threshold: people are peaks of the density that are higher, people per cell.
    """

    def __init__(self, counter, threshold: float):
        super().__init__()
        self.counter = counter
        # A variable: a constant of a module is not saved with it.
        self.stride = tf.Variable(counter.stride, trainable=False, name="stride")
        self.reach = tf.Variable(counter.reach, trainable=False, name="reach")
        self.tile = tf.Variable(counter.tile, trainable=False, name="tile")
        self.threshold = tf.Variable(threshold, trainable=False, name="threshold")
        self.limits = tf.Variable(counter.limits, trainable=False, name="limits")
        self.anchors = {
            name: tf.Variable(value, trainable=False, name=name, dtype=tf.float64)
            for name, value in dataclasses.asdict(counter.anchors).items()
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def density(self, image):
        """Returns the density, the count and the people of images of one size."""
        seen = reduced_image(image, *self.counter.limits)
        density = self.counter(seen, training=False)
        peaks = local_maxima(density, self.counter.stride, self.threshold.read_value(), evaluation.MOST_PEAKS)
        # Cells reach beyond images whose sides are no multiples of the stride.
        end, seen_end = (tf.cast(tf.shape(one)[2:0:-1], tf.float32) for one in (image, seen))
        return {
            "density": density,
            **self._counts(tf.reduce_sum(density, [1, 2, 3])),
            "points": tf.minimum(peaks.points / seen_end, 1) * end,
            "scores": peaks.scores,
            "point_mask": peaks.point_mask,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def count(self, image_bytes):
        """Returns the counts of encoded images, one after the other: their sizes may differ."""

        def count_one(encoded):
            image = reduced_image(images.decode_image(encoded), *self.counter.limits)
            return tf.reduce_sum(self.counter(image[None], training=False))

        sums = tf.map_fn(count_one, image_bytes, fn_output_signature=tf.TensorSpec([], tf.float32))
        return self._counts(sums)

    def _counts(self, sums):
        line = self.anchors["slope"] * tf.cast(sums, tf.float64) + self.anchors["intercept"]
        counts = tf.maximum(line, 0)
        extrapolated = (counts < self.anchors["lowest"]) | (counts > self.anchors["highest"])
        return {"count": tf.cast(counts, tf.float32), "extrapolated": extrapolated}


def export(counter, output: str, threshold: float = evaluation.THRESHOLD) -> str:
    """Writes a counter as the next version of a SavedModel.

    Args:
      counter: images -> density.
      output: folder of the versions, as TensorFlow Serving expects it: `output/1`, `output/2`, ...
      threshold: people are peaks of the density that are higher, people per cell.

    Returns:
      The folder of the new version.

    Raises:
      OSError: if it cannot be written.
    """
    os.makedirs(output, exist_ok=True)
    version = max([0, *_versions(output)]) + 1
    temporary = os.path.join(output, f".writing-{version}")
    shutil.rmtree(temporary, ignore_errors=True)
    module = CountingModule(counter, threshold)
    target = os.path.join(output, str(version))
    try:
        tf.saved_model.save(module, temporary, signatures={"serving_default": module.count, "density": module.density})
        os.rename(temporary, target)
    except tf.errors.OpError as error:
        raise OSError(f"{output!r} cannot be written to: is the disk full? ({' '.join(str(error).split())})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


class LoadedCounter:
    """A trained counter, ready to count.

    Args:
      density: function of `(1, height, width, 3)` uint8 images to `(1, h, w, 1)` people per cell.
      stride: side of a cell, pixels.
      threshold: people are peaks of the density that are higher, people per cell.
      anchors: what makes counts of the sums of maps; `anchors.extrapolates(count)` tells whether no anchor is like it.
      limits: to what images are reduced, longer and shorter side, pixels; 0 for no limit.
    """

    def __init__(
        self,
        density,
        stride: int,
        threshold: float = evaluation.THRESHOLD,
        anchors: Anchors = SUM,
        limits: tuple[int, int] = (0, 0),
    ):
        self.stride, self.threshold, self.anchors, self.limits = stride, threshold, anchors, limits
        self._density = density

    def reduce(self, image) -> np.ndarray:
        """Returns an image `(height, width, 3)` uint8 as the counter sees it: smaller, if it exceeds `limits`."""
        return np.asarray(reduced_image(image, *self.limits))

    def density(self, image) -> np.ndarray:
        """Returns the density map `(ceil(height / stride), ceil(width / stride))` of an image, people per cell.

        Height and width are those of the image as the counter sees it, see `reduce`.

        Large images are computed in tiles, see `tfcount.ops.tiling.density_in_tiles`.

        Args:
          image: path of an image, or an array `(height, width, 3)` or `(height, width)`, uint8, RGB or grey.

        Raises:
          FileNotFoundError: if the file does not exist.
          ValueError: if the file is not an image, or the array not of such a form.
        """
        image = images.read_pixels(image) if isinstance(image, str | os.PathLike) else _as_rgb(image)
        return np.asarray(self._density(self.reduce(image)[None]))[0, ..., 0]

    def count(self, image) -> float:
        """Returns the number of people in an image; for the argument see `density`.

        It is the sum of the density, or what the anchors make of it where the counter was trained to rank.
        """
        return self.anchors.count(float(self.density(image).sum(dtype=np.float64)))

    def locate(self, image) -> tuple[np.ndarray, np.ndarray]:
        """Returns the people in an image; for the argument see `density`.

        Returns:
          `(n, 2)` points, (x, y) in pixels, and `(n,)` their densities, people per cell, the highest first. There are
          fewer of them than `count` says where people are nearer to each other than two cells.
        """
        image = images.read_pixels(image) if isinstance(image, str | os.PathLike) else _as_rgb(image)
        seen = self.reduce(image)
        height, width = seen.shape[:2]
        points, scores = evaluation.find_points(self.density(seen), self.stride, height, width, self.threshold)
        return points * np.divide(image.shape[1::-1], (width, height)), scores


def load(path: str | os.PathLike) -> LoadedCounter:
    """Loads a run of `tfcount.train` or a SavedModel of `tfcount.export`.

    Args:
      path: folder of a run, of a SavedModel, or of the versions of one (the newest is taken).

    Raises:
      FileNotFoundError: if there is neither.
      ValueError: if the SavedModel is damaged, or of another version of tfcount.

    Example:
      >>> tfcount.load("savedmodels/sha").count("picture.jpg")
    """
    path = os.fspath(path)
    if os.path.isfile(os.path.join(path, experiment.FLAGS)):
        counter, _ = experiment.load_counter(path)
        return LoadedCounter(
            evaluation.density_function(counter),
            counter.stride,
            experiment.read_threshold(path),
            counter.anchors,
            counter.limits,
        )
    versions = _versions(path) if os.path.isdir(path) else []
    folder = os.path.join(path, str(max(versions))) if versions else path
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        raise FileNotFoundError(
            f"{path!r} holds neither a run of tfcount.train ({experiment.FLAGS}) nor a SavedModel of tfcount.export "
            "(saved_model.pb)."
        )
    try:
        model = tf.saved_model.load(folder)
    except (OSError, IndexError, tf.errors.OpError) as error:
        raise ValueError(
            f"The SavedModel in {folder!r} is damaged: export it again. ({' '.join(str(error).split())})"
        ) from error
    numbers = ("stride", "reach", "tile", "threshold", "limits", "anchors")
    if "density" not in model.signatures or not all(hasattr(model, name) for name in numbers):
        raise ValueError(
            f"The SavedModel in {folder!r} is not from this version of tfcount.export: it lacks `density`, "
            f"{', '.join(f'`{name}`' for name in numbers[:-1])} or `{numbers[-1]}`."
        )
    signature = model.signatures["density"]

    # Tiles are of images that were reduced before, and are not reduced again.
    def density(images, model=model):  # The model owns the variables of its signatures.
        return signature(image=tf.constant(images))["density"]

    sizes = {name: int(getattr(model, name)) for name in numbers[:3]}
    line = Anchors(**{name: float(value) for name, value in model.anchors.items()})  # type: ignore[arg-type]
    tiled = functools.partial(density_in_tiles, density, **sizes)
    long_side, short_side = model.limits.numpy().tolist()
    return LoadedCounter(tiled, sizes["stride"], float(model.threshold), line, (long_side, short_side))


def _as_rgb(image):
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(
            "`image` must be a path or a uint8 array (height, width, 3), RGB. "
            f"Received: shape {image.shape}, dtype {image.dtype}."
        )
    return image


def _versions(folder):
    """Returns the numbers of the versions in a folder."""
    return [int(name) for name in os.listdir(folder) if name.isdigit()]
