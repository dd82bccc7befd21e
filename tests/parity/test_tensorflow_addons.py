"""What Keras 3 has gives what tensorflow-addons 0.23.0 gave; the reference is written by write_reference.py."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount.assembly import build_optimizer
from tfcount.config import TrainConfig


@pytest.fixture(scope="module")
def reference():
    with np.load(pathlib.Path(__file__).with_name("tensorflow_addons.npz")) as file:
        return dict(file)


@pytest.mark.parametrize("rows, columns", [(1, 1), (4, 4), (3, 2)])
def test_adaptive_average_pooling_of_sizes_that_divide(reference, rows, columns):
    pooled = keras.layers.AdaptiveAveragePooling2D((rows, columns))(reference["images"])
    np.testing.assert_allclose(pooled, reference[f"average_pool_{rows}_{columns}"], rtol=1e-5)


@pytest.mark.parametrize("size, sigma", [(3, 1.0), (5, 1.5)])
def test_gaussian_filter(reference, size, sigma):
    blurred = keras.ops.image.gaussian_blur(reference["images"], (size, size), (sigma, sigma))
    np.testing.assert_allclose(blurred, reference[f"gaussian_{size}_{sigma}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, optimizer", [("sgdw", "sgd"), ("adamw", "adam")])
def test_decoupled_weight_decay(reference, name, optimizer):
    """A decay of 0.01 a step is one of 0.01 / 0.1 times the learning rate 0.1."""
    config = TrainConfig(
        optimizer=optimizer, learning_rate=0.1, schedule="constant", warmup_steps=0, weight_decay=0.01 / 0.1, ema=0.0
    )
    variable = keras.Variable(reference["weights"], name="kernel")
    built = build_optimizer(config)
    built.build([variable])
    for _ in range(reference["steps"]):
        built.apply([-tf.sin(variable.value) * tf.cos(variable.value)], [variable])
    np.testing.assert_allclose(variable, reference[name], rtol=1e-5, atol=1e-6)
