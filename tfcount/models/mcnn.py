"""MCNN: three columns with receptive fields of different sizes."""

import keras
from keras import ops

from tfcount.layers.live_relu import live_relu
from tfcount.models.counter import Counter
from tfcount.models.encoders import pad_to_multiple

# Of each column: kernel sizes and filters of its four convolutions (Zhang et al., Fig. 3).
_COLUMNS = (
    ((9, 7, 7, 7), (16, 32, 16, 8)),
    ((7, 5, 5, 5), (20, 40, 20, 10)),
    ((5, 3, 3, 3), (24, 48, 24, 12)),
)
# Weights of red, green and blue in the grey image (ITU-R BT.601), as image libraries convert.
_LUMA = (0.299, 0.587, 0.114)
# Of a grey pixel: the weights that see pixels start so small that features start at about 1.
_PIXEL = 128.0


class GreyImages(keras.layers.Layer):
    """Turns RGB images in 0..255 into grey ones in 0..255, padded with zeros to a multiple of 4."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, images):
        """Returns `(batch, padded_height, padded_width, 1)` for images `(batch, height, width, 3)`."""
        grey = ops.sum(ops.cast(images, "float32") * ops.convert_to_tensor(_LUMA, "float32"), -1, keepdims=True)
        return pad_to_multiple(ops.cast(grey, self.compute_dtype), 4)


def mcnn() -> Counter:
    """Builds MCNN, the multi-column network, with stride 4.

    Zhang et al., "Single-image crowd counting via multi-column convolutional neural network", CVPR 2016, section 2.3.
    As in the public weights for ShanghaiTech, a ReLU follows the last convolution, too: density is never negative.
    """
    inputs = keras.Input((None, None, 3))
    grey = GreyImages(name="preprocess")(inputs)
    columns = []
    for column, (sizes, filters) in enumerate(_COLUMNS, start=1):
        x = grey
        for index, (size, count) in enumerate(zip(sizes, filters, strict=True)):
            x = keras.layers.Conv2D(
                count,
                size,
                padding="same",
                activation="relu",
                # He et al. (2015): variance 2 / (number of inputs).
                kernel_initializer=keras.initializers.VarianceScaling(2.0 / (1.0 if index else _PIXEL**2)),
                name=f"column{column}_{index}",
            )(x)
            if index < 2:
                x = keras.layers.MaxPooling2D(2, name=f"column{column}_{index}_pool")(x)
        columns.append(x)
    encoder = keras.Model(inputs, keras.layers.Concatenate(name="columns")(columns), name="encoder")
    fused = keras.Input((None, None, encoder.output.shape[-1]))
    density = keras.layers.Conv2D(
        1,
        1,
        activation=live_relu,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name="fuse",
    )(fused)
    return Counter(encoder, keras.Model(fused, density, name="head"), stride=4, reach=34, name="mcnn")
