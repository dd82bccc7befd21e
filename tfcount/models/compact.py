"""A small counter that learns from random weights in minutes, and counts on small machines."""

import keras

from tfcount.layers.standardized_convolution import StandardizedConvolution
from tfcount.models.counter import Counter, density_layer
from tfcount.models.encoders import ImageNetPreprocessing

# About the standard deviation of a color, so that features start near 1.
_COLOR = 64.0


def compact(width: int = 32, blocks: int = 3) -> Counter:
    """Builds the counter that needs neither ImageNet weights nor a graphics card, with stride 8.

    A 5x5 convolution with step 2, a pool, a 3x3 convolution, one with step 2, residual 3x3 convolutions dilated by 1,
    2 and 4, a 3x3 and a 1x1 convolution; all but the last have standardized kernels. Differs from any paper: it was
    chosen here.

    Args:
      width: channels at stride 2; twice as many at stride 4, three times as many at stride 8.
      blocks: residual convolutions, at least 1; after the third, the dilations begin again.
    """
    relu = keras.activations.relu
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / _COLOR)(ImageNetPreprocessing(8, name="preprocess")(inputs))
    x = keras.layers.MaxPooling2D(2)(relu(StandardizedConvolution(width, 5, strides=2, name="stride2")(x)))
    x = relu(StandardizedConvolution(2 * width, 3, name="stride4")(x))
    x = relu(StandardizedConvolution(3 * width, 3, strides=2, name="stride8")(x))
    for block in range(blocks):
        # A gain below 1: the sum over the blocks must not grow.
        x = relu(
            x + StandardizedConvolution(3 * width, 3, dilation_rate=2 ** (block % 3), gain=0.3, name=f"block{block}")(x)
        )
    encoder = keras.Model(inputs, x, name="encoder")

    features = keras.Input((None, None, 3 * width))
    density = density_layer()(relu(StandardizedConvolution(2 * width, 3, name="regression")(features)))
    reach = 18 + 8 * sum(2 ** (block % 3) for block in range(blocks))
    return Counter(encoder, keras.Model(features, density, name="head"), stride=8, reach=reach, name="compact")
