"""Training on images with all points: the density that a counter predicts against the one the points make."""

import dataclasses

import tensorflow as tf

from tfcount.data.streams import TrainingData
from tfcount.losses import DENSITY_LOSSES
from tfcount.methods.method import Method


@dataclasses.dataclass(frozen=True)
class Config:
    """Nothing to choose but the density loss, which all methods share."""


class Supervised(Method):
    """Makes the predicted density equal that of the points.

    Args:
      counter: the network to train.
      density_loss: `(target, density) -> (batch,)`.
    """

    def __init__(self, counter, density_loss, **kwargs):
        super().__init__(counter, **kwargs)
        self.density_loss = density_loss
        self.build_metrics(["density"])

    def compute_losses(self, batch, training):
        """Returns the density loss of each image."""
        density = self.counter(batch["image"], training=training)
        return {"density": self.density_loss.call(batch["density"], density)}


def train_dataset(config: Config, data: TrainingData) -> tf.data.Dataset:
    """Returns crops of the images with all points."""
    return data.labeled()


def build(config: Config, counter, density_config) -> Supervised:
    """Builds the method around a counter."""
    return Supervised(counter, DENSITY_LOSSES[density_config.loss]())
