"""Squared errors of counts in blocks of several sizes."""

from collections.abc import Sequence

import keras
from keras import ops

from tfcount.losses.block_count import BLOCK_SIZES, block_errors, check_sizes


def block_l2(y_true, y_pred, sizes: Sequence[int] = BLOCK_SIZES):
    """Computes half the squared errors of the counts in square blocks of cells, over blocks and block sizes.

    `loss = sum over s in sizes, blocks b of side s: 0.5 * ((sum of y_pred in b - sum of y_true in b) / s) ** 2`

    Divided by `s`, an error that is noise from cell to cell counts alike at every size, and one that large blocks share
    counts the more, the larger the block: it is what makes the count of the image wrong. With `sizes=(1,)` it is
    `density_l2`. Where a counter starts from random weights, prefer it to `block_count`: the absolute error of cells
    most of which show nobody is smallest where everything is zero, and that is where such a counter gets stuck.

    Differs from any paper: the sizes and their weights were chosen here.

    Args:
      y_true: `(batch, h, w, 1)` density, people per cell.
      y_pred: `(batch, h, w, 1)` density, people per cell.
      sizes: sides of the blocks, cells; blocks at the bottom and right may reach beyond the map.

    Returns:
      `(batch,)`, squared people.

    Example:
      >>> y_true, y_pred = np.array([[[[1.0], [0.0]]]]), np.array([[[[0.0], [3.0]]]])
      >>> block_l2(y_true, y_pred, sizes=(1, 2))  # 0.5 * (1 + 9) + 0.5 * ((3 - 1) / 2) ** 2
      [5.5]
    """
    total = 0.0
    for size, errors in zip(sizes, block_errors(y_true, y_pred, sizes)):
        total = total + 0.5 * ops.sum(ops.square(errors / size), axis=(1, 2))
    return total


class BlockL2Loss(keras.losses.Loss):
    """Makes the counts in blocks of several sizes right, by squared errors, see `block_l2`.

    Args:
      sizes: sides of the blocks, cells.
    """

    def __init__(self, sizes: Sequence[int] = BLOCK_SIZES, name="block_l2", **kwargs):
        super().__init__(name=name, **kwargs)
        self.sizes = check_sizes(sizes)

    def call(self, y_true, y_pred):
        """Returns one value per example, `(batch,)`."""
        return block_l2(y_true, y_pred, self.sizes)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sizes": self.sizes}
