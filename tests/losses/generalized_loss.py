"""The generalized loss written again in float64, after the paper and after the authors' code, and comparisons."""

import numpy as np
import pytest
import tensorflow as tf

from tfcount.losses.unbalanced_ot import UnbalancedOTLoss
from tfcount.ops.sinkhorn import unbalanced_sinkhorn

EPSILON, TAU, RHO = 0.005, 0.5, 0.5
FLOOR = 1e-8
ALL = "transport,entropy,pixel,point"
# One of each for many tests: every instance compiles anew.
TIGHT = UnbalancedOTLoss(tolerance=1e-3, max_iterations=1000)
REFERENCE = UnbalancedOTLoss(
    epsilon=0.01,
    tau=0.1,
    formulation="reference",
    eta_far=0.5,
    eta_near=0.7,
    tolerance=1e-3,
    max_iterations=1000,
)


def cells(height, width, stride):
    """Centers of cells, (x, y), row after row."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x, y], -1).reshape(-1, 2) * stride


def perspective(points, height, width, stride, eta=(0.6, 0.8), span=(0.0, 1.0), shift=1.0, side=None):
    """Eq. (4) as this project reads it."""
    centers = cells(height, width, stride)
    distance = np.linalg.norm(centers[:, None] - points[None], axis=-1) / (side or max(height, width) * stride)
    own, theirs = (
        np.clip(span[0] + (span[1] - span[0]) * values[:, 1] / (height * stride), 0, 1) for values in (centers, points)
    )
    mean = (own[:, None] + theirs[None]) / 2
    return np.exp(distance / (eta[0] + (eta[1] - eta[0]) * mean)) - shift


def equation_1(plan, cost, a, b, epsilon=EPSILON, tau=TAU, terms=ALL, pixel="l2", point="l1"):
    """Eq. (1) to (3) for a plan; the entropy is -sum(P (log P - 1))."""
    norms = {"l1": lambda values: np.abs(values).sum(), "l2": lambda values: (values**2).sum()}
    positive = plan[plan > 0]
    parts = {
        "transport": (cost * plan).sum(),
        "entropy": epsilon * (positive * (np.log(positive) - 1)).sum(),
        "pixel": tau * norms[pixel](plan.sum(1) - a),
        "point": tau * norms[point](plan.sum(0) - b),
    }
    return sum(parts[term] for term in terms.split(","))


class Paper:
    """The paper's loss of one image, with v found once and constant from then on."""

    def __init__(self, a, cost, **options):
        self.cost, self.options = cost, options
        self.b = np.ones(cost.shape[1])
        if cost.shape[1]:
            result = unbalanced_sinkhorn(
                np.maximum(a, 0)[None] + FLOOR,
                self.b[None],
                cost[None],
                EPSILON,
                RHO,
                tolerance=1e-9,
                max_iterations=5000,
            )
            assert result.converged.numpy().all()
            self.g = result.g.numpy()[0]
            exponents = (self.g - cost) / EPSILON
            largest = exponents.max(1)
            # log(K v)
            self.sums = largest + np.log(np.exp(exponents - largest[:, None]).sum(1))

    def __call__(self, a):
        """The loss of a density: u = (a / K v) ** lambda."""
        if not self.cost.shape[1]:
            return equation_1(self.cost, self.cost, a, self.b, **self.options)
        log_u = RHO / (RHO + EPSILON) * (np.log(np.maximum(a, 0) + FLOOR) - self.sums)
        return equation_1(np.exp(log_u[:, None] + (self.g - self.cost) / EPSILON), self.cost, a, self.b, **self.options)

    def gradient(self, a, index):
        """Central differences."""
        step = 1e-6 * max(a[index], 1e-2)
        ends = []
        for sign in (-1, 1):
            moved = a.copy()
            moved[index] += sign * step
            ends.append(self(moved))
        return (ends[1] - ends[0]) / (2 * step)


