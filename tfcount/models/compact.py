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
    encoder, reach = compact_encoder(width, blocks)
    features = keras.Input((None, None, 3 * width))
    regression = StandardizedConvolution(2 * width, 3, name="regression")(features)
    head = keras.Model(features, density_layer()(keras.activations.relu(regression)), name="head")
    return Counter(encoder, head, stride=8, reach=reach + 8, name="compact")


def compact_encoder(width: int = 32, blocks: int = 3, every_map: bool = False) -> tuple[keras.Model, int]:
    """Builds the encoder of `compact`, images -> its last map, and tells how far that reaches, pixels.

    Args:
      width: see `compact`.
      blocks: see `compact`.
      every_map: give the maps of stride 2, 4, 8, and one of stride 8 for each residual convolution, not the last alone.
    """
    relu = keras.activations.relu
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / _COLOR)(ImageNetPreprocessing(8, name="preprocess")(inputs))
    maps = [relu(StandardizedConvolution(width, 5, strides=2, name="stride2")(x))]
    maps.append(relu(StandardizedConvolution(2 * width, 3, name="stride4")(keras.layers.MaxPooling2D(2)(maps[-1]))))
    maps.append(relu(StandardizedConvolution(3 * width, 3, strides=2, name="stride8")(maps[-1])))
    dilations = [2 ** (block % 3) for block in range(blocks)]
    for block, dilation in enumerate(dilations):
        # A gain below 1: the sum over the blocks must not grow.
        convolution = StandardizedConvolution(3 * width, 3, dilation_rate=dilation, gain=0.3, name=f"block{block}")
        maps.append(relu(maps[-1] + convolution(maps[-1])))
    return keras.Model(inputs, maps if every_map else maps[-1], name="encoder"), 10 + 8 * sum(dilations)
