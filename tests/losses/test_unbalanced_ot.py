"""The generalized loss against independent readings of the paper and of the authors' code, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfcount.losses.bayesian import BayesianLoss
from tfcount.losses.density_l2 import DensityL2Loss
from tfcount.losses.unbalanced_ot import UnbalancedOTLoss
from tfcount.ops.sinkhorn import unbalanced_sinkhorn
from tfcount.ops.transport_cost import transport_cost

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


@pytest.mark.parametrize("people", [0, 1, 50])
@pytest.mark.parametrize("mass", [0.1, 1.0, 10.0])
def test_value_and_gradient_are_those_of_the_paper(people, mass, rng):
    points, density = crowd(rng, people)
    # The gradient is that on the right at zero, where finite differences see the kink; it is tested below.
    density *= mass
    reference = Paper(density.ravel(), perspective(points, 16, 12, 8))
    agrees(TIGHT, reference, points, density, np.arange(0, 192, 7))


def test_a_thousand_points(rng):
    points, density = crowd(rng, 1000, 64, 64)
    agrees(TIGHT, Paper(density.ravel(), perspective(points, 64, 64, 8)), points, density, rng.choice(4096, 5))


@pytest.mark.parametrize(
    "options",
    [
        {"terms": "transport,pixel,point"},
        {"terms": "transport,entropy,point"},
        {"terms": "transport,entropy,pixel"},
        {"terms": "entropy,pixel,point"},
        {"terms": "pixel"},
        {"pixel": "l1"},
        {"point": "l2"},
        {"pixel": "l1", "point": "l2"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_terms_and_divergences(options, rng):
    """Table 2 and Fig. 4d: the plan is always the same."""
    points, density = crowd(rng, 30)
    loss = UnbalancedOTLoss(tolerance=1e-3, max_iterations=1000, **options)
    agrees(
        loss, Paper(density.ravel(), perspective(points, 16, 12, 8), **options), points, density, np.arange(0, 192, 11)
    )


def test_the_height_is_that_in_the_image(rng):
    """A crop of the lower part is nearer to the camera; `image_height=False` takes it for a whole image."""
    points, density = crowd(rng, 30)
    span = (0.5, 0.75)
    settings = {"tolerance": 1e-3, "max_iterations": 1000}
    of_image = Paper(density.ravel(), perspective(points, 16, 12, 8, span=span))
    of_crop = Paper(density.ravel(), perspective(points, 16, 12, 8))
    agrees(TIGHT, of_image, points, density, [5, 90], span)
    agrees(UnbalancedOTLoss(image_height=False, **settings), of_crop, points, density, [5, 90], span)
    assert abs(of_image(density.ravel()) / of_crop(density.ravel()) - 1) > 0.01


def test_the_height_and_the_unit_of_maps_that_are_padded(rng):
    """Neither side is a multiple of that to which maps are padded; distances are shares of a side that is told."""
    points, density = crowd(rng, 20, 13, 9)
    for span, side in (((0.1, 0.9), None), ((0.5, 0.75), 200.0)):
        reference = Paper(density.ravel(), perspective(points, 13, 9, 8, span=span, side=side))
        agrees(TIGHT, reference, points, density, [0, 50, 116], span, side)


def test_no_density_is_drawn_to_the_points(rng):
    """At a density of zero the gradient is finite, pulls cells near points up, and is that on the right side."""
    points, density = crowd(rng, 20)
    density *= 0
    reference = Paper(density.ravel(), perspective(points, 16, 12, 8))
    value, gradient = ours(TIGHT, points, density)
    assert value == pytest.approx(reference(density.ravel()), rel=1e-3)
    # All people are missing.
    assert value == pytest.approx(TAU * 20, rel=0.01)
    nearest = np.argmin(perspective(points, 16, 12, 8), 0)
    assert np.all(np.isfinite(gradient)) and np.all(gradient[nearest] < 0)
    for index in nearest[:5]:
        moved = density.ravel().copy()
        moved[index] = 1e-11
        difference = (reference(moved) - reference(density.ravel())) / 1e-11
        assert gradient[index] == pytest.approx(difference, rel=5e-3)


def test_the_printed_cost_leaves_most_people_where_they_are():
    """A perfect map of 200 people: with Eq. (4) as printed, 1 where there is no distance, 73 are transported."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(4096, 200, replace=False)
    points = cells(64, 64, 8)[chosen]
    density = np.bincount(chosen, minlength=4096).astype(float)
    b = np.ones((1, 200))
    transported = {}
    for shift in (0.0, 1.0):
        cost = perspective(points, 64, 64, 8, shift=shift)
        result = unbalanced_sinkhorn(density[None] + FLOOR, b, cost[None], EPSILON, RHO, max_iterations=1000)
        plan = np.exp((result.f.numpy()[0][:, None] + result.g.numpy()[0] - cost) / EPSILON)
        transported[shift] = plan.sum()
        # The loss of both forms, too.
        loss = UnbalancedOTLoss(shifted=shift == 1.0, tolerance=1e-4, max_iterations=1000)
        expected = Paper(density.ravel(), cost)(density.ravel())
        assert ours(loss, points, density.reshape(64, 64))[0] == pytest.approx(expected, rel=1e-3)
    assert transported[0.0] == pytest.approx(73, abs=1)
    assert transported[1.0] == pytest.approx(200, abs=2.5)


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


