"""The Bayesian loss by hand and against plain loops."""

import numpy as np
import pytest
import tensorflow as tf

from tfcount.losses.bayesian import BayesianLoss


def test_by_hand():
    """One cell of 8 pixels, its center at (4, 4), 0.9 people; points at distances 3 and 5, sigma 4.

    `p_1 = 1 / (1 + exp((9 - 25) / 32)) = 0.622459`: |1 - 0.560213| + |1 - 0.339787| = 1.1.
    """
    y_true = {"points": np.float32([[[4, 7], [4, 9]]]), "point_mask": np.ones((1, 2), "float32")}
    loss = BayesianLoss(sigma=4.0, background=0.0)
    np.testing.assert_allclose(loss.call(y_true, np.full((1, 1, 1, 1), 0.9, "float32")), [1.1], rtol=1e-5)


@pytest.mark.parametrize("background", [0.0, 0.15, 1.0])
def test_agrees_with_plain_loops(background, rng):
    height, width, stride, sigma = 6, 5, 8, 10.0
    points = rng.uniform(0, [40, 48], (7, 2))
    density = rng.uniform(0, 1, (height, width))
    expected = np.zeros(8)
    for row in range(height):
        for column in range(width):
            squared = ((points - [8 * column + 4, 8 * row + 4]) ** 2).sum(1)
            likelihood = np.exp(-squared / (2 * sigma**2))
            away = np.exp(-((background * 40 - np.sqrt(squared.min())) ** 2) / (2 * sigma**2)) if background else 0.0
            posterior = np.append(likelihood, away) / (likelihood.sum() + away)
            expected += posterior * density[row, column]
    loss = np.abs(1 - expected[:7]).sum() + expected[7]
    y_true = {"points": np.float32(points)[None], "point_mask": np.ones((1, 7), "float32")}
    ours = BayesianLoss(stride, sigma, background).call(y_true, np.float32(density)[None, ..., None])
    np.testing.assert_allclose(ours, [loss], rtol=1e-4)


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_room_for_no_point_at_all(background):
    y_true = {"points": np.zeros((2, 0, 2), "float32"), "point_mask": np.zeros((2, 0), "float32")}
    density = tf.Variable(np.full((2, 3, 4, 1), 0.5, "float32"))
    with tf.GradientTape() as tape:
        values = BayesianLoss(background=background).call(y_true, density)
    np.testing.assert_allclose(values, [6, 6])
    np.testing.assert_allclose(tape.gradient(values, density), np.ones(density.shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "`sigma` must be positive. Received: sigma=0.0"),
        ({"background": -0.1}, "`background` must be at least 0. Received: background=-0.1"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        BayesianLoss(**options)
