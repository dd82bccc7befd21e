import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount.layers.bilinear_doubling import BilinearDoubling


@pytest.mark.parametrize("height, width", [(1, 1), (1, 5), (4, 3)])
def test_values_of_keras(rng, height, width):
    features = rng.normal(size=(2, height, width, 3)).astype("float32")
    expected = keras.layers.UpSampling2D(2, interpolation="bilinear")(features)
    np.testing.assert_allclose(BilinearDoubling()(features), expected, atol=1e-6)


def test_unknown_size(rng):
    layer = BilinearDoubling()
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2])])
    features = rng.normal(size=(1, 3, 5, 2)).astype("float32")
    np.testing.assert_allclose(graph(features), layer(features), atol=1e-6)
    assert layer(keras.Input((None, 6, 2))).shape == (None, None, 12, 2)
