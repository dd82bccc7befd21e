"""Density centers that follow the divisions assigned to them."""

import keras
import tensorflow as tf


class MultipolarCenters(keras.layers.Layer):
    """Keeps one density center for each of the densest groups of divisions.

    Each update moves a center towards the relative densities of its divisions:

    `delta_c = sum over i of (d_c - D_i / r_i ** 2) / (1 + n_c)`, `d_c = d_c - rate * delta_c`

    with sum and number n_c over the divisions of center c in the global batch, over all replicas: the update is that of
    one device on the joined batch.

    Source: Xu et al., "Learn to scale", ICCV 2019, Eq. (1), after Wen et al., ECCV 2016.

    Args:
      count: number of centers, C.
      rate: learning rate of the centers, alpha, 0 to 1.

    Raises:
      ValueError: if `rate` is not between 0 and 1.
    """

    def __init__(self, count: int, rate: float, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate <= 1:
            raise ValueError(f"`rate` must be between 0 and 1. Received: rate={rate}.")
        self.count = count
        self.rate = rate
        self.build()

    def build(self, input_shape=None):
        """Creates the centers, increasing; who knows the densities assigns better values."""
        # All replicas compute the same update.
        self.centers = self.add_weight(
            shape=(self.count,),
            initializer=lambda shape, dtype: tf.range(1, self.count + 1, dtype=dtype),
            trainable=False,
            aggregation="mean",
            autocast=False,
            name="centers",
        )
        self.built = True

    def call(self, index):
        """Returns the center of each division, `(n,)` float32, for `(n,)` indices."""
        return tf.gather(self.centers, index)

    def update(self, relative_density, index) -> None:
        """Moves the centers, see the class; all replicas must call it.

        Args:
          relative_density: `(n,)` float32, D / r ** 2 of the divisions of this replica.
          index: `(n,)` int32, the center of each.
        """
        distance = tf.gather(self.centers, index) - relative_density
        sums = tf.math.unsorted_segment_sum(distance, index, self.count)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(distance), index, self.count)
        context = tf.distribute.get_replica_context()
        sums, counts = context.all_reduce(tf.distribute.ReduceOp.SUM, [sums, counts])
        self.centers.assign(self.centers - self.rate * sums / (1.0 + counts))

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "count": self.count, "rate": self.rate}
