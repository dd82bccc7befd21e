"""What every method shares: its options, its plan, its training step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcount.data.streams.training_data import TrainingData
from tfcount.models import Counter


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """What a method leaves open: each method has its own, whose fields are flags."""

    def counter_options(self) -> dict[str, Any]:
        """Returns those arguments of the counter's function that the method decides on, by name."""
        return {}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a method is going to learn from: computed once a run.

    Attributes:
      label_cost: annotation that training uses: numbers of `images`, `dots`, `counts`, `pairs` and `columns`.
      stream: makes the endless batches of training.
      anchors: ids of the training images by whose counts potentials become counts. If there are some, the map only
        ranks images.
    """

    label_cost: dict[str, int]
    stream: Callable[[TrainingData], tf.data.Dataset]
    anchors: frozenset[str] = frozenset()


class Method(keras.Model):
    """Trains a counter: a model around it, with everything that only training needs.

    A method implements `compute_losses`. The step adds up what it returns, divides by the number of examples over all
    replicas, scales for 16-bit floats, applies the gradients and logs each loss; `call` is the counter's.

    Args:
      counter: the network to train; it alone ships.
    """

    def __init__(self, counter: Counter, **kwargs):
        super().__init__(**kwargs)
        self.counter = counter
        self._means: dict[str, keras.metrics.Mean] = {}
        # Steps taken, those included that loss scaling skipped; the optimizer counts only the others.
        self._steps = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="steps",
        )
        self.built = True

    @property
    def steps(self) -> int:
        """Number of training steps taken so far."""
        return int(self._steps.numpy())

    def call(self, images, training=None):
        """Returns the counter's density."""
        return self.counter(images, training=training)

    def prepare(self, dataset: tf.data.Dataset, batches: int) -> None:
        """Looks at the data once, before the first step of a run; most methods have nothing to look for.

        Args:
          dataset: what the stream of the plan gives.
          batches: that make an epoch.
        """

    def write_summaries(self, examples: list) -> None:
        """Writes what TensorBoard shows of this method alone, with a default writer and step in place.

        Args:
          examples: `(image, target)` arrays: a few whole images and their densities.
        """

    def compute_losses(self, batch: dict, training: bool) -> dict:
        """Computes the parts of the loss on one replica's share of a batch.

        Args:
          batch: what the stream of the plan gives.
          training: whether layers behave as in training.

        Returns:
          For each part its name and `(n,)` float32 values, one per example; or a pair of values and `(n,)` weights
          where not every example counts. The whole loss is the sum over the parts of their weighted means.
        """
        raise NotImplementedError

    @property
    def metrics(self) -> list:
        """The running means of the losses, which Keras resets every epoch."""
        return list(self._means.values())

    def build_metrics(self, names) -> None:
        """Creates a running mean for `loss` and each part; call it in the strategy's scope, before training."""
        self._means = {name: keras.metrics.Mean(name=name) for name in ("loss", *names)}

    def train_step(self, batch: dict) -> dict:
        """Takes one optimizer step on a batch and returns the losses' running means."""
        with tf.GradientTape() as tape:
            parts = {
                name: self._global_mean(name, value)
                for name, value in self.compute_losses(batch, training=True).items()
            }
            unnamed = sorted(set(parts) - set(self._means))
            if unnamed:
                raise ValueError(f"`build_metrics` must name every part of the loss. Missing: {unnamed}.")
            loss = tf.add_n(list(parts.values()))
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        if replicas > 1:
            # Keras clips, and looks for infinities, before it adds up the replicas: it must see the whole gradient.
            # As it adds up what it gets, each replica gives an equal share.
            present = [gradient for gradient in gradients if gradient is not None]
            summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
            gradients = [gradient if gradient is None else next(summed) / replicas for gradient in gradients]
        required = [loss]
        # With scaled losses infinities are usual, and the optimizer leaves the step out.
        if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            # Where the squares add up to infinity, clipping would make NaN of all.
            norm = tf.linalg.global_norm(gradients)
            required.append(tf.debugging.assert_all_finite(norm, "the gradient is not finite"))
        # What is not finite, or a batch that does not come, stops the step before anything changes.
        with tf.control_dependencies(required):
            self.optimizer.apply(gradients, variables)
            self._steps.assign_add(1)
            for name, value in {"loss": loss, **parts}.items():
                # Shares add up to the global mean; the mean over replicas of `replicas` times a share is their sum.
                self._means[name].update_state(value * replicas)
        return {name: mean.result() for name, mean in self._means.items()}

    def _global_mean(self, name, value):
        """Returns this replica's share of the weighted mean over all replicas, and stops at a value not finite."""
        values, weights = value if isinstance(value, tuple) else (value, tf.ones_like(value))
        if values.shape.rank != 1:
            raise ValueError(
                f"Loss {name!r} must have one value per example, (n,). Received: shape {values.shape}. Of a Keras loss "
                "take `loss.call(...)`: calling the object gives a mean."
            )
        values, weights = tf.cast(values, tf.float32), tf.cast(weights, tf.float32)
        with tf.control_dependencies([tf.debugging.assert_all_finite(values, f"loss {name!r} is not finite")]):
            weighted = tf.reduce_sum(values * weights)
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        return tf.math.divide_no_nan(weighted, total)
