"""The generalized loss: what it costs to turn the predicted density into the annotated points."""

import math

import keras
import tensorflow as tf

from tfcount.losses.annotations import finite, missing_to_power_of_two, pad_end, points_of
from tfcount.ops.sinkhorn import check_iterations, unbalanced_sinkhorn
from tfcount.ops.transport_cost import COSTS, transport_cost

FORMULATIONS = ("paper", "reference")
DIVERGENCES = ("l1", "l2")
TERMS = ("transport", "entropy", "pixel", "point")

# Maps are padded with empty cells to multiples of so many a side: every new shape is compiled anew.
_MULTIPLE = 8

# Added to the density where the plan depends on it: at a density of zero the plan would have an infinite derivative.
_FLOOR = 1e-8


@keras.saving.register_keras_serializable("tfcount")
class UnbalancedOTLoss(keras.losses.Loss):
    """Computes the cost of the entropic unbalanced optimal transport (OT) of the density to the points.

    `loss = sum(C * P) + epsilon * sum(P * (log P - 1)) + tau * D1(P 1, a) + tau * D2(P^T 1, b)` with a the density, b
    one person a point, C the cost of `tfcount.ops.transport_cost`, `D1 = sum((P 1 - a) ** 2)`,
    `D2 = sum(|P^T 1 - b|)`, and P the plan of `tfcount.ops.sinkhorn.unbalanced_sinkhorn`, in which Kullback-Leibler
    divergences with weight rho take the places of D1 and D2. An image without points costs `tau * D1`.

    Source: Wan et al., "A generalized loss function for crowd counting and localization", CVPR 2021, Eq. (1) to (6).
    Differs from the paper: see `transport_cost` for the cost of no distance; the entropy is `-sum(P * (log P - 1))`, of
    which Eq. (5) and (6) are the solution; iterations are over-relaxed.

    The "reference" formulation is that of the authors' code: the plan has `epsilon * KL(P | a b^T)` in place of the
    entropy, and the loss is `(rho + epsilon / 2) * (sum(a * (1 - exp(-f / rho))) + sum(b * (1 - exp(-g / rho)))) +
    epsilon * mean(P * log P) + tau * D1 + tau * D2`, with `epsilon=0.01, tau=0.1, eta_far=0.5, eta_near=0.7`. There
    images without points cost `(1 + 2 * tau) * |sum(a)|`, with all terms.

    Differentiation: the paper's: v is constant and u a function of the density, `u = (a / K v) ** lambda`. In the
    reference formulation f and g are constant, P is proportional to a, but for D1, in which P is constant.

    Args:
      stride: side of a cell, pixels.
      cost: of moving density by a distance: "perspective", "exponential", "euclidean" or "squared".
      epsilon: weight of the entropy: the smaller, the sharper the density; distances are shares of the longer side of
        the crop.
      tau: weight of both divergences of the plan, from the density and from the points, in the loss.
      rho: weight of both divergences where the plan is found; the paper has one number for it and tau.
      eta_far: scale of distances in the perspective cost at the top of the image; the smaller, the dearer they are.
      eta_near: the same at the bottom of the image, and in the exponential cost everywhere.
      shifted: whether exponential costs are 0, not 1, where there is no distance.
      image_height: whether the perspective follows the height in the image that the map was cut from, which `span` in
        y_true tells; if not, that in the map, as in the authors' code.
      pixel: divergence of the plan from the density (D1), "l1" or "l2".
      point: divergence of the plan from the points (D2), "l1" or "l2".
      terms: which terms the loss has, of "transport", "entropy", "pixel", "point", with commas between them; the plan
        is always that of all four. In the reference formulation "transport" is the first.
      formulation: "paper" or "reference", the authors' code, which goes with epsilon 0.01, tau 0.1, eta_far 0.5 and
        eta_near 0.7.
      tolerance: the plan is found when another iteration would change its scaling factors by no larger share.
      max_iterations: most iterations in which the plan is sought; with the defaults of epsilon and rho they suffice.

    Call:
      y_true: see `tfcount.losses.annotations.points_of`; a dict may also have `span` and `side`, see `transport_cost`.
      y_pred: `(batch, h, w, 1)` density, people per cell. Negative density moves nobody, and D1 makes it rise.
      Returns `(batch,)`.

    Raises:
      ValueError: if an argument is out of its range.
      tf.errors.InvalidArgumentError: if the density or a point is not finite.
    """

    OPTIONS = (
        "cost",
        "epsilon",
        "tau",
        "rho",
        "eta_far",
        "eta_near",
        "shifted",
        "image_height",
        "pixel",
        "point",
        "terms",
        "formulation",
        "tolerance",
        "max_iterations",
    )

    def __init__(
        self,
        stride: int = 8,
        cost: str = "perspective",
        epsilon: float = 0.005,
        tau: float = 0.5,
        rho: float = 0.5,
        eta_far: float = 0.6,
        eta_near: float = 0.8,
        shifted: bool = True,
        image_height: bool = True,
        pixel: str = "l2",
        point: str = "l1",
        terms: str = "transport,entropy,pixel,point",
        formulation: str = "paper",
        tolerance: float = 0.01,
        max_iterations: int = 100,
        name="unbalanced_ot",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        for argument, value in {
            "epsilon": epsilon,
            "tau": tau,
            "rho": rho,
            "eta_far": eta_far,
            "eta_near": eta_near,
        }.items():
            if not 0 < value < math.inf:
                raise ValueError(f"`{argument}` must be positive and finite. Received: {argument}={value}.")
        check_iterations(tolerance, max_iterations)
        for argument, choice, choices in (
            ("cost", cost, COSTS),
            ("pixel", pixel, DIVERGENCES),
            ("point", point, DIVERGENCES),
            ("formulation", formulation, FORMULATIONS),
        ):
            if choice not in choices:
                raise ValueError(f"`{argument}` must be one of {choices}. Received: {argument}={choice!r}.")
        if not terms or not set(terms.split(",")) <= set(TERMS):
            raise ValueError(f"`terms` must be some of {','.join(TERMS)}. Received: terms={terms!r}.")
        self.stride, self.cost, self.epsilon, self.tau, self.rho = stride, cost, epsilon, tau, rho
        self.eta_far, self.eta_near, self.shifted, self.image_height = eta_far, eta_near, shifted, image_height
        self.pixel, self.point, self.terms, self.formulation = pixel, point, terms, formulation
        self.tolerance, self.max_iterations = tolerance, max_iterations
        # One trace, and one compilation for each shape of a map and number of points.
        self._compiled = tf.function(self._value_and_gradient, jit_compile=True, reduce_retracing=True)

    def call(self, y_true, y_pred):
        """Returns one value per example, `(batch,)`."""
        points, mask = points_of(y_true, y_pred)
        density = tf.cast(finite(y_pred), tf.float32)
        extra = y_true if isinstance(y_true, dict) else {}
        batch, height, width = tf.unstack(tf.shape(density)[:3])
        span = extra.get("span") if self.image_height else None
        if span is None:
            span = tf.tile([[0.0, 1.0]], [batch, 1])
        side = extra.get("side")
        if side is None:
            side = tf.fill([batch], tf.cast(tf.maximum(height, width) * self.stride, tf.float32))
        rows, columns = -height % _MULTIPLE, -width % _MULTIPLE
        maps = missing_to_power_of_two(batch)
        points, mask = (pad_end(value, 1, missing_to_power_of_two(tf.shape(mask)[1])) for value in (points, mask))
        # The padded map reaches farther down.
        top, bottom = tf.unstack(tf.cast(span, tf.float32), axis=1)
        bottom = top + (bottom - top) * tf.cast(height + rows, tf.float32) / tf.cast(height, tf.float32)
        truth = [pad_end(value, 0, maps) for value in (points, mask, tf.stack([top, bottom], 1))]
        truth.append(tf.pad(tf.cast(side, tf.float32), [[0, maps]], constant_values=1.0))

        @tf.custom_gradient
        def transport(density):
            padded = tf.pad(density, [[0, maps], [0, rows], [0, columns], [0, 0]])
            # The tape must not look inside: the gradient comes with the value.
            arguments = tf.nest.map_structure(tf.stop_gradient, (padded, *truth, [height, width]))
            value, gradient = self._compiled(*arguments)
            gradient = gradient[:batch, :height, :width]
            return value[:batch], lambda upstream: gradient * upstream[:, None, None, None]

        return transport(density)

    def _value_and_gradient(self, density, points, mask, span, side, sides):
        """Returns the loss of each example and its derivative by the density; all but `sides` of a map is padding."""
        height, width = tf.shape(density)[1], tf.shape(density)[2]
        real = (tf.range(height) < sides[0])[:, None] & (tf.range(width) < sides[1])
        real = tf.reshape(real, [1, height * width])
        eta = (self.eta_far, self.eta_near)
        cost = transport_cost(points, height, width, self.stride, self.cost, eta, self.shifted, span, side)
        a = tf.reshape(density, [-1, height * width])
        terms = _paper_terms if self.formulation == "paper" else _reference_terms
        value, gradient = terms(a, mask, cost, real, self)
        return value, tf.reshape(gradient, tf.shape(density))

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "stride": self.stride, **{name: getattr(self, name) for name in self.OPTIONS}}


