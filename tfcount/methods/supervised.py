"""Training on images with all points: the density that a counter predicts against the points."""

import dataclasses

from tfcount.data.streams.labeled import labeled
from tfcount.methods.method import Method, MethodConfig, Plan
from tfcount.records import schema
from tfcount.records.folder import Records


@dataclasses.dataclass(frozen=True)
class Config(MethodConfig):
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


def plan(config: Config, records: Records, seed: int) -> Plan:
    """Plans to learn from crops of the images with all points."""
    return Plan(records.with_labels(schema.POINTS).label_cost(), labeled)


def build(config: Config, counter, density_loss) -> Supervised:
    """Builds the method around a counter; `density_loss(stride)` makes the loss."""
    return Supervised(counter, density_loss(counter.stride))
