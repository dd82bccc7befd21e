"""The scale preserving network, and the plain network that it is compared with."""

from collections.abc import Callable

import keras

from tfcount.layers.live_relu import live_relu
from tfcount.layers.pyramid_pooling import PyramidPooling
from tfcount.models import encoders
from tfcount.models.compact import compact_encoder
from tfcount.models.counter import Counter
from tfcount.models.resnet50 import fuse_stages

# Bins a side to which what comes of stage 1 to 5 is pooled, and channels of it, which the paper leaves open.
_BINS = (16, 8, 4, 2, 1)
_CHANNELS = 32
PYRAMID_CHANNELS = _CHANNELS * len(_BINS)
# Channels of the three convolutions, which the paper leaves open.
_REGRESSION = (128, 128, 64)
# Stride of what the three convolutions see; the deconvolution halves it.
BASE_STRIDE = 8
STRIDE = 4


def _vgg16_stages(weights):
    """Returns VGG16 without the pools after stages 4 and 5, with the last map of each stage."""
    return encoders.prepared(encoders.vgg("vgg16", 5, weights, pools=3, outputs=(1, 2, 3, 4, 5)), 8)


def _resnet50_stages(weights):
    """Returns ResNet50 up to conv4, whose two halves stand for stages 4 and 5."""
    stages = ("conv1", "conv2", "conv3", "conv4_block3", "conv4")
    return encoders.prepared(encoders.resnet50(weights, stages), 16)


def _compact_stages(weights):
    """Returns the encoder of the counter `compact`: its three strides and two residual convolutions."""
    if weights not in ("imagenet", "none"):
        raise ValueError(f"`encoder_weights`={weights}: encoder 'compact' starts from random weights.")
    encoder, _ = compact_encoder(blocks=2, every_map=True)
    return encoder


# Encoders: with the last map of each of five stages, how the map that the density is read from is made of these, and
# how far it reaches beyond a cell, pixels.
ENCODERS: dict[str, tuple[Callable, Callable, int]] = {
    "compact": (_compact_stages, lambda stages: stages[4], 34),
    "vgg16": (_vgg16_stages, lambda stages: stages[4], 66),
    "resnet50": (_resnet50_stages, lambda stages: fuse_stages(stages[2], stages[4], 256), 161),
}
# Three convolutions and the deconvolution.
_HEAD_REACH = 4 * BASE_STRIDE


def vgg16(encoder_weights: str = "imagenet") -> Counter:
    """Builds VGG16 without its last two pools, three convolutions and a deconvolution, with stride 4.

    The plain network of Xu et al., "Learn to scale", ICCV 2019, Table 1, row "VGG16 (ours)".

    Args:
      encoder_weights: "imagenet", "none" or the path of a weights file.
    """
    encoder = encoders.prepared(encoders.vgg("vgg16", 5, encoder_weights, pools=3), 8)
    reach = ENCODERS["vgg16"][2] + _HEAD_REACH
    return Counter(encoder, regression_head(512), stride=STRIDE, reach=reach, name="vgg16")


def spn(encoder_name: str = "vgg16", encoder_weights: str = "imagenet") -> Counter:
    """Builds the scale preserving network (SPN), with stride 4.

    A 3x3 convolution on the last map of each of five stages, pooled to 16, 8, 4, 2 and 1 bins a side, enlarged, and
    stacked with the map of the last stage; three convolutions and a deconvolution give the density.

    Source: Xu et al., "Learn to scale", ICCV 2019, section 3.2. With `resnet50`, which the paper does not have, the
    stages are conv1, conv2, conv3 and the halves of conv4, and the last map is that of the counter `resnet50`.

    The pools see the whole image; in tiles they see the tile: density differs there by as much as the network makes
    of what is elsewhere in the image.

    Args:
      encoder_name: "vgg16" (the paper), "resnet50", or "compact", which learns from random weights.
      encoder_weights: "imagenet", "none" or the path of a weights file.

    Raises:
      ValueError: if there is no such encoder.
    """
    encoder, fuse, reach = stacked_stages(encoder_name, encoder_weights)
    head = regression_head(fuse.output.shape[-1])
    return Counter(encoder, head, STRIDE, reach, fuse, pools_image=True, name="spn")


def stacked_stages(encoder_name: str, encoder_weights: str) -> tuple[keras.Model, keras.Model, int]:
    """Builds what SPN and L2SM share.

    Returns:
      The encoder; the model that makes of its maps the stack `(batch, h, w, channels)` at stride 8, whose last
      `PYRAMID_CHANNELS` channels come from the pools; and the reach of the density, that of the pools left out.

    Raises:
      ValueError: if there is no such encoder.
    """
    if encoder_name not in ENCODERS:
        raise ValueError(f"`encoder_name` must be one of {sorted(ENCODERS)}. Received: {encoder_name!r}.")
    build, last_map, reach = ENCODERS[encoder_name]
    encoder = build(encoder_weights)
    stages = [keras.Input(output.shape[1:]) for output in encoder.outputs]
    base = last_map(stages)
    pooled = []
    for stage, (features, bins) in enumerate(zip(stages, _BINS, strict=True), start=1):
        x = keras.layers.Conv2D(_CHANNELS, 3, padding="same", activation="relu", name=f"stage{stage}")(features)
        pooled.append(PyramidPooling(bins, name=f"pool{bins}")(x, base))
    stack = keras.layers.Concatenate(name="stack")([base, *pooled])
    return encoder, keras.Model(stages, stack, name="fuse"), reach + _HEAD_REACH


def regression_head(channels: int) -> keras.Model:
    """Builds three 3x3 convolutions and the deconvolution that doubles height and width and gives the density."""
    x = features = keras.Input((None, None, channels))
    for index, filters in enumerate(_REGRESSION, start=1):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"regression{index}"
        )(x)
    # As `density_layer`: every cell, here of a quarter of the area, starts alive.
    density = keras.layers.Conv2DTranspose(
        1,
        4,
        strides=2,
        padding="same",
        activation=live_relu,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(0.0125),
        dtype="float32",
        name="density",
    )(x)
    return keras.Model(features, density, name="head")
