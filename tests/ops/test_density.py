import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import tensorflow as tf

from tfcount.ops import density


def draw(points, sigma, height, width, stride):
    points = np.asarray(points, np.float32).reshape(1, -1, 2)
    mask = np.ones(points.shape[:2], np.float32)
    return density.density_map(points, mask, np.full_like(mask, sigma), height, width, stride).numpy()[0, ..., 0]


def test_golden():
    """A head in the middle of cell 1 of 3, sigma half a cell: the middle cell holds erf(1 / sqrt(2)) = 0.6827 of the
    mass inside +-1.5 cells = 3 sigma, 0.9973: 0.6845; along the other axis there is one cell, which holds all."""
    np.testing.assert_allclose(draw([[12, 4]], 4, 1, 3, 8), [[0.15773, 0.68454, 0.15773]], atol=1e-4)


def test_agrees_with_plain_loops(rng):
    points = rng.uniform(0, [80, 48], (5, 2))
    expected = np.zeros((6, 10))
    for x, y in points:
        columns = np.diff(scipy.stats.norm.cdf(np.arange(11) * 8, x, 5))
        rows = np.diff(scipy.stats.norm.cdf(np.arange(7) * 8, y, 5))
        expected += np.outer(rows / rows.sum(), columns / columns.sum())
    np.testing.assert_allclose(draw(points, 5, 6, 10, 8), expected, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.5, 4, 32])
@pytest.mark.parametrize("points", [[], [[0, 0]], [[80, 48]], [[0, 48], [80, 0], [80, 0]], [[40.3, 0.1]] * 7])
def test_mass_is_exact_at_borders_and_for_any_number(points, sigma):
    assert draw(points, sigma, 6, 10, 8).sum() == pytest.approx(len(points), rel=1e-5)


def test_mass_of_a_crowd(rng):
    assert draw(rng.uniform(0, [512, 512], (3000, 2)), 8, 64, 64, 8).sum() == pytest.approx(3000, rel=1e-5)


def test_padding_is_free(rng):
    points = rng.uniform(0, 64, (1, 3, 2)).astype(np.float32)
    ones = np.ones((1, 3), np.float32)
    padded = [np.pad(values, [[0, 0], [0, 5]] + [[0, 0]] * (values.ndim - 2)) for values in (points, ones, 4 * ones)]
    np.testing.assert_allclose(
        density.density_map(*padded, 8, 8, 8), density.density_map(points, ones, 4 * ones, 8, 8, 8), atol=1e-7
    )


def test_a_moved_head_moves_its_density():
    np.testing.assert_allclose(draw([[20, 30]], 3, 8, 8, 8)[:, :-1], draw([[28, 30]], 3, 8, 8, 8)[:, 1:], atol=1e-5)


def test_adaptive_sigma_agrees_with_a_tree(rng):
    points = rng.uniform(0, 300, (1500, 2)).astype(np.float32)
    distances, _ = scipy.spatial.cKDTree(points).query(points, k=4)
    expected = np.clip(0.3 * distances[:, 1:].mean(-1), 1, 32)
    np.testing.assert_allclose(density.adaptive_sigma(points), expected, rtol=1e-3)


@pytest.mark.parametrize(
    "points, expected",
    [
        (np.zeros((0, 2)), []),
        ([[5, 5]], [32]),
        ([[0, 0], [0, 30]], [9, 9]),
        ([[0, 0], [0, 10], [0, 30]], [6, 4.5, 7.5]),
        ([[3, 3], [3, 3]], [1, 1]),
    ],
)
def test_adaptive_sigma_of_few_points(points, expected):
    """0.3 times the mean distance to those there are: (10 + 30) / 2, (10 + 20) / 2, (30 + 20) / 2 in the third case."""
    np.testing.assert_allclose(density.adaptive_sigma(tf.constant(points, tf.float32)), expected, rtol=1e-5)


def test_graph_equals_eager(rng):
    points = tf.constant(rng.uniform(0, 64, (2, 5, 2)), tf.float32)
    mask = tf.ones((2, 5))
    graph = tf.function(lambda p, m: density.density_map(p, m, 4 * m, 8, 8, 8))
    np.testing.assert_allclose(graph(points, mask), density.density_map(points, mask, 4 * mask, 8, 8, 8), atol=1e-6)
    graph = tf.function(density.adaptive_sigma)
    np.testing.assert_allclose(graph(points[0]), density.adaptive_sigma(points[0]), rtol=1e-6)
