"""Losses, one idea a file, one value per example."""

from tfcount.losses.block_count import BlockCountLoss
from tfcount.losses.block_l2 import BlockL2Loss
from tfcount.losses.density_l2 import DensityL2Loss

DENSITY_LOSSES = {"block_count": BlockCountLoss, "block_l2": BlockL2Loss, "l2": DensityL2Loss}
