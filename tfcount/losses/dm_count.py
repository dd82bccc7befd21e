"""The loss of DM-Count: distribution matching by balanced optimal transport, the count, and total variation."""

import math

import keras
import tensorflow as tf

from tfcount.losses.annotations import finite, missing_to_power_of_two, pad_end, points_of
from tfcount.ops.sinkhorn import check_iterations, unbalanced_sinkhorn
from tfcount.ops.transport_cost import COSTS, transport_cost

# Added to the normalized density where the transport is sought: every cell must have some mass.
_FLOOR = 1e-8
# Derivatives by a density of fewer people are those by one of so many.
_FEWEST = 0.01
# Costs beyond this many epsilon are all alike: there the kernel of the authors' code is lost in its floor of 1e-16.
_FARTHEST = math.log(1e16)
# Of 1, 1.5, 1.8 and 1.9 that which needs fewest iterations where many are needed: 30 in place of 100 to 250.
_RELAXATION = 1.8


@keras.saving.register_keras_serializable("tfcount")
class DMCountLoss(keras.losses.Loss):
    """Compares the density, made to add up to 1, with the points, made to add up to 1, and both counts.

    `loss = |sum(a) - m| + transport_weight * W(a / sum(a), b / m) + variation_weight * m / 2 * sum(|a / sum(a) -
    d / m|)` with a the density, m the number of points, d the number of them in each cell, and W the balanced entropic
    optimal transport. Images without points, and a density of zero, have the first part alone.

    Source: Wang et al., "Distribution matching for crowd counting", NeurIPS 2020, Eq. (7); other costs: Wan et al.,
    CVPR 2021, Fig. 4a.
    Differs from the paper, as the authors' code does by its rounding: a cost is 36.8 epsilon at most, which is 19
    pixels at the published settings. Without that limit the derivatives are four to fifty times larger, and training
    at the published weight of the transport ended at nine times too many people.
    Differs from the authors' code: W is regularized by `epsilon * KL(P | a b^T)`, P the plan, where theirs is by the
    entropy of P; and P carries all of the density, where theirs leaves what is far from all points. The derivative is
    0.35 to 1.1 times as large as theirs and points about the same way (cosine 0.87 to 0.99), but where the density is
    exactly zero: theirs fills such places, this one does not (cosine -0.86 to -0.99 if it is zero wherever nobody is).
    With the entropy alone in place of the divergence sizes stay as they are, and counts of VGG cells got no better.

    Differentiation: the potentials of W are constant: its derivative by the normalized density is f. A density of less
    than 0.01 people has the derivatives of one of 0.01: shares of it would change without bound.

    Args:
      stride: side of a cell, pixels.
      cost: of moving density by a distance: "perspective", "exponential", "euclidean" or "squared".
      epsilon: weight of the entropy; in squared pixels for the squared cost, for the others as that of
        `UnbalancedOTLoss`, whose 0.005 is a good start.
      transport_weight: weight of the transport; published for costs in squared pixels, others need a larger one.
      variation_weight: weight of the total variation.
      tolerance: the plan is found when another iteration would change its scaling factors by no larger share.
      max_iterations: most iterations in which the plan is sought.

    Call:
      y_true: see `tfcount.losses.annotations.points_of`; a dict may also have `span` and `side`, see `transport_cost`.
      y_pred: `(batch, h, w, 1)` density, people per cell; negative values count as zero, but for the count.
      Returns `(batch,)`.

    Raises:
      ValueError: if an argument is out of its range.
      tf.errors.InvalidArgumentError: if the density or a point is not finite.
    """

    OPTIONS = ("cost", "epsilon", "transport_weight", "variation_weight", "tolerance", "max_iterations")

    def __init__(
        self,
        stride: int = 8,
        cost: str = "squared",
        epsilon: float = 10.0,
        transport_weight: float = 0.1,
        variation_weight: float = 0.01,
        tolerance: float = 0.03,
        max_iterations: int = 100,
        name="dm_count",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if cost not in COSTS:
            raise ValueError(f"`cost` must be one of {COSTS}. Received: cost={cost!r}.")
        if not 0 < epsilon < math.inf:
            raise ValueError(f"`epsilon` must be positive and finite. Received: epsilon={epsilon}.")
        check_iterations(tolerance, max_iterations)
        for argument, value in {"transport_weight": transport_weight, "variation_weight": variation_weight}.items():
            if not value >= 0:
                raise ValueError(f"`{argument}` must be at least 0. Received: {argument}={value}.")
        self.stride, self.cost, self.epsilon = stride, cost, epsilon
        self.transport_weight, self.variation_weight = transport_weight, variation_weight
        self.tolerance, self.max_iterations = tolerance, max_iterations

    def call(self, y_true, y_pred):
        """Returns one value per example, `(batch,)`."""
        points, mask = points_of(y_true, y_pred)
        density = tf.cast(finite(y_pred), tf.float32)
        height, width = tf.shape(density)[1], tf.shape(density)[2]
        people = tf.reduce_sum(mask, 1)
        a = tf.reshape(density, [-1, height * width])
        positive = tf.maximum(a, 0.0)
        total = tf.reduce_sum(positive, 1, keepdims=True)
        shares = tf.stop_gradient(tf.math.divide_no_nan(positive, total))
        # What is added is 0; it has the derivative of `positive / total`, where there are not too few people.
        normalized = shares + (positive - shares * total) / tf.stop_gradient(tf.maximum(total, _FEWEST))
        target = tf.math.divide_no_nan(mask, people[:, None])
        extra = y_true if isinstance(y_true, dict) else {}
        side = extra.get("side")
        if self.cost == "squared":
            # In pixels, as the epsilon is.
            side = tf.ones_like(people)
        points, mask, target = (
            pad_end(value, 1, missing_to_power_of_two(tf.shape(mask)[1])) for value in (points, mask, target)
        )
        cost = transport_cost(points, height, width, self.stride, self.cost, span=extra.get("span"), side=side)
        cost = tf.minimum(cost, _FARTHEST * self.epsilon)
        sources = shares + _FLOOR
        sources /= tf.reduce_sum(sources, 1, keepdims=True)
        result = unbalanced_sinkhorn(
            sources,
            target,
            cost,
            self.epsilon,
            None,
            relaxation=_RELAXATION,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        f = result.f - self.epsilon * tf.math.log(sources)
        g = tf.where(mask > 0, result.g - self.epsilon * tf.math.log(tf.where(mask > 0, target, 1.0)), 0.0)
        distance = tf.reduce_sum(normalized * tf.stop_gradient(f), 1) + tf.reduce_sum(target * g, 1)
        dots = _people_per_cell(points, mask, height, width, self.stride)
        variation = 0.5 * tf.reduce_sum(tf.abs(normalized * people[:, None] - dots), 1)
        both = (people > 0) & (total[:, 0] > 0)
        matching = self.transport_weight * distance + self.variation_weight * variation
        return tf.abs(tf.reduce_sum(a, 1) - people) + tf.where(both, matching, 0.0)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "stride": self.stride, **{name: getattr(self, name) for name in self.OPTIONS}}


def _people_per_cell(points, mask, height, width, stride):
    """Returns the number of points in each cell, `(batch, height * width)`; points outside belong to the border."""
    columns = tf.clip_by_value(tf.cast(points[..., 0] // stride, tf.int32), 0, width - 1)
    rows = tf.clip_by_value(tf.cast(points[..., 1] // stride, tf.int32), 0, height - 1)
    by_row = tf.one_hot(rows, height) * mask[..., None]
    return tf.reshape(tf.matmul(by_row, tf.one_hot(columns, width), transpose_a=True), [-1, height * width])