def _solve(a, b, cost, real, loss, regularization):
    """Returns the masses of the sources, both potentials, finite everywhere, and the plan."""
    masses = tf.where(real, tf.maximum(a, 0.0) + _FLOOR, 0.0)
    result = unbalanced_sinkhorn(
        masses,
        b,
        cost,
        loss.epsilon,
        loss.rho,
        regularization,
        tolerance=loss.tolerance,
        max_iterations=loss.max_iterations,
    )
    plan = tf.exp((result.f[:, :, None] + result.g[:, None] - cost) / loss.epsilon)
    return masses, tf.where(real, result.f, 0.0), tf.where(b > 0, result.g, 0.0), plan


def _paper_terms(a, b, cost, real, loss):
    """Eq. (1) and its derivative by a where v is constant: that of the plan is `lambda * P / a`."""
    masses, f, g, plan = _solve(a, b, cost, real, loss, "entropy")
    epsilon, tau, terms = loss.epsilon, loss.tau, loss.terms.split(",")
    rows, columns = tf.reduce_sum(plan, 2), tf.reduce_sum(plan, 1)
    # `cost + epsilon * log P = f + g`: with both terms nothing is left to do with the matrices.
    transport, entropy = float("transport" in terms), float("entropy" in terms)
    costs = tf.reduce_sum(plan * cost, 2) if transport != entropy else tf.zeros_like(rows)
    logarithms = f * rows + tf.linalg.matvec(plan, g)
    value = tf.reduce_sum((transport - entropy) * costs + entropy * (logarithms - epsilon * rows), 1)
    by_plan = (transport - entropy) * costs + entropy * logarithms
    direct = tf.zeros_like(a)
    if "pixel" in terms:
        difference, slope = _divergence(rows - a, loss.pixel)
        value += tau * difference
        by_plan += tau * slope * rows
        direct = -tau * slope
    if "point" in terms:
        difference, slope = _divergence(columns - b, loss.point)
        value += tau * difference
        by_plan += tau * tf.linalg.matvec(plan, slope)
    damping = loss.rho / (loss.rho + epsilon)
    return value, direct + tf.where(a >= 0, damping * tf.math.divide_no_nan(by_plan, masses), 0.0)


