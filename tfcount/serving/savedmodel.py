"""SavedModels: counters that run where tfcount is not installed, and `load`, which runs them here."""

import os

import numpy as np
import tensorflow as tf

from tfcount import assembly, errors, runs
from tfcount.data.augment import reduced_image
from tfcount.inference import BROKEN, MOST_PEAKS, Calibration, CountingModel
from tfcount.models.counter import Counter
from tfcount.ops.peaks import local_maxima
from tfcount.ops.tiling import density_in_tiles
from tfcount.records import checksums, headers, lock, temporary
from tfcount.serving.decoding import decode_checked

CALIBRATION = "calibration.json"
# A folder beside the versions, in which the next one is written; not a number, so that nothing serves it.
_WORK = ".tfcount-writing"
# Seconds that another export into the same folder may take.
_PATIENCE = 600.0
# Numbers that `load` reads; variables, as constants are not saved with a module.
_NUMBERS = ("stride", "max_megapixels")


class CountingModule(tf.Module):
    """A counter with the signatures that TensorFlow Serving offers.

    `serving_default`: `image_bytes` (batch,) strings, JPEG or PNG of any sizes -> `count` (batch,) float32,
    `extrapolated` (batch,) bool and `error` (batch,) strings. Each image has its own answer: `error` is empty where it
    was counted, else a sentence that says why it was not, and `count` is NaN. `density`: `image` (batch, height, width,
    3) uint8 -> `count` and `extrapolated`, `density` (batch, h, w, 1) float32, people per cell, and the people it
    shows, as `points` (batch, n, 2) float32, (x, y) in pixels, `scores` (batch, n) float32, people per cell, and
    `point_mask` (batch, n) float32, 1 for points and 0 for padding; a density that is not finite fails the request.

    A counter that was trained to rank images gives a map that is no density: it may be negative, and the count is
    `max(0, slope * sum + intercept)`, by the line through its anchors. `extrapolated` tells that no anchor has so few
    people, or so many. There are no points: the map does not show where people are. Of other counters `extrapolated` is
    always false, and the count is the sum of the density, times a factor, or by a line, where the run was calibrated.

    Images are reduced to the limits of the calibration; the cells of the density are then those of the reduced image,
    the points are in pixels of the image as it came.

    Bytes are decoded as `load(...).count(path)` decodes a JPEG or PNG: upright as EXIF says, and not if they are
    damaged or larger than allowed, see `decode_checked`. Large images are computed in tiles, see
    `tfcount.ops.tiling.density_in_tiles`.

    Args:
      counter: images -> density.
      calibration: what makes counts and points of it; constants of the graph.
      max_megapixels: larger images are not decoded, million pixels; a constant of the graph.
    """

    def __init__(self, counter: Counter, calibration: Calibration, max_megapixels: float = headers.MAX_MEGAPIXELS):
        super().__init__()
        self.counter = counter
        self.stride = tf.Variable(counter.stride, trainable=False, name="stride")
        self.max_megapixels = tf.Variable(max_megapixels, trainable=False, dtype=tf.float64, name="max_megapixels")
        self._calibration = calibration
        self._max_megapixels = float(max_megapixels)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def tiled(self, image):
        """Returns the density of images that are reduced already; every signature and `load` use it."""
        counter = self.counter
        return density_in_tiles(
            lambda window: counter(window, training=False), image, counter.stride, counter.reach, counter.tile
        )

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def density(self, image):
        """Returns the density, the count and the people of images of one size."""
        seen = reduced_image(image, *self._calibration.limits)
        density = self.tiled(seen)
        tf.debugging.assert_all_finite(density, f"The density is not finite: {BROKEN}.")
        shown = density[:, :0, :0] if self._calibration.ranks else density
        peaks = local_maxima(shown, self.counter.stride, self._calibration.threshold, MOST_PEAKS)
        # Cells reach beyond images whose sides are no multiples of the stride.
        end, seen_end = (tf.cast(tf.shape(one)[2:0:-1], tf.float32) for one in (image, seen))
        return {
            "density": density,
            **self._counts(tf.reduce_sum(tf.cast(density, tf.float64), [1, 2, 3])),
            "points": tf.minimum(peaks.points / seen_end, 1) * end,
            "scores": peaks.scores,
            "point_mask": peaks.point_mask,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def count(self, image_bytes):
        """Returns the counts of encoded images, one after the other: their sizes may differ."""

        def count_one(encoded):
            image, reason = decode_checked(encoded, tf.constant(self._max_megapixels, tf.float64))
            seen = reduced_image(image, *self._calibration.limits)[None]
            # What was not decoded is a single pixel, which costs nothing.
            total = tf.reduce_sum(tf.cast(self.tiled(seen), tf.float64))
            broken = tf.where(tf.math.is_finite(total), "", f"The count is not finite: {BROKEN}.")
            return total, tf.where(reason == "", broken, tf.strings.join(["The image ", reason, "."]))

        outputs = tf.TensorSpec([], tf.float64), tf.TensorSpec([], tf.string)
        sums, errors = tf.map_fn(count_one, image_bytes, fn_output_signature=outputs, parallel_iterations=1)
        counts = self._counts(sums)
        counted = errors == ""
        return {
            "count": tf.where(counted, counts["count"], float("nan")),
            "extrapolated": counts["extrapolated"] & counted,
            "error": errors,
        }

    def _counts(self, sums):
        """Returns what the sums of maps, float64, say of images."""
        line = self._calibration.line
        counts = tf.maximum(line.slope * sums + line.intercept, 0)
        extrapolated = (counts < line.lowest) | (counts > line.highest)
        return {"count": tf.cast(counts, tf.float32), "extrapolated": extrapolated}


def export(
    counter: Counter,
    output: str,
    calibration: Calibration = Calibration(),  # noqa: B008 (frozen)
    max_megapixels: float = headers.MAX_MEGAPIXELS,
) -> str:
    """Writes a counter as the next version of a SavedModel.

    Args:
      counter: images -> density.
      output: folder of the versions, as TensorFlow Serving expects it: `output/1`, `output/2`, ...
      calibration: what makes counts and points of its maps.
      max_megapixels: larger images are not decoded, neither when served nor by `load`, million pixels.

    Returns:
      The folder of the new version.

    Raises:
      BlockingIOError: if another process exports into this folder, and does not end.
      OSError: if it cannot be written.
      ValueError: if weights are not finite, or decoders cannot have images of so many megapixels.
    """
    headers.check_limit(max_megapixels)
    assembly.check_finite(counter, f"The counter {counter.name!r}")
    module = CountingModule(counter, calibration, max_megapixels)
    signatures = {"serving_default": module.count, "density": module.density}
    work = os.path.join(output, _WORK)
    with lock.locked(os.path.join(output, lock.NAME), f"exporting into {output!r}", _PATIENCE):
        # Of a process that was killed.
        temporary.remove(work)
        temporary.make(work)
        try:
            model = os.path.join(work, "model")
            tf.saved_model.save(module, model, signatures=signatures)
            calibration.write(os.path.join(model, CALIBRATION))
            checksums.write_sums(model)
            target = os.path.join(output, str(max([0, *_versions(output)]) + 1))
            os.rename(model, target)
        except tf.errors.OpError as error:
            raise errors.not_written(output, error) from error
        finally:
            temporary.remove(work)
    return target


def load(path: str | os.PathLike, max_megapixels: float | None = None) -> CountingModel:
    """Loads a run of `tfcount.train` or a SavedModel of `tfcount.export`.

    A SavedModel is a program: it runs what its graph says, with the rights of this process. Load only those of people
    whom you trust. A run is numbers and text, weights and flags, and runs no code but tfcount's.

    Args:
      path: folder of a run, of a SavedModel, or of the versions of one (the newest is taken).
      max_megapixels: larger files are refused before they are decoded, million pixels; if None, what the SavedModel was
        exported with, and 200 for a run.

    Raises:
      FileNotFoundError: if there is neither.
      ValueError: if the SavedModel is damaged, or either is of another version of tfcount, or decoders cannot have
        images of so many megapixels.

    Example:
      >>> tfcount.load("savedmodels/sha").count("picture.jpg")
    """
    path = os.fspath(path)
    if max_megapixels is not None:
        headers.check_limit(max_megapixels)
    if os.path.isfile(os.path.join(path, runs.FLAGS)):
        run = runs.Run(path)
        return CountingModel.of_counter(*run.load_counter(), max_megapixels or headers.MAX_MEGAPIXELS)
    versions = _versions(path) if os.path.isdir(path) else {}
    folder = os.path.join(path, versions[max(versions)]) if versions else path
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
    parts = ("tiled", *_NUMBERS)
    if not all(hasattr(model, name) for name in parts) or not os.path.isfile(calibrated):
        raise ValueError(
            f"The SavedModel in {folder!r} is not from this version of tfcount.export: it lacks {CALIBRATION}, "
            f"{', '.join(f'`{name}`' for name in parts[:-1])} or `{parts[-1]}`. Export the run again; "
            "a run of before must be trained again first."
        )
    calibration = Calibration.read(calibrated, "Export the run again.")
    for variable in model.signatures["density"].variables:
        if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
            raise ValueError(f"The SavedModel in {folder!r} holds weights that are not finite: export the run again.")

    def density(images, model=model):  # The model owns the variables of its functions.
        return model.tiled(tf.constant(images))

    limit = float(model.max_megapixels) if max_megapixels is None else max_megapixels
    return CountingModel(density, int(model.stride), calibration, limit)


def _versions(folder):
    """Returns the names of the versions in a folder by their numbers: 7 may be called 00000007."""
    return {int(name): name for name in sorted(os.listdir(folder)) if name.isascii() and name.isdigit()}