class Reference:
    """The authors' code, read again: averaged iterations at an epsilon that falls, then constant potentials."""

    def __init__(self, a, cost, epsilon, rho, tau, more):
        self.cost, self.epsilon, self.rho, self.tau = cost, epsilon, rho, tau
        log_a = np.where(a > 0, np.log(np.maximum(a, 1e-300)), -1e5)

        def softmin(eps, costs, log_weights):
            exponents = log_weights[None] - costs / eps
            largest = exponents.max(1)
            return -eps * (largest + np.log(np.exp(exponents - largest[:, None]).sum(1)))

        steps = int(np.ceil(np.log(np.sqrt(2) / epsilon) / np.log(2)))
        schedule = [np.sqrt(2)] + [np.sqrt(2) * 0.5**step for step in range(steps)] + [epsilon] * (1 + more)
        self.iterations = len(schedule)
        zero = np.zeros(cost.shape[1])
        damp = 1 / (1 + schedule[0] / rho)
        f, g = damp * softmin(schedule[0], cost, zero), damp * softmin(schedule[0], cost.T, log_a)
        for eps in schedule:
            damp = 1 / (1 + eps / rho)
            new_g, new_f = damp * softmin(eps, cost.T, log_a + f / eps), damp * softmin(eps, cost, g / eps)
            f, g = (f + new_f) / 2, (g + new_g) / 2
        self.f, self.g = (
            damp * softmin(epsilon, cost, g / epsilon),
            damp * softmin(epsilon, cost.T, log_a + f / epsilon),
        )
        # Constant where the pixel term reads it.
        self.rows = self.plan(a).sum(1)

    def plan(self, a):
        """Proportional to the density."""
        return np.exp((self.f[:, None] + self.g - self.cost) / self.epsilon) * a[:, None]

    def __call__(self, a):
        plan = self.plan(a)
        value = (self.rho + self.epsilon / 2) * (
            (a * (1 - np.exp(-self.f / self.rho))).sum() + (1 - np.exp(-self.g / self.rho)).sum()
        )
        value += self.tau * ((self.rows - a) ** 2).sum() + self.tau * np.abs(plan.sum(0) - 1).sum()
        return value + self.epsilon * (plan * np.log(plan + 1e-20)).mean()

    gradient = Paper.gradient


def ours(loss, points, density, span=None, side=None):
    """Value and gradient of one image of `UnbalancedOTLoss`."""
    y_true = {"points": np.float32(points)[None], "point_mask": np.ones((1, len(points)), "float32")}
    if not len(points):
        y_true = {"points": np.zeros((1, 4, 2), "float32"), "point_mask": np.zeros((1, 4), "float32")}
    if span:
        y_true["span"] = np.float32([span])
    if side:
        y_true["side"] = np.float32([side])
    y_pred = tf.constant(density[None, ..., None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss.call(y_true, y_pred)
    return float(value[0]), tape.gradient(value, y_pred).numpy().ravel().astype(np.float64)


def crowd(rng, people, height=16, width=12, stride=8):
    """Points, some beyond the border and two in one place, and a density that is roughly theirs."""
    points = rng.uniform(-4, [width * stride + 4, height * stride + 4], (people, 2))
    points[1:2] = points[:1]
    density = rng.uniform(0, 0.2, (height, width))
    for x, y in np.clip(points, 0, [width * stride - 1, height * stride - 1]).astype(int):
        density[y // stride, x // stride] += 0.8
    return np.float64(np.float32(points)), np.float64(np.float32(density))


def agrees(loss, reference, points, density, indices, span=None, side=None):
    """Compares value and gradient with those of `reference`."""
    value, gradient = ours(loss, points, density, span, side)
    a = density.ravel()
    assert value == pytest.approx(reference(a), rel=1e-3, abs=1e-5)
    expected = np.array([reference.gradient(a, index) for index in indices])
    np.testing.assert_allclose(gradient[indices], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
