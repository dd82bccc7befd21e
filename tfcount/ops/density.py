"""Density targets: from points to people per cell, exact in mass, inside the graph."""

import tensorflow as tf

# Heads that the adaptive kernel looks at, and the factor to their mean distance (Zhang et al., CVPR 2016, Eq. 2 to 4).
_NEIGHBORS = 3
_BETA = 0.3
# Limits of the adaptive sigma, pixels. Below: several labels on one head. Above: a few people far apart, whose
# distance says nothing of the size of a head.
_MINIMUM_SIGMA = 1.0
_MAXIMUM_SIGMA = 32.0
# Distances are computed for that many points at a time: 10,000 points need 40 MB, not 400.
_BLOCK = 1024


def adaptive_sigma(points: tf.Tensor) -> tf.Tensor:
    """Computes the geometry-adaptive width of each head's kernel from its neighbors.

    `sigma_i = 0.3 * (mean distance of point i to its 3 nearest others)`, between 1 and 32 pixels. With fewer than 4
    points the mean is over those there are; a single point has the largest sigma.

    Source: Zhang et al., "Single-image crowd counting via multi-column convolutional neural network", CVPR 2016,
    Eq. (4).

    Args:
      points: `(n, 2)` float32, (x, y) in pixels: all heads of the whole image, before any crop.

    Returns:
      `(n,)` float32, pixels.
    """
    count = tf.shape(points)[0]
    neighbors = tf.minimum(_NEIGHBORS, count - 1)
    blocks = -(-count // _BLOCK)
    padded = tf.reshape(tf.pad(points, [[0, blocks * _BLOCK - count], [0, 0]]), [blocks, _BLOCK, 2])

    def mean_distance(block):
        squared = tf.reduce_sum(tf.square(block[:, None] - points[None]), -1)
        # The nearest point is the point itself.
        nearest = -tf.math.top_k(-squared, neighbors + 1).values[:, 1:]
        return tf.reduce_sum(tf.sqrt(nearest), -1) / tf.cast(tf.maximum(neighbors, 1), tf.float32)

    distances = tf.map_fn(mean_distance, padded, fn_output_signature=tf.TensorSpec([_BLOCK], tf.float32))
    sigma = _BETA * tf.reshape(distances, [-1])[:count]
    return tf.where(count > 1, tf.clip_by_value(sigma, _MINIMUM_SIGMA, _MAXIMUM_SIGMA), _MAXIMUM_SIGMA)


def density_map(points, point_mask, sigma, height: int, width: int, stride: int, rows=None, columns=None) -> tf.Tensor:
    """Draws points as a density map: each adds a Gaussian, integrated over the cells, of mass exactly 1.

    The Gaussian of a point is separable, so the map is `rows^T @ columns` with `rows[n, i]` the part of point n's mass
    in row i: the difference of the normal distribution function at the edges of the row, divided by its sum over all
    rows. Nothing is lost at the border, where the usual filters lose mass, and a map costs one matrix product, however
    many people it shows.

    Args:
      points: `(batch, n, 2)` float32, (x, y) in pixels of the image, each inside `[0, width * stride]` x
        `[0, height * stride]`.
      point_mask: `(batch, n)` float32, 1 for points and 0 for padding.
      sigma: `(batch, n)` float32, standard deviation of each Gaussian, pixels, positive.
      height: rows of the map, cells.
      width: columns of the map, cells.
      stride: side of a cell, pixels.
      rows: `(batch,)` int32, rows that belong to each map, where not all do; the others are zero.
      columns: `(batch,)` int32, columns that belong to each map, where not all do.

    Returns:
      `(batch, height, width, 1)` float32, people per cell; its sum is the sum of the mask.
    """
    by_column = _cell_masses(points[..., 0], sigma, width, stride, columns)
    by_row = _cell_masses(points[..., 1], sigma, height, stride, rows) * point_mask[..., None]
    return tf.matmul(by_row, by_column, transpose_a=True)[..., None]


def _cell_masses(positions, sigma, cells, stride, used):
    """Returns the part `(batch, n, cells)` of each point's Gaussian in each used cell along one axis; sums to 1."""
    edges = tf.cast(tf.range(cells + 1) * stride, tf.float32)
    # Padding may carry any sigma, zero included.
    scale = tf.maximum(sigma, 1e-3)[..., None] * tf.sqrt(2.0)
    distribution = tf.math.erf((edges - positions[..., None]) / scale)
    masses = distribution[..., 1:] - distribution[..., :-1]
    if used is not None:
        masses *= tf.cast(tf.range(cells) < used[:, None], tf.float32)[:, None]
    return tf.math.divide_no_nan(masses, tf.reduce_sum(masses, -1, keepdims=True))
