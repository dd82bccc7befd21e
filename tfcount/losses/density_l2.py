"""The density loss that most counters are trained with."""

import keras
from keras import ops

from tfcount.losses.annotations import DensityTargetLoss


def density_l2(y_true, y_pred):
    """Computes half the squared difference of two density maps, summed over cells.

    `loss = 0.5 * sum((y_pred - y_true) ** 2)`

    Source: Li et al., CSRNet, CVPR 2018, Eq. (2), whose learning rate of 1e-7 belongs to this sum.

    Args:
      y_true: `(batch, h, w, 1)` density, people per cell.
      y_pred: `(batch, h, w, 1)` density, people per cell.

    Returns:
      `(batch,)`, squared people.

    Example:
      >>> density_l2(np.array([[[[1.0], [0.0]]]]), np.array([[[[0.0], [3.0]]]]))
      [5.0]
    """
    return 0.5 * ops.sum(ops.square(y_pred - y_true), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("tfcount")
class DensityL2Loss(DensityTargetLoss):
    """Makes the predicted density equal the target in every cell, see `density_l2` and `DensityTargetLoss`."""

    def __init__(self, stride: int = 8, sigma: float = 4.0, name="density_l2", **kwargs):
        super().__init__(stride, sigma, name=name, **kwargs)

    def compare(self, target, density):
        """Returns one value per example, `(batch,)`."""
        return density_l2(target, density)