@pytest.mark.parametrize("people", [1, 40])
@pytest.mark.parametrize("mass", [0.2, 1.0, 5.0])
def test_the_reference_formulation_is_that_of_the_authors_code(people, mass, rng):
    """At converged potentials: the code stops before."""
    points, density = crowd(rng, people)
    density *= mass
    settings = {"epsilon": 0.01, "tau": 0.1, "rho": 0.5}
    cost = perspective(points, 16, 12, 8, eta=(0.5, 0.7))
    reference = Reference(density.ravel(), cost, more=4000, **settings)
    agrees(REFERENCE, reference, points, density, np.arange(0, 192, 7))
    # Its own number of iterations, ten for a map of 512 pixels.
    assert Reference(density.ravel(), cost, more=0, **settings).iterations == 10


def test_the_reference_formulation_of_nobody(rng):
    """1.2 times the density: once, and twice with tau = 0.1."""
    density = rng.uniform(0, 1, (4, 4))
    value, gradient = ours(REFERENCE, np.zeros((0, 2)), density)
    assert value == pytest.approx(1.2 * density.sum(), rel=1e-5)
    np.testing.assert_allclose(gradient, 1.2, rtol=1e-6)


class TestSpecialCases:
    """Section 4: both losses are Eq. (1) with plans of half an iteration, `K = exp(-C / epsilon)`, C squared."""

    SIGMA = 12.0

    def problem(self, rng):
        """Points, density, squared distances and kernel in units of the longer side; epsilon is 2 sigma ** 2."""
        points, density = crowd(rng, 25)
        points = np.clip(points, 0, [96, 128])
        side = 128.0
        cost = ((cells(16, 12, 8)[:, None] - points[None]) ** 2).sum(-1) / side**2
        return points, density, cost, np.exp(-cost / (2 * self.SIGMA**2 / side**2))

    def test_l2(self, rng):
        """Eq. (11), (12): u is uniform, the plan `K_ij / sum_i K_ij`, and only the pixel term depends on a."""
        _, density, cost, kernel = self.problem(rng)
        plan = kernel / kernel.sum(0)
        a, b = density.ravel(), np.ones(25)
        whole = equation_1(plan, cost, a, b, tau=1.0)
        constant = equation_1(plan, cost, a, b, tau=1.0, terms="transport,entropy")
        target = plan.sum(1).reshape(1, 16, 12, 1)
        expected = 2 * DensityL2Loss().call({"density": target}, density[None, ..., None])
        assert whole - constant == pytest.approx(float(expected[0]), rel=1e-10)

    def test_bayesian(self, rng):
        """Eq. (14): v is uniform, the plan `a_i K_ij / sum_j K_ij`; without background the cost is zero."""
        points, density, _, kernel = self.problem(rng)
        a, b = density.ravel(), np.ones(25)
        plan = kernel / kernel.sum(1, keepdims=True) * a[:, None]
        whole = equation_1(plan, 0.0, a, b, tau=1.0, terms="transport,pixel,point")
        y_true = {"points": np.float32(points)[None], "point_mask": np.ones((1, 25), "float32")}
        loss = BayesianLoss(sigma=self.SIGMA, background=0.0).call(y_true, np.float32(density)[None, ..., None])
        assert whole == pytest.approx(float(loss[0]), rel=1e-5)


