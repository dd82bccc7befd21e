"""The VGG19 network of the Bayesian loss and of the generalized loss."""

import keras
from keras import ops

from tfcount.layers.bilinear_doubling import BilinearDoubling
from tfcount.models import encoders
from tfcount.models.counter import Counter


def vgg19(encoder_weights: str = "imagenet") -> Counter:
    """Builds VGG19 without its last pool, enlarged twice, and three convolutions, with stride 8.

    Ma et al., "Bayesian loss for crowd count estimation with point supervision", ICCV 2019, section 4; the same network
    serves Wan et al., "A generalized loss function for crowd counting and localization", CVPR 2021. The absolute value
    of the last convolution is the density.

    Args:
      encoder_weights: "imagenet", "none" or the path of a weights file.
    """
    encoder = encoders.prepared(encoders.vgg("vgg19", 5, encoder_weights), 16)
    encoded = keras.Input((None, None, 512))
    fuse = keras.Model(encoded, BilinearDoubling(name="enlarge")(encoded), name="fuse")

    x = enlarged = keras.Input((None, None, 512))
    for index, filters in enumerate((256, 128), start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"regression{index}")(x)
    density = keras.layers.Conv2D(1, 1, activation=ops.abs, dtype="float32", name="density")(x)
    head = keras.Model(enlarged, density, name="head")
    return Counter(encoder, head, stride=8, reach=150, fuse=fuse, name="vgg19")
