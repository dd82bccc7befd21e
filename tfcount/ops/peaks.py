"""From a density map to points: its peaks, inside the graph."""

from typing import NamedTuple

import tensorflow as tf


class Peaks(NamedTuple):
    """Peaks of a batch of density maps, the highest first, padded to the largest number of them.

    Attributes:
      points: `(batch, n, 2)` float32, (x, y) in pixels; padding is 0.
      scores: `(batch, n)` float32, people per cell: the density of the peak's cell; padding is 0.
      point_mask: `(batch, n)` float32, 1 for peaks and 0 for padding.
    """

    points: tf.Tensor
    scores: tf.Tensor
    point_mask: tf.Tensor


def local_maxima(density: tf.Tensor, stride: int, threshold, max_points: int) -> Peaks:
    """Finds people at the local maxima of density maps, with positions between the centers of cells.

    The paper enlarges the map to the size of the image by bilinear interpolation and keeps the pixels that are the
    largest of their 3 x 3 and above 0.05. Between four centers of cells the interpolated density is linear along each
    axis, so that its local maxima are centers of cells: of those that no cell above, below, left or right exceeds. They
    are found among the cells, with no enlarged map, which at stride 8 has 64 times as many values.

    - Equal cells side by side are one peak, at the first of them in reading order, if no cell around any of them is
      higher. What lies beyond the border is lower than all.
    - Along each axis the position is the vertex of the parabola through the cell and its two neighbors: with `a` and
      `b` what the cell exceeds the left and the right one by, it lies `(a - b) / (a + b) / 2` cells to the right. As
      neither is negative, that is half a cell at most; where both are 0, and at the border, where a neighbor is
      missing, it is the center.
    - Cells that are NaN or infinite are no peaks, and lower than all.

    Differs from the paper: the positions; and 3 x 3 pixels miss what is narrower than a pixel, such as the dip between
    two maxima along a diagonal, of which one is much higher. The finer the enlarged map, the fewer peaks differ.

    Source: Wan et al., "A generalized loss function for crowd counting and localization", CVPR 2021, section 3.4.

    Args:
      density: `(batch, h, w, 1)` people per cell, of any size.
      stride: side of a cell, pixels, positive; cell i is centered at `(i + 0.5) * stride`.
      threshold: peaks are higher, people per cell; 0 or more, a number or a scalar tensor. The paper takes 0.05.
      max_points: how many peaks of a map are kept, those with the highest scores; at least 1.

    Returns:
      `Peaks` in `[0, w * stride]` x `[0, h * stride]`, sorted by score, equal ones in reading order.

    Raises:
      ValueError: if `stride`, `max_points` or a number given as `threshold` is out of range.

    Example:
      >>> peaks = local_maxima(tf.constant([[[[0.0], [0.6], [0.3]]]]), stride=8, threshold=0.05, max_points=10)
      >>> peaks.points.numpy()  # (0.6 - 0.3) / (0.6 + 0.3) / 2 = 1 / 6 of a cell to the right of 12
      array([[[13.333333,  4.      ]]], dtype=float32)
    """
    if not stride > 0:
        raise ValueError(f"`stride` must be positive. Received: stride={stride}.")
    if not max_points >= 1:
        raise ValueError(f"`max_points` must be at least 1. Received: max_points={max_points}.")
    if not tf.is_tensor(threshold) and not threshold >= 0:
        raise ValueError(f"`threshold` must be at least 0. Received: threshold={threshold}.")
    lowest = tf.constant(-float("inf"))
    values = tf.cast(density[..., 0], tf.float32)
    values = tf.where(tf.math.is_finite(values), values, lowest)
    left, right, above, below = neighbors = _neighbors(values, lowest)
    high = values > tf.cast(threshold, tf.float32)
    unexceeded = high & (values >= tf.reduce_max(tf.stack(neighbors), 0))
    equal = [high & (values == neighbor) for neighbor in neighbors]

    batch, height, width = tf.unstack(tf.shape(values))
    cells_of_map = [batch, height * width]
    candidates = tf.reshape(tf.where(_one_of_equals(unexceeded, equal), values, lowest), cells_of_map)
    counts = tf.reduce_sum(tf.cast(candidates > lowest, tf.int32), -1)
    # At least 0: over no maps at all, the maximum is the smallest integer.
    scores, cells = tf.math.top_k(candidates, tf.clip_by_value(tf.reduce_max(counts), 0, max_points))
    real = scores > lowest

    def position(index, lower, upper):
        """Returns pixels along one axis: `lower` and `upper` are the neighbors there."""
        a, b = (scores - tf.gather(tf.reshape(side, cells_of_map), cells, batch_dims=1) for side in (lower, upper))
        inner = tf.math.is_finite(a) & tf.math.is_finite(b)
        offset = tf.where(inner, tf.math.divide_no_nan(a - b, a + b) / 2, 0.0)
        return (tf.cast(index, tf.float32) + 0.5 + offset) * stride

    points = tf.stack([position(cells % width, left, right), position(cells // width, above, below)], -1)
    return Peaks(tf.where(real[..., None], points, 0.0), tf.where(real, scores, 0.0), tf.cast(real, tf.float32))


def _neighbors(values, beyond):
    """Returns what is left of, right of, above and below each cell of `(batch, h, w)`, and `beyond` at the border."""
    padded = tf.pad(values, [[0, 0], [1, 1], [1, 1]], constant_values=beyond)
    return padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]


def _one_of_equals(unexceeded, equal):
    """Keeps one cell of each group of equal cells side by side.

    Args:
      unexceeded: `(batch, h, w)` bool, cells without a higher neighbor.
      equal: for each neighbor `(batch, h, w)` bool, whether it belongs to the group of the cell.

    Returns:
      `(batch, h, w)` bool: the first cell of each group of which all are unexceeded.
    """
    shape = tf.shape(unexceeded)
    count = tf.size(unexceeded)
    index = tf.reshape(tf.range(count), shape)

    def spread(labels, _):
        """Takes the least label among the equal neighbors, then the label of the cell that this one names."""
        joined = labels
        for neighbor, same in zip(_neighbors(labels, count), equal, strict=True):
            joined = tf.where(same, tf.minimum(joined, neighbor), joined)
        # A group takes not as many rounds as it is wide, but the logarithm of that.
        named = tf.reshape(tf.gather(tf.reshape(joined, [-1]), tf.reshape(tf.maximum(joined, 0), [-1])), shape)
        joined = tf.where(joined < 0, joined, named)
        return joined, tf.reduce_any(joined != labels)

    # A cell that is exceeded takes its whole group out by a label below all.
    labels, _ = tf.while_loop(lambda _, changed: changed, spread, (tf.where(unexceeded, index, -1), tf.constant(True)))
    return labels == index
