"""ResNet50 whose stages conv3 and conv4 are fused at stride 8."""

import keras

from tfcount.layers.bilinear_doubling import BilinearDoubling
from tfcount.models import encoders
from tfcount.models.counter import Counter, density_layer


def resnet50(encoder_weights: str = "imagenet", width: int = 256) -> Counter:
    """Builds the counter that trains on a CPU within an hour, with stride 8.

    A 1x1 convolution on each of conv3 (stride 8) and conv4 (stride 16, enlarged twice), their sum, two 3x3
    convolutions, and a 1x1 convolution with ReLU: an empty image can have a count of exactly zero.

    Args:
      encoder_weights: "imagenet", "none" or the path of a weights file.
      width: channels of the fused features.
    """
    encoder = encoders.prepared(encoders.resnet50(encoder_weights), 16)
    conv3, conv4 = (keras.Input(output.shape[1:]) for output in encoder.outputs)
    fuse = keras.Model([conv3, conv4], fuse_stages(conv3, conv4, width), name="fuse")

    x = fused = keras.Input((None, None, width))
    for index, filters in enumerate((width, width // 2), start=1):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"regression{index}"
        )(x)
    density = density_layer()(x)
    head = keras.Model(fused, density, name="head")
    return Counter(encoder, head, stride=8, reach=177, fuse=fuse, name="resnet50")


def fuse_stages(conv3, conv4, width: int):
    """Fuses the symbolic maps of two stages, of strides 8 and 16, to `width` channels at stride 8."""
    fine = keras.layers.Conv2D(width, 1, name="fine")(conv3)
    coarse = keras.layers.Conv2D(width, 1, name="coarse")(conv4)
    return keras.activations.relu(fine + BilinearDoubling(name="enlarge")(coarse))
