"""The three parts of DM-Count's loss against an exact transport and by hand."""

import numpy as np
import ot
import pytest
import tensorflow as tf

from tfcount.losses.dm_count import DMCountLoss
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
    matrix = np.minimum(matrix, np.log(1e16) * epsilon)
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


def published(points, density, stride=8, epsilon=10.0, iterations=100, floor=1e-16):
    """The derivative of the transport by the density as the authors' code computes it."""
    height, width = density.shape
    squared = [
        (points[:, axis, None] - (np.arange(cells) + 0.5) * stride) ** 2 for axis, cells in ((0, width), (1, height))
    ]
    kernel = np.exp(-(squared[1][:, :, None] + squared[0][:, None]).reshape(len(points), -1) / epsilon)
    total = density.sum()
    masses, u = (density / total).ravel(), np.full(len(points), 1 / len(points))
    for _ in range(iterations):
        v = masses / (kernel.T @ u + floor)
        u = 1 / len(points) / (kernel @ v + floor)
    potential = epsilon * np.log(v + floor)
    return potential / total - (density.ravel() @ potential) / total**2


@pytest.mark.parametrize(("people", "cells"), [(5, 32), (30, 32), (100, 32), (300, 64)])
def test_the_gradient_is_about_that_of_the_authors_code(people, cells, rng):
    """Half of the people anywhere, half in a cluster; a density that is learned in part, and one that is not."""
    points = rng.uniform(0, 8 * cells, (people, 2))
    points[::2] = np.clip(rng.normal(4 * cells, 40, points[::2].shape), 0, 8 * cells - 1)
    begun = rng.uniform(0, 0.01, (cells, cells))
    for x, y in points:
        begun[int(y // 8), int(x // 8)] += 0.5
    y_true = {"points": np.float32(points)[None], "point_mask": np.ones((1, people), "float32")}
    loss = DMCountLoss(transport_weight=1.0, variation_weight=0.0)
    for density, least in ((begun, 0.93), (rng.uniform(0.02, 0.08, (cells, cells)), 0.85)):
        y_pred = tf.constant(np.float32(density)[None, ..., None])
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss.call(y_true, y_pred)
        ours = tape.gradient(value, y_pred).numpy().ravel() - np.sign(density.sum() - people)
        theirs = published(points, density)
        size = np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > least
        assert 0.3 < size < 1.2


@pytest.mark.parametrize("total", [0.1, 1e-2, 1e-4, 1e-10, 1e-30, 1e-44, 0.0])
def test_derivatives_by_almost_nobody_are_bounded(total, rng):
    """Down to a hundredth of a person shares change as they do; below that no faster than there."""
    y_true, density = problem(rng, 30, 8, 8)
    loss = DMCountLoss()

    def gradient(total):
        y_pred = tf.constant(density * np.float32(total / density.sum()))
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss.call(y_true, y_pred)
        assert np.all(np.isfinite(value))
        return tape.gradient(value, y_pred).numpy() + 1

    expected = gradient(1.0) / max(total, 0.01) if total > 1e-40 else 0 * density
    np.testing.assert_allclose(gradient(total), expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max() + 1e-6)


def test_the_perspective_is_that_of_the_image(rng):
    y_true, density = problem(rng, 10, 8, 8)
    loss = DMCountLoss(cost="perspective", epsilon=0.05, transport_weight=10.0)
    near, far = (
        float(loss.call({**y_true, "span": np.float32([span])}, density)[0]) for span in ((0.9, 1.0), (0.0, 0.1))
    )
    whole = float(loss.call(y_true, density)[0])
    assert near < whole < far


def test_few_iterations_suffice(rng):
    """A crop of 512 pixels with 1,000 people in a cluster: a hundred iterations as ten thousand."""
    points = np.clip(rng.normal(256, 60, (1, 1000, 2)), 0, 511).astype("float32")
    y_true = {"points": points, "point_mask": np.ones((1, 1000), "float32")}
    density = rng.uniform(0, 0.5, (1, 64, 64, 1)).astype("float32")
    few, many = (
        DMCountLoss(transport_weight=1.0, variation_weight=0.0, tolerance=tolerance, max_iterations=limit)
        for tolerance, limit in ((0.03, 100), (1e-4, 10_000))
    )
    np.testing.assert_allclose(few.call(y_true, density), many.call(y_true, density), rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive and finite. Received: epsilon=0.0"),
        ({"cost": "l1"}, "`cost` must be one of .* Received: cost='l1'"),
        ({"transport_weight": -1.0}, "`transport_weight` must be at least 0. Received: transport_weight=-1.0"),
        ({"variation_weight": float("nan")}, "`variation_weight` must be at least 0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DMCountLoss(**options)
