"""What it costs to move density from the cells of a map to annotated points."""

import tensorflow as tf

# Largest exponent: nobody is moved that far, and costs many more times epsilon take many more iterations.
_FARTHEST = 4.0

COSTS = ("euclidean", "exponential", "perspective", "squared")


def transport_cost(
    points, height, width, stride: int, cost: str, eta=(0.6, 0.8), shifted: bool = True, span=None, side=None
) -> tf.Tensor:
    """Computes the cost of moving a unit of density from each cell to each point.

    With d the distance between the center of the cell and the point, divided by the longer side of the map:
    "euclidean": `d`; "squared": `d ** 2`; "exponential": `exp(d / eta[1]) - 1`; "perspective": `exp(d / eta) - 1` where
    eta goes from `eta[0]` at the top of the image, which is far, to `eta[1]` at the bottom, at the mean height of cell
    and point. Exponents are 4 at most.

    Source: Wan et al., CVPR 2021, Eq. (4) and section 5.1. Differs from the paper: 1 is subtracted, as in the authors'
    code, for otherwise even a perfect map costs as much as it has people, and much of it is not transported.

    Args:
      points: `(batch, m, 2)` float, (x, y) in pixels of the map's image, finite; they may lie outside.
      height: rows of the map.
      width: columns of the map.
      stride: side of a cell, pixels.
      cost: one of `COSTS`.
      eta: far and near factor.
      shifted: whether 1 is subtracted from exponentials; False is the printed equation.
      span: `(batch, 2)`, where the top and bottom of the map lie in the image it was cut from: 0 is the top of the
        image and 1 its bottom. If None, the map is the whole image.
      side: `(batch,)` pixels of unit length; if None, the longer side of the map.

    Returns:
      `(batch, height * width, m)`, row after row, of the dtype of the points.

    Raises:
      ValueError: if there is no such cost.
    """
    if cost not in COSTS:
        raise ValueError(f"`cost` must be one of {COSTS}. Received: {cost!r}.")
    dtype = points.dtype
    cells = [(tf.cast(tf.range(number), dtype) + 0.5) * stride for number in (height, width)]
    unit = tf.cast(tf.maximum(height, width) * stride, dtype) if side is None else tf.cast(side, dtype)[:, None, None]
    rows = tf.square((cells[0][:, None] - points[:, None, :, 1]) / unit)
    columns = tf.square((cells[1][:, None] - points[:, None, :, 0]) / unit)
    squared = rows[:, :, None] + columns[:, None]
    if cost == "squared":
        costs = squared
    elif cost == "euclidean":
        costs = tf.sqrt(squared)
    else:
        slope = 1 / eta[1]
        if cost == "perspective":
            top, bottom = (0.0, 1.0) if span is None else tf.unstack(tf.cast(span, dtype)[..., None], axis=1)

            def image_height(y):
                return tf.clip_by_value(top + (bottom - top) * y / tf.cast(height * stride, dtype), 0, 1)

            mean = 0.5 * (image_height(cells[0][None])[:, :, None] + image_height(points[..., 1])[:, None])
            slope = 1 / (eta[0] + (eta[1] - eta[0]) * mean)[:, :, None]
        costs = tf.exp(tf.minimum(tf.sqrt(squared) * slope, _FARTHEST)) - (1.0 if shifted else 0.0)
    return tf.reshape(costs, [tf.shape(points)[0], height * width, tf.shape(points)[1]])