@pytest.mark.parametrize("loss", [TIGHT, REFERENCE], ids=["paper", "reference"])
def test_negative_density_moves_nobody(loss, rng):
    """Only the pixel term sees it: `tau * (0 - a) ** 2`, whose derivative is `2 * tau * a`."""
    points, density = crowd(rng, 10)
    density[3, 4], density[10, 2] = -0.2, -0.3
    _, gradient = ours(loss, points, density)
    _, lower = ours(loss, points, density - 0.1 * (density < 0))
    places = [3 * 12 + 4, 10 * 12 + 2]
    np.testing.assert_allclose((lower - gradient)[places], -0.2 * loss.tau, rtol=1e-3)
    np.testing.assert_allclose(gradient[places], 2 * loss.tau * density.ravel()[places], atol=1e-6)


def test_far_points_are_left(rng):
    """A point thirty thousand pixels away is nobody's: all of it is missing, which costs tau."""
    points, density = crowd(rng, 10)

    def missing(loss):
        near, _ = ours(loss, points, density)
        far, gradient = ours(loss, np.concatenate([points, [[3e4, -3e4]]]), density)
        assert np.all(np.isfinite(gradient))
        return far - near

    assert missing(TIGHT) == pytest.approx(TAU, rel=1e-2)
    exponential = UnbalancedOTLoss(cost="exponential", tolerance=1e-3, max_iterations=1000)
    assert missing(exponential) == pytest.approx(TAU, rel=1e-2)
    assert missing(UnbalancedOTLoss(terms="transport,pixel,point", cost="exponential")) > 0
    # There also `(rho + epsilon / 2) * (1 - exp(-g / rho))`, with g as large as the cost.
    assert missing(REFERENCE) == pytest.approx(0.1 + RHO + 0.005, rel=1e-2)


@pytest.mark.parametrize("distance", [500.0, 1e3, 1e4, 1e6])
def test_far_points_take_no_more_iterations(distance, rng):
    points, density = crowd(rng, 63, 32, 32)
    points = np.concatenate([points, [[distance, distance]]])
    cost = transport_cost(tf.constant(points[None], tf.float32), 32, 32, 8, "perspective")
    result = unbalanced_sinkhorn(
        np.float32(density).reshape(1, -1) + 1e-8, np.ones((1, 64), "float32"), cost, 0.005, 0.5
    )
    assert result.converged.numpy().all() and result.iterations.numpy() < 60


def test_few_traces(rng):
    """Not one for each number of points, nor for each size of maps and batches."""
    loss = UnbalancedOTLoss()
    for people in (3, 16, 40, 64, 5):
        points, density = crowd(rng, people)
        ours(loss, points, density)
    assert loss._compiled.experimental_get_tracing_count() <= 2
    for people, height, width in ((3, 16, 12), (16, 13, 9), (40, 16, 12), (64, 30, 20), (5, 8, 8), (9, 24, 40)):
        points, density = crowd(rng, people, height, width)
        for batch in (1, 2, 3):
            y_true = {"points": np.float32([points] * batch), "point_mask": np.ones((batch, people), "float32")}
            loss.call(y_true, tf.constant(np.float32([density] * batch)[..., None]))
    assert loss._compiled.experimental_get_tracing_count() <= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive and finite. Received: epsilon=0.0"),
        ({"tau": -1.0}, "`tau` must be positive and finite. Received: tau=-1.0"),
        ({"rho": float("nan")}, "`rho` must be positive"),
        ({"epsilon": float("inf")}, "Received: epsilon=inf"),
        ({"eta_far": 0.0}, "`eta_far` must be positive"),
        ({"cost": "manhattan"}, "`cost` must be one of .* Received: cost='manhattan'"),
        ({"pixel": "l3"}, "`pixel` must be one of .* Received: pixel='l3'"),
        ({"formulation": "fork"}, "`formulation` must be one of"),
        ({"terms": "transport,mass"}, "`terms` must be some of transport,entropy,pixel,point. Received:"),
        ({"terms": ""}, "`terms` must be some of"),
        ({"tolerance": 0.0}, "`tolerance` must be positive. Received: tolerance=0.0"),
        ({"max_iterations": 0}, "`max_iterations` must be at least 1. Received: max_iterations=0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        UnbalancedOTLoss(**options)
