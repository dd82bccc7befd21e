"""The three parts of DM-Count's loss against an exact transport and by hand."""

import numpy as np
import ot
import pytest
import tensorflow as tf

from tfcount.losses.dm_count import DMCountLoss
from tfcount.ops.density import density_map
from tfcount.ops.transport_cost import COSTS, transport_cost


def problem(rng, people=6, height=5, width=4):
    y_true = {
        "points": rng.uniform(0, [8 * width, 8 * height], (1, people, 2)).astype("float32"),
        "point_mask": np.ones((1, people), "float32"),
    }
    return y_true, rng.uniform(0, 1, (1, height, width, 1)).astype("float32")


def test_count_and_variation_by_hand():
    """Two cells, 0.5 and 1.5 people; one point in each: |2 - 2| = 0, and the total variation is
    `0.5 * 2 * (|0.25 - 0.5| + |0.75 - 0.5|) = 0.5`; with three people in the second, |3.5 - 2| = 1.5."""
    y_true = {"points": np.float32([[[4, 4], [12, 4]]]), "point_mask": np.ones((1, 2), "float32")}
    loss = DMCountLoss(transport_weight=0.0, variation_weight=1.0)
    np.testing.assert_allclose(loss.call(y_true, np.float32([[[[0.5], [1.5]]]])), [0.5], rtol=1e-5)
    share = 0.5 / 3.5
    np.testing.assert_allclose(
        loss.call(y_true, np.float32([[[[0.5], [3.0]]]])), [1.5 + 2 * abs(share - 0.5)], rtol=1e-5
    )


@pytest.mark.parametrize("cost", COSTS)
def test_the_transport_is_that_of_python_optimal_transport(cost, rng):
    """Value, and the derivative by the normalized density, of the entropic transport with reference measure a b^T."""
    y_true, density = problem(rng)
    # Large enough for both to find how groups of points that share hardly anything compare.
    epsilon = 100.0 if cost == "squared" else 0.1
    side = np.float32([1.0]) if cost == "squared" else None
    matrix = np.float64(transport_cost(y_true["points"], 5, 4, 8, cost, side=side)[0])
    a = np.float64(density.ravel())
    a /= a.sum()
    b = np.full(6, 1 / 6)
    plan = ot.sinkhorn(a, b, matrix, epsilon, method="sinkhorn_log", numItermax=20_000, stopThr=1e-12)
    value = (plan * matrix).sum() + epsilon * (plan * np.log(plan / np.outer(a, b))).sum()
    loss = DMCountLoss(
        cost=cost, epsilon=epsilon, transport_weight=1.0, variation_weight=0.0, tolerance=1e-5, max_iterations=5000
    )
    y_pred = tf.constant(density)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        ours = loss.call(y_true, y_pred)
    total = density.sum()
    assert float(ours[0]) - abs(total - 6) == pytest.approx(value, rel=1e-3)
    # The plan is `a_i b_j exp((f_i + g_j - C) / epsilon)`; f is known but for a constant, which has no effect.
    f = epsilon * np.log(plan / np.outer(a, b)) + matrix
    f = f[:, 0] - (f[:, 0] * a).sum()
    gradient = tape.gradient(ours, y_pred).numpy().ravel() - np.sign(total - 6)
    np.testing.assert_allclose(gradient, f / total, rtol=2e-3, atol=2e-3 * np.abs(f / total).max())


def test_published_iterations_point_the_right_way(rng):
    """A crop of 256 pixels with 100 people, whose costs are ten thousand times epsilon.

    A hundred iterations do not solve that; the gradient has the direction of the solution's, which plain ones, from
    the final epsilon on, do not reach.
    """
    y_true, density = problem(rng, 100, 32, 32)
    sigma = np.full((1, 100), 8.0, "float32")
    density = density_map(y_true["points"], y_true["point_mask"], sigma, 32, 32, 8) * rng.lognormal(0, 0.3, (32, 32, 1))
    gradients, values = [], []
    for limit in (100, 10_000):
        y_pred = tf.constant(density)
        loss = DMCountLoss(transport_weight=1.0, variation_weight=0.0, tolerance=1e-4, max_iterations=limit)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss.call(y_true, y_pred)
        count_error = float(tf.reduce_sum(y_pred)) - 100
        values.append(float(value[0]) - abs(count_error))
        gradients.append(tape.gradient(value, y_pred).numpy().ravel() - np.sign(count_error))
    assert values[0] == pytest.approx(values[1], rel=0.1)
    few, many = gradients
    assert few @ many / np.linalg.norm(few) / np.linalg.norm(many) > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive. Received: epsilon=0.0"),
        ({"cost": "l1"}, "`cost` must be one of .* Received: cost='l1'"),
        ({"transport_weight": -1.0}, "`transport_weight` must be at least 0. Received: transport_weight=-1.0"),
        ({"variation_weight": float("nan")}, "`variation_weight` must be at least 0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DMCountLoss(**options)
