"""Losses, one idea a file, one value per example."""

import keras

from tfcount.losses.bayesian import BayesianLoss
from tfcount.losses.block_count import BlockCountLoss, BlockHuberLoss
from tfcount.losses.density_l2 import DensityL2Loss
from tfcount.losses.dm_count import DMCountLoss
from tfcount.losses.unbalanced_ot import UnbalancedOTLoss

# All are called with points and a density; OPTIONS names those arguments of the constructor that are flags.
DENSITY_LOSSES: dict[str, type[keras.losses.Loss]] = {
    "bayesian": BayesianLoss,
    "block_count": BlockCountLoss,
    "block_huber": BlockHuberLoss,
    "dm_count": DMCountLoss,
    "l2": DensityL2Loss,
    "unbalanced_ot": UnbalancedOTLoss,
}
