import numpy as np
import pytest
import tensorflow as tf

from tfcount.layers.pyramid_pooling import PyramidPooling


@pytest.mark.parametrize("bins", [1, 2, 4])
def test_of_sizes_that_divide(bins, rng):
    """The means of equal blocks, enlarged as `tf.image.resize` does."""
    features = rng.normal(size=(2, 8, 12, 3)).astype("float32")
    means = features.reshape(2, bins, 8 // bins, bins, 12 // bins, 3).mean((2, 4))
    result = PyramidPooling(bins)(features, np.zeros((2, 5, 7, 1), "float32"))
    np.testing.assert_allclose(result, tf.image.resize(means, (5, 7)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("height, width", [(1, 1), (3, 50), (17, 16)])
def test_of_any_size(height, width):
    """A map that is the same everywhere stays so, however many bins share a cell."""
    result = PyramidPooling(16)(np.full((1, height, width, 2), 3.0, "float32"), np.zeros((1, 9, 4, 5), "float32"))
    assert result.shape == (1, 9, 4, 2)
    np.testing.assert_allclose(result, 3, rtol=1e-5)


def test_gradient(rng):
    features = tf.constant(rng.normal(size=(1, 5, 4, 1)), tf.float32)
    layer = PyramidPooling(3)
    theoretical, numeric = tf.test.compute_gradient(lambda x: layer(x, tf.zeros((1, 6, 7, 1))), [features])
    np.testing.assert_allclose(theoretical[0], numeric[0], atol=2e-3)
