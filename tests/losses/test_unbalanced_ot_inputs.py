"""What unusual inputs do to the generalized loss: negative density, far points, other sizes of maps and batches."""

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.generalized_loss import REFERENCE, RHO, TAU, TIGHT, crowd, ours
from tfcount.losses.unbalanced_ot import UnbalancedOTLoss
from tfcount.ops.sinkhorn import unbalanced_sinkhorn
from tfcount.ops.transport_cost import transport_cost


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