def _reference_terms(a, b, cost, real, loss):
    """The authors' loss, and its derivative where f and g are constant."""
    masses, f, g, plan = _solve(a, b, cost, real, loss, "kl")
    epsilon, rho, tau, terms = loss.epsilon, loss.rho, loss.tau, loss.terms.split(",")
    people = tf.reduce_sum(b, 1)
    own = tf.where(real, 1 - tf.exp(-(f - epsilon * tf.math.log(tf.where(real, masses, 1.0))) / rho), 0.0)
    value, gradient = tf.zeros_like(people), tf.zeros_like(a)
    by_plan = tf.zeros_like(a)
    if "transport" in terms:
        theirs = tf.where(b > 0, 1 - tf.exp(-g / rho), 0.0)
        value += (rho + epsilon / 2) * (tf.reduce_sum(tf.maximum(a, 0.0) * own, 1) + tf.reduce_sum(theirs, 1))
        gradient += (rho + epsilon / 2) * tf.where(a >= 0, own, 0.0)
    if "entropy" in terms:
        rows = tf.reduce_sum(plan, 2)
        # The sum of P * log P over the points; the mean is over all pairs.
        logarithms = (f * rows + tf.linalg.matvec(plan, g) - tf.reduce_sum(plan * cost, 2)) / epsilon
        pairs = tf.maximum(people * tf.reduce_sum(tf.cast(real, tf.float32)), 1.0)[:, None]
        value += tf.reduce_sum(epsilon * logarithms / pairs, 1)
        by_plan += epsilon * (logarithms + rows) / pairs
    if "pixel" in terms:
        difference, slope = _divergence(tf.reduce_sum(plan, 2) - a, loss.pixel)
        value += tau * difference
        gradient -= tau * slope
    if "point" in terms:
        difference, slope = _divergence(tf.reduce_sum(plan, 1) - b, loss.point)
        value += tau * difference
        by_plan += tau * tf.linalg.matvec(plan, slope)
    gradient += tf.where(a >= 0, tf.math.divide_no_nan(by_plan, masses), 0.0)
    empty = sum(weight for term, weight in (("transport", 1.0), ("pixel", tau), ("point", tau)) if term in terms)
    total = tf.reduce_sum(a, 1)
    nobody = people == 0
    value = tf.where(nobody, empty * tf.abs(total), value)
    return value, tf.where(nobody[:, None], empty * tf.sign(total)[:, None], gradient)


def _divergence(difference, kind):
    """Returns the sum of absolute values or squares of each example, and its derivative by the difference."""
    if kind == "l1":
        return tf.reduce_sum(tf.abs(difference), 1), tf.sign(difference)
    return tf.reduce_sum(tf.square(difference), 1), 2 * difference
