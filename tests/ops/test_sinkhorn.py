"""Unbalanced optimal transport: closed forms, the equations of a solution, another library, hard inputs."""

import numpy as np
import ot
import pytest
import tensorflow as tf

from tfcount.ops.sinkhorn import REGULARIZATIONS, best_relaxation, unbalanced_sinkhorn


def plan(result, cost, epsilon):
    """The transport plan as the docstring of the result gives it."""
    f, g = np.asarray(result.f, np.float64), np.asarray(result.g, np.float64)
    return np.exp((f[:, :, None] + g[:, None] - cost) / epsilon)


def problem(sources, targets, seed=0, batch=1):
    """Masses between 0.1 and 2, and distances between random points in the unit square."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(size=(batch, sources, 2)), rng.uniform(size=(batch, targets, 2))
    cost = np.linalg.norm(x[:, :, None] - y[:, None], axis=-1)
    return rng.uniform(0.1, 2, (batch, sources)), rng.uniform(0.1, 2, (batch, targets)), cost


@pytest.mark.parametrize("epsilon", [0.005, 0.1, 1.0])
@pytest.mark.parametrize("rho", [0.05, 0.5, 5.0])
def test_one_source_and_one_target_have_a_closed_form(epsilon, rho):
    """The derivative of the problem by the only value p of the plan is zero.

    With the entropy, `c + epsilon log p + rho log(p / a) + rho log(p / b) = 0` gives
    `p = exp((rho log(a b) - c) / (epsilon + 2 rho))`; with "kl", `epsilon log(p / (a b))` in place of the second part
    gives `p = exp(((epsilon + rho) log(a b) - c) / (epsilon + 2 rho))`.
    """
    a, b, c = 0.3, 1.7, 0.4
    for kind, weight in (("entropy", rho), ("kl", epsilon + rho)):
        expected = np.exp((weight * np.log(a * b) - c) / (epsilon + 2 * rho))
        result = unbalanced_sinkhorn(
            [[a]], [[b]], np.array([[[c]]]), epsilon, rho, kind, tolerance=1e-9, max_iterations=1000
        )
        assert result.converged.numpy().all()
        np.testing.assert_allclose(plan(result, c, epsilon)[0, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", REGULARIZATIONS)
@pytest.mark.parametrize(("epsilon", "rho"), [(0.05, 0.5), (0.02, 2.0), (0.5, 0.1)])
def test_agrees_with_python_optimal_transport(kind, epsilon, rho):
    """POT solves the same problem, in float64."""
    a, b, cost = problem(40, 25)
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        a[0], b[0], cost[0], epsilon, rho, reg_type=kind, numItermax=20_000, stopThr=1e-13
    )
    result = unbalanced_sinkhorn(a, b, cost, epsilon, rho, kind, tolerance=1e-8, max_iterations=1000)
    ours = plan(result, cost, epsilon)[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-12)
    # The potentials are those of the same plan: theirs are `log(P) * epsilon + cost`, up to a constant between both.
    sums = epsilon * np.log(theirs) + cost[0]
    np.testing.assert_allclose(result.f[0][:, None] + result.g[0][None], sums, atol=1e-6)


@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_potentials_solve_the_equations(kind):
    """Rows and columns of the plan are what the optimality conditions say: `f = -rho log(P 1 / a)`."""
    epsilon, rho = 0.005, 0.5
    a, b, cost = problem(60, 30, seed=1, batch=3)
    result = unbalanced_sinkhorn(a, b, cost, epsilon, rho, kind, tolerance=1e-9, max_iterations=500)
    assert result.converged.numpy().all() and result.residual.numpy().max() <= 1e-9
    matrix = plan(result, cost, epsilon)
    # With "kl" the potentials of the reference measure, `epsilon log a`, are not part of the derivative.
    own_f, own_g = (epsilon * np.log(mass) if kind == "kl" else 0.0 for mass in (a, b))
    np.testing.assert_allclose(result.f - own_f, -rho * np.log(matrix.sum(2) / a), atol=1e-8)
    np.testing.assert_allclose(result.g - own_g, -rho * np.log(matrix.sum(1) / b), atol=1e-8)


def test_sources_and_targets_may_change_places():
    """The problem is symmetric."""
    a, b, cost = problem(20, 12)
    there = unbalanced_sinkhorn(a, b, cost, 0.02, 0.5, tolerance=1e-9, max_iterations=500)
    back = unbalanced_sinkhorn(b, a, cost.transpose(0, 2, 1), 0.02, 0.5, tolerance=1e-9, max_iterations=500)
    np.testing.assert_allclose(there.f, back.g, atol=1e-8)
    np.testing.assert_allclose(there.g, back.f, atol=1e-8)


def test_masses_are_kept_where_they_must_be():
    """With rho None the plan has the given marginals."""
    a, b, cost = problem(30, 20, seed=2)
    a, b = a / a.sum(), b / b.sum()
    result = unbalanced_sinkhorn(a, b, cost, 0.05, None, scaling=0.5, tolerance=1e-9, max_iterations=2000)
    assert result.converged.numpy().all()
    matrix = plan(result, cost, 0.05)
    np.testing.assert_allclose(matrix.sum(2), a, rtol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), b, rtol=1e-6)


def test_what_has_no_mass_changes_nothing():
    """Padding, of points and of sources; a batch of nobody; an example whose other half is empty."""
    a, b, cost = problem(20, 10, batch=2)
    alone = unbalanced_sinkhorn(a, b, cost, 0.01, 0.5, tolerance=1e-9, max_iterations=500)
    # Whatever the costs of padding are, the cheapest of all included.
    padded = unbalanced_sinkhorn(
        np.pad(a, [[0, 0], [0, 3]]),
        np.pad(b, [[0, 0], [2, 5]]),
        np.pad(cost, [[0, 0], [0, 3], [2, 5]]),
        0.01,
        0.5,
        tolerance=1e-9,
        max_iterations=500,
    )
    np.testing.assert_allclose(padded.f[:, :20], alone.f, atol=1e-8)
    np.testing.assert_allclose(padded.g[:, 2:12], alone.g, atol=1e-8)
    assert np.all(np.isneginf(padded.f[:, 20:])) and np.all(np.isneginf(padded.g[:, :2]))
    for sources, targets in ((a, 0 * b), (0 * a, b), (0 * a, 0 * b)):
        nothing = unbalanced_sinkhorn(sources, targets, cost, 0.01, 0.5)
        np.testing.assert_array_equal(plan(nothing, cost, 0.01), 0.0)
        assert nothing.converged.numpy().all()
    # One empty example does not disturb the other.
    half = unbalanced_sinkhorn(a, b * [[1.0], [0.0]], cost, 0.01, 0.5, tolerance=1e-9, max_iterations=500)
    np.testing.assert_allclose(half.f[0], alone.f[0], atol=1e-8)


@pytest.mark.parametrize("epsilon", [1e-3, 5e-3, 0.05, 1.0])
@pytest.mark.parametrize("mass", [0.1, 1.0, 10.0])
def test_float32_suffices(epsilon, mass):
    """The plan of 32-bit floats is that of 64-bit floats, though exp(-cost / epsilon) is zero for most costs."""
    a, b, cost = problem(400, 100, seed=3)
    cost = np.exp(cost / 0.6) - 1
    settings = {"tolerance": 1e-3, "max_iterations": 1000}
    exact = unbalanced_sinkhorn(mass * a, b, cost, epsilon, 0.5, tolerance=1e-9, max_iterations=2000)
    single = unbalanced_sinkhorn(*(np.float32(value) for value in (mass * a, b, cost)), epsilon, 0.5, **settings)
    assert exact.converged.numpy().all() and single.converged.numpy().all()
    ours, theirs = plan(single, cost, epsilon), plan(exact, cost, epsilon)
    assert np.abs(ours - theirs).sum() <= 3e-3 * theirs.sum()


def test_epsilon_may_fall_slowly():
    """Scaling leads to the same solution."""
    a, b, cost = problem(50, 40, seed=4)
    direct = unbalanced_sinkhorn(a, b, cost, 0.01, 0.5, tolerance=1e-9, max_iterations=500)
    scaled = unbalanced_sinkhorn(a, b, cost, 0.01, 0.5, scaling=0.5, tolerance=1e-9, max_iterations=500)
    np.testing.assert_allclose(scaled.f, direct.f, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_over_relaxation_needs_fewer_iterations(seed):
    """A third at most, and to the same solution."""
    a, b, cost = problem(100, 40, seed)
    plain, relaxed = (
        unbalanced_sinkhorn(a, b, cost, 0.005, 0.5, relaxation=factor, tolerance=1e-4, max_iterations=3000)
        for factor in (1.0, None)
    )
    assert plain.converged.numpy().all() and relaxed.converged.numpy().all()
    assert 3 * relaxed.iterations.numpy() <= plain.iterations.numpy()
    np.testing.assert_allclose(relaxed.f, plain.f, atol=5e-4)


def test_best_relaxation_by_hand():
    """lambda = 0.6 / (0.6 + 0.15) = 0.8, so that sqrt(1 - 0.64) = 0.6 and 2 / 1.6 = 1.25."""
    assert best_relaxation(0.15, 0.6) == pytest.approx(1.25)


def test_tells_that_it_has_not_converged():
    """At the limit of iterations, and with a cost that is not a number, which ends at once."""
    a, b, cost = problem(50, 40)
    result = unbalanced_sinkhorn(a, b, cost, 0.005, 0.5, max_iterations=3)
    assert result.iterations.numpy() == 3 and not result.converged.numpy().any()
    broken = unbalanced_sinkhorn(a, b, cost * np.nan, 0.005, 0.5)
    assert broken.iterations.numpy() <= 2 and not broken.converged.numpy().any()


def test_an_example_that_is_not_finite_leaves_the_others_alone():
    """And iterations come to an end."""
    a, b, cost = problem(50, 40, batch=2)
    alone = unbalanced_sinkhorn(a[1:], b[1:], cost[1:], 0.005, 0.5)
    cost[0, 3, 4] = np.nan
    result = unbalanced_sinkhorn(a, b, cost, 0.005, 0.5)
    assert result.converged.numpy().tolist() == [False, True]
    np.testing.assert_allclose(result.f[1], alone.f[0], atol=1e-3)


@pytest.mark.parametrize("mass", [np.inf, np.nan, -1.0])
@pytest.mark.parametrize("side", ["a", "b"])
def test_a_mass_that_is_none_leaves_the_others_alone(side, mass):
    a, b, cost = problem(50, 40, batch=2)
    {"a": a, "b": b}[side][0, 0] = mass
    result = unbalanced_sinkhorn(a, b, cost, 0.005, 0.5)
    assert result.converged.numpy().tolist() == [False, True]


@pytest.mark.parametrize("known", range(3))
def test_traces_may_know_the_shape_of_one_argument_alone(known):
    a, b, cost = problem(5, 3)
    arguments = [np.float32(value) for value in (a, b, cost)]
    shapes = [value.shape if index == known else [None] * value.ndim for index, value in enumerate(arguments)]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])
    def solve(a, b, cost):
        return unbalanced_sinkhorn(a, b, cost, 0.1, 0.5, scaling=0.5)

    np.testing.assert_allclose(solve(*arguments).f, unbalanced_sinkhorn(*arguments, 0.1, 0.5, scaling=0.5).f, rtol=1e-4)


def test_runs_in_a_graph_of_any_shape():
    """Shapes unknown when the graph is made; eager and in the graph the same."""

    @tf.function(input_signature=[tf.TensorSpec([None] * rank) for rank in (2, 2, 3)])
    def solve(a, b, cost):
        return unbalanced_sinkhorn(a, b, cost, 0.01, 0.5)

    for sources, targets in ((30, 8), (12, 20)):
        a, b, cost = (np.float32(value) for value in problem(sources, targets, batch=2))
        np.testing.assert_allclose(solve(a, b, cost).f, unbalanced_sinkhorn(a, b, cost, 0.01, 0.5).f, atol=1e-6)
    assert solve.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive and finite. Received: epsilon=0.0"),
        ({"epsilon": float("nan")}, "`epsilon` must be positive"),
        ({"rho": -1.0}, "`rho` must be positive, or None. Received: rho=-1.0"),
        ({"regularization": "l2"}, "`regularization` must be one of .* Received: 'l2'"),
        ({"scaling": 1.0}, "`scaling` must be between 0 and 1, or None"),
        ({"relaxation": 2.0}, "`relaxation` must be at least 1 and below 2"),
        ({"tolerance": 0.0}, "`tolerance` must be positive"),
        ({"max_iterations": 0}, "`max_iterations` must be at least 1. Received: max_iterations=0"),
    ],
)
def test_numbers_out_of_range_are_refused(changed, message):
    """Each by its name."""
    a, b, cost = problem(3, 2)
    with pytest.raises(ValueError, match=message):
        unbalanced_sinkhorn(a, b, cost, **{"epsilon": 0.1, "rho": 0.5, **changed})
