"""SavedModels: counters that run where tfcount is not installed, and `load`, which runs them here."""

import os
import shutil

import numpy as np
import tensorflow as tf

from tfcount import assembly, errors, runs
from tfcount.data.augment import reduced_image
from tfcount.inference import MOST_PEAKS, Calibration, CountingModel
from tfcount.models.counter import Counter
from tfcount.ops.peaks import local_maxima
from tfcount.ops.tiling import density_in_tiles
from tfcount.records import checksums
from tfcount.records.images import decode_image

CALIBRATION = "calibration.json"
# Numbers of the counter that tiles of large images depend on; variables, as constants are not saved with a module.
_NUMBERS = ("stride", "reach", "tile")


class CountingModule(tf.Module):
    """A counter with the signatures that TensorFlow Serving offers.

    `serving_default`: `image_bytes` (batch,) strings, JPEG or PNG of any sizes -> `count` (batch,) float32 and
    `extrapolated` (batch,) bool. `density`: `image` (batch, height, width, 3) uint8 -> the same, `density`
    (batch, h, w, 1) float32, people per cell, and the people it shows, as `points` (batch, n, 2) float32, (x, y) in
    pixels, `scores` (batch, n) float32, people per cell, and `point_mask` (batch, n) float32, 1 for points and 0 for
    padding.

    A counter that was trained to rank images gives a map that is no density: it may be negative, and the count is
    `max(0, slope * sum + intercept)`, by the line through its anchors. `extrapolated` tells that no anchor has so few
    people, or so many. There are no points: the map does not show where people are. Of other counters `extrapolated` is
    always false.

    Images are reduced to the limits of the calibration; the cells of the density are then those of the reduced image,
    the points are in pixels of the image as it came.

    The bytes are decoded inside the graph, which does not know EXIF: a picture stored turned is counted as it is
    stored, while `load(...).count` and `tfcount.predict` turn it upright first, and compute large ones in tiles.

    Args:
      counter: images -> density.
      calibration: what makes counts and points of it; constants of the graph.
    """

    def __init__(self, counter: Counter, calibration: Calibration):
        super().__init__()
        self.counter = counter
        for name in _NUMBERS:
            setattr(self, name, tf.Variable(getattr(counter, name), trainable=False, name=name))
        self._calibration = calibration

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def density(self, image):
        """Returns the density, the count and the people of images of one size."""
        seen = reduced_image(image, *self._calibration.limits)
        density = self.counter(seen, training=False)
        shown = density[:, :0, :0] if self._calibration.ranks else density
        peaks = local_maxima(shown, self.counter.stride, self._calibration.threshold, MOST_PEAKS)
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
            image = reduced_image(decode_image(encoded), *self._calibration.limits)
            return tf.reduce_sum(self.counter(image[None], training=False))

        sums = tf.map_fn(count_one, image_bytes, fn_output_signature=tf.TensorSpec([], tf.float32))
        return self._counts(sums)

    def _counts(self, sums):
        line = self._calibration.line
        counts = tf.maximum(line.slope * tf.cast(sums, tf.float64) + line.intercept, 0)
        extrapolated = (counts < line.lowest) | (counts > line.highest)
        return {"count": tf.cast(counts, tf.float32), "extrapolated": extrapolated}


def export(counter: Counter, output: str, calibration: Calibration = Calibration()) -> str:  # noqa: B008 (frozen)
    """Writes a counter as the next version of a SavedModel.

    Args:
      counter: images -> density.
      output: folder of the versions, as TensorFlow Serving expects it: `output/1`, `output/2`, ...
      calibration: what makes counts and points of its maps.

    Returns:
      The folder of the new version.

    Raises:
      OSError: if it cannot be written.
      ValueError: if weights are not finite.
    """
    assembly.check_finite(counter, f"The counter {counter.name!r}")
    os.makedirs(output, exist_ok=True)
    version = max([0, *_versions(output)]) + 1
    temporary = os.path.join(output, f".writing-{version}")
    shutil.rmtree(temporary, ignore_errors=True)
    module = CountingModule(counter, calibration)
    target = os.path.join(output, str(version))
    try:
        tf.saved_model.save(module, temporary, signatures={"serving_default": module.count, "density": module.density})
        calibration.write(os.path.join(temporary, CALIBRATION))
        checksums.write_sums(temporary)
        os.rename(temporary, target)
    except tf.errors.OpError as error:
        raise errors.not_written(output, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def load(path: str | os.PathLike) -> CountingModel:
    """Loads a run of `tfcount.train` or a SavedModel of `tfcount.export`.

    Args:
      path: folder of a run, of a SavedModel, or of the versions of one (the newest is taken).

    Raises:
      FileNotFoundError: if there is neither.
      ValueError: if the SavedModel is damaged, or either is of another version of tfcount.

    Example:
      >>> tfcount.load("savedmodels/sha").count("picture.jpg")
    """
    path = os.fspath(path)
    if os.path.isfile(os.path.join(path, runs.FLAGS)):
        return runs.Run(path).load()
    versions = _versions(path) if os.path.isdir(path) else []
    folder = os.path.join(path, str(max(versions))) if versions else path
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        raise FileNotFoundError(
            f"{path!r} holds neither a run of tfcount.train ({runs.FLAGS}) nor a SavedModel of tfcount.export "
            "(saved_model.pb)."
        )
    try:
        checksums.check_sums(folder, "saved_model.pb")
        model = tf.saved_model.load(folder)
    except (ValueError, OSError, IndexError, tf.errors.OpError) as error:
        raise ValueError(
            f"The SavedModel in {folder!r} is damaged: export it again. ({' '.join(str(error).split())})"
        ) from error
    calibrated = os.path.join(folder, CALIBRATION)
    whole = "density" in model.signatures and all(hasattr(model, name) for name in _NUMBERS)
    if not whole or not os.path.isfile(calibrated):
        raise ValueError(
            f"The SavedModel in {folder!r} is not from this version of tfcount.export: it lacks {CALIBRATION}, "
            f"`density`, {', '.join(f'`{name}`' for name in _NUMBERS[:-1])} or `{_NUMBERS[-1]}`. Export the run again; "
            "a run of before must be trained again first."
        )
    calibration = Calibration.read(calibrated, "Export the run again.")
    signature = model.signatures["density"]
    for variable in signature.variables:
        if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
            raise ValueError(f"The SavedModel in {folder!r} holds weights that are not finite: export the run again.")
    sizes = {name: int(getattr(model, name)) for name in _NUMBERS}

    # Tiles are of images that were reduced before, and are not reduced again.
    def density(images, model=model):  # The model owns the variables of its signatures.
        return density_in_tiles(lambda tile: signature(image=tf.constant(tile))["density"], images, **sizes)

    return CountingModel(density, sizes["stride"], calibration)


def _versions(folder):
    """Returns the numbers of the versions in a folder."""
    return [int(name) for name in os.listdir(folder) if name.isdigit()]
