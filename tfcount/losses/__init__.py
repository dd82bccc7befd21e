"""Losses, one idea a file, one value per example."""

from tfcount.losses.block_count import BlockCountLoss, BlockHuberLoss
from tfcount.losses.density_l2 import DensityL2Loss

DENSITY_LOSSES = {"block_count": BlockCountLoss, "block_huber": BlockHuberLoss, "l2": DensityL2Loss}
