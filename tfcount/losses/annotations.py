"""What a density loss is given as truth: points, and what was already made of them."""

import keras
import tensorflow as tf

from tfcount.ops.density import density_map


def points_of(y_true, density) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the annotated points and which of them are real.

    Args:
      y_true: a dict with `points` (batch, m, 2), (x, y) in pixels, and `point_mask` (batch, m), 1 for points and 0 for
        padding; or, for `keras.Model.compile`, which takes one tensor for each output, a tensor (batch, m, 3) of x, y
        and mask. A dict may also have `span` and `side`, see `tfcount.ops.transport_cost`.
      density: `(batch, ...)` with which they are compared. Without the check a single image would be compared with
        every density, as shapes broadcast.

    Returns:
      `(batch, m, 2)` float32, 0 where there is padding, and `(batch, m)` float32.

    Raises:
      ValueError: if it is neither, or of another number of images.
      tf.errors.InvalidArgumentError: if a point is not finite, or, where shapes are known when the graph runs only, it
        is of another number of images.
    """
    if isinstance(y_true, dict):
        if not {"points", "point_mask"} <= set(y_true):
            raise ValueError(f"`y_true` must have `points` and `point_mask`. Received: {sorted(y_true)}.")
        points, mask = tf.cast(y_true["points"], tf.float32), tf.cast(y_true["point_mask"], tf.float32)
        if not (points.shape.is_compatible_with([None, None, 2]) and mask.shape.is_compatible_with(points.shape[:2])):
            raise ValueError(
                "`points` must be of shape (batch, m, 2) and `point_mask` of shape (batch, m). "
                f"Received: shapes {points.shape} and {mask.shape}."
            )
        extra = {name: y_true[name] for name in ("span", "side") if y_true.get(name) is not None}
        check_same_batch(density, points=points, point_mask=mask, **extra)
    else:
        y_true = tf.cast(y_true, tf.float32)
        if y_true.shape.rank != 3 or y_true.shape[-1] != 3:
            raise ValueError(
                "`y_true` must be a dict with `points` and `point_mask`, or a tensor (batch, m, 3) of x, y and mask. "
                f"Received: shape {y_true.shape}."
            )
        check_same_batch(density, y_true=y_true)
        points, mask = y_true[..., :2], y_true[..., 2]
    points = tf.where(mask[..., None] > 0, points, 0.0)
    mask = tf.debugging.check_numerics(mask, "the mask of points is not finite")
    return tf.debugging.check_numerics(points, "a point is not finite"), mask


def check_same_batch(density, /, **truth) -> None:
    """Checks that everything is of as many images as the density, `(batch, ...)`.

    Raises:
      ValueError: if something is not.
      tf.errors.InvalidArgumentError: likewise, where shapes are known when the graph runs only.
    """
    density = tf.convert_to_tensor(density)
    for name, value in truth.items():
        value = tf.convert_to_tensor(value)
        text = f"`{name}` must be of as many images as `y_pred`"
        images, known = density.shape[:1], value.shape[:1]
        if not known.is_compatible_with(images):
            raise ValueError(f"{text}. Received: shape {value.shape} for a density of shape {density.shape}.")
        if not (known.is_fully_defined() and images.is_fully_defined()):
            tf.debugging.assert_equal(tf.shape(value)[0], tf.shape(density)[0], f"{text}.")


def missing_to_power_of_two(number: tf.Tensor) -> tf.Tensor:
    """Returns what a number lacks to the next power of two, so that there are few shapes to compile."""
    powers = tf.constant([1 << doublings for doublings in range(31)])
    return powers[tf.searchsorted(powers, [number])[0]] - number


def pad_end(value: tf.Tensor, axis: int, number: tf.Tensor) -> tf.Tensor:
    """Appends zeros along an axis."""
    return tf.pad(value, [[0, number if index == axis else 0] for index in range(value.shape.rank)])


def finite(density) -> tf.Tensor:
    """Returns a density map, of 32-bit floats at least, and stops at one that is not finite: weights would be lost.

    It does not stop in a graph that is compiled as a whole (`jit_compile=True`), where TensorFlow leaves checks out.

    Raises:
      ValueError: if it is not of shape (batch, h, w, 1).
      tf.errors.InvalidArgumentError: if it is not finite.
    """
    density = tf.convert_to_tensor(density)
    if density.shape.rank is not None and (density.shape.rank != 4 or density.shape[3] not in (None, 1)):
        raise ValueError(f"`y_pred` must be a density (batch, h, w, 1). Received: shape {density.shape}.")
    if density.dtype in (tf.float16, tf.bfloat16):
        density = tf.cast(density, tf.float32)
    return tf.debugging.check_numerics(density, "the density is not finite")


class DensityTargetLoss(keras.losses.Loss):
    """Compares the density with a target density: that which was drawn of the points already, or is drawn here.

    Args:
      stride: side of a cell, pixels.
      sigma: width of the Gaussian of each head, pixels, where the target must be drawn.

    Call:
      y_true: see `points_of`; a dict may have `density` (batch, h, w, 1), people per cell, in place of points, and a
        tensor of that shape is the target itself.
      y_pred: `(batch, h, w, 1)` density, people per cell.
      Returns `(batch,)`.
    """

    # Arguments that are flags, but for those that the targets of all methods share.
    OPTIONS: tuple[str, ...] = ()

    def __init__(self, stride: int = 8, sigma: float = 4.0, **kwargs):
        super().__init__(**kwargs)
        if not sigma > 0:
            raise ValueError(f"`sigma` must be positive. Received: sigma={sigma}.")
        self.stride, self.sigma = stride, sigma

    def call(self, y_true, y_pred):
        """Returns one value per example, `(batch,)`."""
        y_pred = finite(y_pred)
        if isinstance(y_true, dict):
            target = y_true.get("density")
        else:
            target = y_true if len(y_true.shape) == 4 else None
        if target is None:
            points, mask = points_of(y_true, y_pred)
            height, width = tf.shape(y_pred)[1], tf.shape(y_pred)[2]
            target = density_map(points, mask, tf.fill(tf.shape(mask), self.sigma), height, width, self.stride)
        target = tf.cast(target, y_pred.dtype)
        if not target.shape.is_compatible_with(y_pred.shape):
            raise ValueError(
                f"The target density must be of the shape of `y_pred`, {y_pred.shape}. Received: shape {target.shape}."
            )
        check_same_batch(y_pred, density=target)
        return self.compare(target, y_pred)

    def compare(self, target, density):
        """Returns the loss of densities `(batch, h, w, 1)`, one value per example."""
        raise NotImplementedError

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "stride": self.stride, "sigma": self.sigma}
