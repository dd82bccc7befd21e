import numpy as np
import pytest
import tensorflow as tf

from tfcount.losses import DENSITY_LOSSES
from tfcount.losses.annotations import DensityTargetLoss
from tfcount.losses.block_count import BlockCountLoss, BlockHuberLoss, block_count, block_huber
from tfcount.losses.density_l2 import density_l2
from tfcount.ops.density import density_map

TARGET_LOSSES = [name for name, loss in DENSITY_LOSSES.items() if issubclass(loss, DensityTargetLoss)]


def truth(rng):
    """Five people in each of three images of 64 x 48 pixels, 8 x 6 cells."""
    return {
        "points": rng.uniform(0, [48, 64], (3, 5, 2)).astype("float32"),
        "point_mask": np.ones((3, 5), "float32"),
    }


def test_density_l2_golden():
    """0.5 * ((0 - 1)^2 + (3 - 0)^2) = 5."""
    y_true, y_pred = np.array([[[[1.0], [0.0]]]]), np.array([[[[0.0], [3.0]]]])
    np.testing.assert_allclose(density_l2(y_true, y_pred), [5.0])


def test_block_count_golden():
    """Cells: |0 - 1| + |3 - 0| = 4; the one block of 2 x 2, which reaches beyond the map: |3 - 1| = 2."""
    y_true, y_pred = np.array([[[[1.0], [0.0]]]]), np.array([[[[0.0], [3.0]]]])
    np.testing.assert_allclose(block_count(y_true, y_pred, sizes=(1, 2)), [6.0])


def test_block_huber_golden():
    """Cells, d = 0.5: 0.5 * (sqrt(1 + 2^2) - 1) = 0.618034 for |0 - 1|, 0.5 * (sqrt(1 + 6^2) - 1) = 2.541381 for 3.

    The one block of 2 x 2, d = 1: sqrt(1 + 2^2) - 1 = 1.236068.
    """
    y_true, y_pred = np.array([[[[1.0], [0.0]]]]), np.array([[[[0.0], [3.0]]]])
    np.testing.assert_allclose(block_huber(y_true, y_pred, sizes=(1, 2)), [4.395483], rtol=1e-6)


def test_block_huber_is_a_square_for_small_errors_and_an_absolute_value_for_large_ones():
    def one_cell(error):
        return float(block_huber(np.zeros((1, 1, 1, 1)), np.full((1, 1, 1, 1), error), sizes=(1,))[0])

    assert one_cell(0.01) == pytest.approx(0.01**2, rel=1e-3)
    assert one_cell(100.0) == pytest.approx(100 - 0.5, rel=1e-3)


@pytest.mark.parametrize(
    "loss, penalty",
    [
        (block_count, lambda error, size: abs(error)),
        (block_huber, lambda error, size: np.hypot(size / 2, error) - size / 2),
    ],
)
def test_block_losses_agree_with_plain_loops(loss, penalty, rng):
    y_true, y_pred = rng.random((2, 3, 5, 7, 1))
    expected = np.zeros(3)
    for image in range(3):
        for size in (1, 2, 4):
            for top in range(0, 5, size):
                for left in range(0, 7, size):
                    block = np.s_[image, top : top + size, left : left + size]
                    expected[image] += penalty(y_pred[block].sum() - y_true[block].sum(), size)
    np.testing.assert_allclose(loss(y_true, y_pred, sizes=(1, 2, 4)), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [BlockCountLoss, BlockHuberLoss])
def test_block_sizes_must_be_positive(loss):
    with pytest.raises(ValueError, match=r"`sizes` must be positive numbers of cells. Received: sizes=\(0, 1\)"):
        loss(sizes=(0, 1))


@pytest.mark.parametrize("name", TARGET_LOSSES)
class TestTargetLosses:
    def test_zero_at_the_optimum(self, name, rng):
        density = rng.random((2, 8, 8, 1)).astype("float32")
        np.testing.assert_array_equal(DENSITY_LOSSES[name]().call(density, density), [0, 0])
        np.testing.assert_array_equal(DENSITY_LOSSES[name]().call(0 * density, 0 * density), [0, 0])

    def test_gradient_against_finite_differences(self, name, rng):
        y_true, y_pred = (tf.constant(values) for values in rng.random((2, 1, 4, 4, 1)))
        loss = DENSITY_LOSSES[name]()
        # Away from the kinks of the absolute value.
        y_pred = y_pred + 2.0
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss.call(y_true, y_pred)
        gradient = tape.gradient(value, y_pred).numpy().ravel()
        for index in range(16):
            step = tf.reshape(tf.one_hot(index, 16, 1e-4, 0.0, dtype=tf.float64), (1, 4, 4, 1))
            difference = (loss.call(y_true, y_pred + step) - loss.call(y_true, y_pred - step)) / 2e-4
            assert gradient[index] == pytest.approx(float(difference[0]), rel=1e-5)

    def test_the_target_is_drawn_of_points_where_there_is_none(self, name, rng):
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1)).astype("float32")
        sigma = np.full((3, 5), 6.0, "float32")
        density = density_map(y_true["points"], y_true["point_mask"], sigma, 8, 6, 8)
        loss = DENSITY_LOSSES[name](stride=8, sigma=6.0)
        expected = loss.call(density, y_pred)
        np.testing.assert_allclose(loss.call(y_true, y_pred), expected, rtol=1e-5)
        np.testing.assert_allclose(
            loss.call({**y_true, "density": density}, 0 * y_pred), loss.call(density, 0 * y_pred)
        )

    def test_sigma_must_be_positive(self, name):
        with pytest.raises(ValueError, match="`sigma` must be positive. Received: sigma=0.0"):
            DENSITY_LOSSES[name](sigma=0.0)
