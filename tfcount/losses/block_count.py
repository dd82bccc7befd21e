"""Errors of counts in blocks of several sizes."""

from collections.abc import Sequence

import keras
from keras import ops

BLOCK_SIZES = (1, 2, 4, 8, 32)


def block_count(y_true, y_pred, sizes: Sequence[int] = BLOCK_SIZES):
    """Computes the absolute errors of the counts in square blocks of cells, summed over blocks and block sizes.

    `loss = sum over s in sizes, blocks b of side s: |sum of y_pred in b - sum of y_true in b|`

    Blocks of one cell place the people, large ones make the count right; an absolute error, unlike a square, is not
    ruled by the few densest cells.

    Differs from any paper: the sizes were chosen here; the idea of comparing counts at several resolutions is common.

    Args:
      y_true: `(batch, h, w, 1)` density, people per cell.
      y_pred: `(batch, h, w, 1)` density, people per cell.
      sizes: sides of the blocks, cells; blocks at the bottom and right may reach beyond the map.

    Returns:
      `(batch,)`, people.

    Example:
      >>> y_true, y_pred = np.array([[[[1.0], [0.0]]]]), np.array([[[[0.0], [3.0]]]])
      >>> block_count(y_true, y_pred, sizes=(1, 2))  # |0 - 1| + |3 - 0| + |3 - 1|
      [6.0]
    """
    total = 0.0
    for errors in block_errors(y_true, y_pred, sizes):
        total = total + ops.sum(ops.abs(errors), axis=(1, 2))
    return total


def block_errors(y_true, y_pred, sizes: Sequence[int]) -> list:
    """Returns for each size the errors of the counts in blocks of that many cells a side, `(batch, rows, columns)`."""
    error = y_pred - y_true
    height, width = ops.shape(error)[1], ops.shape(error)[2]
    errors = []
    for size in sizes:
        padded = ops.pad(error, [[0, 0], [0, -height % size], [0, -width % size], [0, 0]])
        rows, columns = -(-height // size), -(-width // size)
        errors.append(ops.sum(ops.reshape(padded, (-1, rows, size, columns, size)), axis=(2, 4)))
    return errors


def check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Returns the block sizes as a tuple; raises ValueError if there are none, or one is not positive."""
    if not sizes or min(sizes) < 1:
        raise ValueError(f"`sizes` must be positive numbers of cells. Received: sizes={sizes}.")
    return tuple(sizes)


class BlockCountLoss(keras.losses.Loss):
    """Makes the counts in blocks of several sizes right, see `block_count`.

    Args:
      sizes: sides of the blocks, cells.
    """

    def __init__(self, sizes: Sequence[int] = BLOCK_SIZES, name="block_count", **kwargs):
        super().__init__(name=name, **kwargs)
        self.sizes = check_sizes(sizes)

    def call(self, y_true, y_pred):
        """Returns one value per example, `(batch,)`."""
        return block_count(y_true, y_pred, self.sizes)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sizes": self.sizes}
