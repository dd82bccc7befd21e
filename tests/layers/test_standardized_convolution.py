import keras
import numpy as np

from tfcount.layers.standardized_convolution import StandardizedConvolution


def test_golden():
    """Weights 1, 2, 3 have mean 2 and sum of squares 2 around it: 1.7139589 * 0.5 * (-1, 0, 1) / sqrt(2) = 0.6059759.

    Between pixels 1, 10, 100 that is 0.6059759 * (100 - 1) + 4 = 63.99161.
    """
    layer = StandardizedConvolution(1, 1)
    layer.build((None, None, None, 3))
    layer.set_weights([np.array([1.0, 2, 3]).reshape(1, 1, 3, 1), np.array([0.5]), np.array([4.0])])
    np.testing.assert_allclose(layer(np.array([[[[1.0, 10, 100]]]])), [[[[63.99161]]]], rtol=1e-4)


def test_features_keep_their_variance_behind_a_relu(rng):
    keras.utils.set_random_seed(0)
    features = rng.standard_normal((1, 64, 64, 32)).astype("float32")
    for _ in range(6):
        features = StandardizedConvolution(64, 3)(keras.ops.relu(features))
    assert 0.7 < np.std(features) < 1.4


def test_the_scale_of_the_kernel_does_not_matter(rng):
    layer = StandardizedConvolution(4, 3, strides=2, gain=0.3)
    features = rng.random((1, 9, 7, 2))
    before = layer(features)
    assert before.shape == (1, 5, 4, 4)
    layer.kernel.assign(100 * layer.kernel + 3)
    np.testing.assert_allclose(layer(features), before, rtol=1e-2, atol=1e-3)


def test_config_round_trip():
    config = StandardizedConvolution(4, 3, dilation_rate=2, gain=0.3).get_config()
    assert StandardizedConvolution.from_config(config).get_config() == config
