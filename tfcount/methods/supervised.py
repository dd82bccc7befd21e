"""Training on images with all points: the density that a counter predicts against the points."""

import dataclasses

import tensorflow as tf

from tfcount.data.streams import TrainingData
from tfcount.methods.method import Method


@dataclasses.dataclass(frozen=True)
class Config:
    """Nothing to choose but the density loss, which all methods share."""


class Supervised(Method):
    """Makes the predicted density that of the points, as the density loss understands it.

    Args:
      counter: the network to train.
      density_loss: `(batch, density) -> (batch,)`, one of `tfcount.losses.DENSITY_LOSSES`.
    """

    def __init__(self, counter, density_loss, **kwargs):
        super().__init__(counter, **kwargs)
        self.density_loss = density_loss
        self.build_metrics(["density"])

    def compute_losses(self, batch, training):
        """Returns the density loss of each image."""
        density = self.counter(batch["image"], training=training)
        return {"density": self.density_loss.call(batch, density)}


def train_dataset(config: Config, data: TrainingData) -> tf.data.Dataset:
    """Returns crops of the images with all points."""
    return data.labeled()


def build(config: Config, counter, density_loss) -> Supervised:
    """Builds the method around a counter; `density_loss(stride)` makes the loss."""
    return Supervised(counter, density_loss(counter.stride))
