"""Errors of counts in blocks of several sizes."""

from collections.abc import Sequence

import keras
from keras import ops

from tfcount.losses.annotations import DensityTargetLoss

BLOCK_SIZES = (1, 2, 4, 8, 32)
# Where squares become absolute values, see `block_huber`, people for a block of one cell.
_TRANSITION = 0.5


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
    return _sum_blocks(y_true, y_pred, sizes, lambda errors, size: ops.abs(errors))


def block_huber(y_true, y_pred, sizes: Sequence[int] = BLOCK_SIZES):
    """Computes `block_count` with errors that are squares where they are small.

    `loss = sum over s in sizes, blocks b of side s: d * (sqrt(1 + (e / d) ** 2) - 1)` with `d = s / 2` and
    `e = sum of y_pred in b - sum of y_true in b`: `e ** 2 / (2 * d)` for small errors and `|e| - d` for large ones.

    For a counter that starts from random weights. There the absolute error is smallest where everything is zero, for
    most cells show nobody: such a counter gets stuck at zero. A square is smallest at the mean, which shows the way.

    Source: the pseudo-Huber function (Charbonnier et al., 1997). Differs from any paper: its use on blocks, and `d`,
    were chosen here.

    Args:
      y_true: `(batch, h, w, 1)` density, people per cell.
      y_pred: `(batch, h, w, 1)` density, people per cell.
      sizes: sides of the blocks, cells; blocks at the bottom and right may reach beyond the map.

    Returns:
      `(batch,)`, people.

    Example:
      >>> y_true, y_pred = np.array([[[[0.0]]]]), np.array([[[[2.0]]]])
      >>> block_huber(y_true, y_pred, sizes=(1,))  # 0.5 * (sqrt(1 + (2 / 0.5) ** 2) - 1)
      [1.5616]
    """

    def huber(errors, size):
        transition = _TRANSITION * size
        return transition * (ops.sqrt(1 + ops.square(errors / transition)) - 1)

    return _sum_blocks(y_true, y_pred, sizes, huber)


def _sum_blocks(y_true, y_pred, sizes, penalty):
    """Sums what `penalty(errors, size)` makes of the errors of the counts in blocks of each size, `(batch,)`."""
    error = y_pred - y_true
    height, width = ops.shape(error)[1], ops.shape(error)[2]
    total = 0.0
    for size in sizes:
        padded = ops.pad(error, [[0, 0], [0, -height % size], [0, -width % size], [0, 0]])
        rows, columns = -(-height // size), -(-width // size)
        errors = ops.sum(ops.reshape(padded, (-1, rows, size, columns, size)), axis=(2, 4))
        total = total + ops.sum(penalty(errors, size), axis=(1, 2))
    return total


@keras.saving.register_keras_serializable("tfcount")
class BlockCountLoss(DensityTargetLoss):
    """Makes the counts in blocks of several sizes right, see `block_count` and `DensityTargetLoss`.

    Args:
      stride: side of a cell, pixels.
      sigma: width of the Gaussian of each head, pixels, where the target must be drawn.
      sizes: sides of the blocks, cells.
    """

    def __init__(
        self, stride: int = 8, sigma: float = 4.0, sizes: Sequence[int] = BLOCK_SIZES, name="block_count", **kwargs
    ):
        super().__init__(stride, sigma, name=name, **kwargs)
        if not sizes or min(sizes) < 1:
            raise ValueError(f"`sizes` must be positive numbers of cells. Received: sizes={sizes}.")
        self.sizes = tuple(sizes)

    def compare(self, target, density):
        """Returns one value per example, `(batch,)`."""
        return block_count(target, density, self.sizes)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sizes": self.sizes}


@keras.saving.register_keras_serializable("tfcount")
class BlockHuberLoss(BlockCountLoss):
    """Makes the counts in blocks of several sizes right, from random weights on, see `block_huber`.

    Args:
      stride: side of a cell, pixels.
      sigma: width of the Gaussian of each head, pixels, where the target must be drawn.
      sizes: sides of the blocks, cells.
    """

    def __init__(
        self, stride: int = 8, sigma: float = 4.0, sizes: Sequence[int] = BLOCK_SIZES, name="block_huber", **kwargs
    ):
        super().__init__(stride, sigma, sizes, name=name, **kwargs)

    def compare(self, target, density):
        """Returns one value per example, `(batch,)`."""
        return block_huber(target, density, self.sizes)
