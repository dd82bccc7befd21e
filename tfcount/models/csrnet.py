"""CSRNet: the front of VGG16 and a dilated back end."""

import keras

from tfcount.layers.live_relu import live_relu
from tfcount.models import encoders
from tfcount.models.counter import Counter


def csrnet(encoder_weights: str = "imagenet") -> Counter:
    """Builds CSRNet, configuration B, with stride 8.

    Li et al., "CSRNet: dilated convolutional neural networks for understanding the highly congested scenes", CVPR 2018,
    Table 3: ten convolutions of VGG16, six with dilation 2, one 1x1. Those added start from a Gaussian of standard
    deviation 0.01.

    Differs from the paper: a ReLU follows the last convolution, so that density is never negative.

    Args:
      encoder_weights: "imagenet", "none" or the path of a weights file.
    """
    encoder = encoders.prepared(encoders.vgg("vgg16", 4, encoder_weights), 8)

    gaussian = keras.initializers.RandomNormal(stddev=0.01)
    x = encoded = keras.Input((None, None, 512))
    for index, filters in enumerate((512, 512, 512, 256, 128, 64), start=1):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            dilation_rate=2,
            activation="relu",
            kernel_initializer=gaussian.clone(),
            name=f"dilated{index}",
        )(x)
    density = keras.layers.Conv2D(
        1, 1, activation=live_relu, kernel_initializer=gaussian.clone(), dtype="float32", name="density"
    )(x)
    return Counter(encoder, keras.Model(encoded, density, name="head"), stride=8, reach=138, name="csrnet")
