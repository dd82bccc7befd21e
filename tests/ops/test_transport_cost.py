"""Costs by hand, and what they keep."""

import numpy as np
import pytest

from tfcount.ops.transport_cost import COSTS, transport_cost


def test_by_hand():
    """A map of 1 x 2 cells of 8 pixels, 16 pixels long: centers (4, 4) and (12, 4).

    The point (4, 6) is 2 / 16 = 0.125 from the first and sqrt(64 + 4) / 16 = 0.515388 from the second.
    """
    points = np.float32([[[4, 6]]])
    distances = np.array([0.125, 0.515388])
    for cost, expected in (
        ("euclidean", distances),
        ("squared", distances**2),
        ("exponential", np.exp(distances / 0.8) - 1),
    ):
        np.testing.assert_allclose(transport_cost(points, 1, 2, 8, cost)[0, :, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(
        transport_cost(points, 1, 2, 8, "exponential", shifted=False)[0, :, 0], np.exp(distances / 0.8), rtol=1e-5
    )


def test_perspective_by_hand():
    """In a map of 2 x 1 cells, 16 pixels high, the centers are at heights 0.25 and 0.75, and a point at y = 8 at 0.5.

    The mean heights are 0.375 and 0.625: eta is 0.6 + 0.2 * 0.375 = 0.675 and 0.725; both distances are 4 / 16.
    """
    expected = np.exp(0.25 / np.array([0.675, 0.725])) - 1
    points = np.float32([[[4, 8]]])
    np.testing.assert_allclose(transport_cost(points, 2, 1, 8, "perspective")[0, :, 0], expected, rtol=1e-5)
    # The lower half of an image: heights 0.625, 0.875 and 0.75, means 0.6875 and 0.8125.
    expected = np.exp(0.25 / (0.6 + 0.2 * np.array([0.6875, 0.8125]))) - 1
    lower = transport_cost(points, 2, 1, 8, "perspective", span=np.float32([[0.5, 1]]))
    np.testing.assert_allclose(lower[0, :, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_size_order_and_side(cost, rng):
    """Cells go row after row; twice the image, points and all, costs the same; the unit may be given."""
    points = rng.uniform(0, 40, (2, 3, 2)).astype("float32")
    one = np.asarray(transport_cost(points, 4, 5, 8, cost))
    assert one.shape == (2, 20, 3) and np.all(one >= 0)
    np.testing.assert_allclose(transport_cost(2 * points, 4, 5, 16, cost), one, rtol=1e-4)
    np.testing.assert_allclose(transport_cost(points, 4, 5, 8, cost, side=np.float32([40, 40])), one, rtol=1e-5)
    x, y = 8 * 3 + 4, 8 * 2 + 4
    distance = np.hypot(*(points[1, 2] - [x, y])) / 40
    if cost in ("euclidean", "squared"):
        assert one[1, 2 * 5 + 3, 2] == pytest.approx(distance if cost == "euclidean" else distance**2, rel=1e-4)


def test_unknown_cost():
    with pytest.raises(ValueError, match="`cost` must be one of .* Received: 'manhattan'"):
        transport_cost(np.zeros((1, 1, 2), "float32"), 2, 2, 8, "manhattan")
