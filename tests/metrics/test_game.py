import numpy as np
import pytest

from tfcount.metrics import game


def test_edges_are_halved_downwards():
    assert game.quadrant_edges(7, 1) == [0, 3, 7]
    assert game.quadrant_edges(7, 2) == [0, 1, 3, 5, 7]


def test_golden():
    """One person at the left, one predicted at the right: the count is right, the halves are wrong by one each."""
    density = np.zeros((2, 2))
    density[0, 1] = 1
    np.testing.assert_allclose(game.game(density, np.array([[4.0, 4.0]]), 8, 16, 16, levels=2), [0, 2])


@pytest.mark.parametrize("height, width", [(64, 64), (61, 83), (9, 100), (3, 3)])
@pytest.mark.parametrize("level", range(4))
def test_sums_keep_the_mass(rng, height, width, level):
    density = rng.random((-(-height // 8), -(-width // 8)))
    assert game.quadrant_sums(density, 8, height, width, level).sum() == pytest.approx(density.sum())
    points = rng.uniform(0, [width, height], (50, 2))
    points[0] = width, height
    assert game.quadrant_counts(points, height, width, level).sum() == 50


def test_a_cell_on_the_border_is_shared_by_area():
    """The halves of 12 pixels meet at 6: of the first cell 6 / 8 lies above; of the second, 4 pixels high, nothing."""
    np.testing.assert_allclose(game.quadrant_sums(np.array([[8.0], [1.0]]), 8, 12, 1, 1).sum(1), [6, 3])


def test_level_zero_is_the_absolute_error_and_levels_grow(rng):
    density, points = rng.random((10, 12)), rng.uniform(0, [96, 80], (40, 2))
    errors = game.game(density, points, 8, 80, 96)
    assert errors[0] == pytest.approx(abs(density.sum() - 40))
    assert np.all(np.diff(errors) >= -1e-9)


def test_no_points():
    np.testing.assert_allclose(game.game(np.ones((2, 2)), np.zeros((0, 2)), 8, 16, 16), [4, 4, 4, 4])
