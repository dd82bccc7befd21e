"""Image encoders: networks trained on ImageNet, cut where a counter reads them.

An encoder takes images already prepared by `preprocess` and padded to a multiple of its deepest stride.
"""

import os
from collections.abc import Sequence

import h5py
import keras
from keras import ops

from tfcount.models.weights_file import check_weights_file

# Mean of the ImageNet training images, in RGB order: what Keras Applications subtracts in its "caffe" mode.
IMAGENET_MEAN = (123.68, 116.779, 103.939)

# Stages of VGG: number of convolutions and filters; a stage ends with a pool that halves height and width.
_VGG_FILTERS = (64, 128, 256, 512, 512)
_VGG_CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}

# Stages conv2 to conv4 of ResNet50: name, filters of the bottleneck, blocks, stride of the first block.
_RESNET50_STAGES = (("conv2", 64, 3, 1), ("conv3", 128, 4, 2), ("conv4", 256, 6, 2))


class ImageNetPreprocessing(keras.layers.Layer):
    """Turns RGB images in 0..255 into what Keras Applications' VGG and ResNet50 were trained on, and pads them.

    Channels become BGR with the ImageNet mean subtracted. Zeros, i.e. the mean color, are added at the bottom and
    right until height and width are multiples of `multiple`, so every image size is legal.

    Args:
      multiple: height and width of the result are multiples of it, pixels.

    Input shape: `(batch, height, width, 3)`, any real dtype, 0..255, RGB.
    Output shape: `(batch, padded_height, padded_width, 3)`, the layer's compute dtype.
    """

    def __init__(self, multiple: int, **kwargs):
        # The subtraction stays in float32: 16 bits would lose the last bits of the pixels.
        super().__init__(autocast=False, **kwargs)
        self.multiple = multiple

    def call(self, images):
        """Returns the prepared images."""
        centered = ops.cast(images, "float32") - ops.convert_to_tensor(IMAGENET_MEAN, "float32")
        return pad_to_multiple(ops.cast(ops.flip(centered, -1), self.compute_dtype), self.multiple)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "multiple": self.multiple}


def pad_to_multiple(images, multiple: int):
    """Adds zeros at the bottom and right of `(batch, height, width, channels)` up to a multiple in both directions."""
    height, width = ops.shape(images)[1], ops.shape(images)[2]
    return ops.pad(images, [[0, 0], [0, -height % multiple], [0, -width % multiple], [0, 0]])


class FrozenNormalizedConvolution(keras.layers.Layer):
    """Convolution followed by batch normalization with fixed statistics, computed as one convolution.

    `y = gamma * (conv(x, kernel) + bias - mean) / sqrt(variance + epsilon) + beta` is linear in `x`, so scale and
    offset move into kernel and bias before the convolution: the same value and gradients, without passes over the
    feature maps. Kernel, bias, `gamma` and `beta` train; `mean` and
    `variance` never change, so replicas agree and small batches do no harm.

    Args:
      filters: channels of the result.
      kernel_size: side of the kernel, cells.
      strides: step of the convolution, cells.
      padding: "same" or "valid".
      epsilon: added to the variance.
      gamma_initializer: of the scale.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides=1,
        padding="same",
        epsilon=1.001e-5,
        gamma_initializer="ones",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.epsilon = epsilon
        self.gamma_initializer = gamma_initializer

    def build(self, input_shape):
        """Creates the weights."""
        # autocast=False: scale and offset are folded in float32, whatever the dtype of the convolution.
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", name="kernel", autocast=False)
        for name, initializer, trainable in (
            ("bias", "zeros", True),
            ("gamma", self.gamma_initializer, True),
            ("beta", "zeros", True),
            ("mean", "zeros", False),
            ("variance", "ones", False),
        ):
            weight = self.add_weight(
                shape=(self.filters,), initializer=initializer, name=name, trainable=trainable, autocast=False
            )
            setattr(self, name, weight)

    def call(self, features):
        """Returns the convolved and normalized features."""
        scale = self.gamma * ops.rsqrt(self.variance + self.epsilon)
        offset = self.beta + (self.bias - self.mean) * scale
        kernel = ops.cast(self.kernel * scale, self.compute_dtype)
        convolved = ops.conv(features, kernel, self.strides, self.padding)
        return convolved + ops.cast(offset, self.compute_dtype)

    def get_config(self):
        """Returns the arguments of the constructor."""
        names = ("filters", "kernel_size", "strides", "padding", "epsilon", "gamma_initializer")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def vgg(
    name: str, stages: int, weights: str, pools: int | None = None, outputs: Sequence[int] | None = None
) -> keras.Model:
    """Builds the first stages of VGG16 or VGG19 (Simonyan and Zisserman, 2015), without the pool after the last.

    Args:
      name: "vgg16" or "vgg19".
      stages: 1 to 5.
      weights: "imagenet", "none" or the path of a weights file, see `load_imagenet_weights`.
      pools: how many of the pools between the stages are kept, the first ones; all if None.
      outputs: the stages, from 1, whose last map is given; the last alone if None.

    Returns:
      A model `(batch, height, width, 3)` -> `(batch, height / stride, width / stride, filters)`, where the stride is
      `2 ** pools`, or a list of such maps.
    """
    kept = stages - 1 if pools is None else pools
    x = inputs = keras.Input((None, None, 3))
    last = []
    for stage, convolutions in enumerate(_VGG_CONVOLUTIONS[name][:stages], start=1):
        if 1 < stage <= kept + 1:
            x = keras.layers.MaxPooling2D(2, name=f"block{stage - 1}_pool")(x)
        for index in range(1, convolutions + 1):
            filters = _VGG_FILTERS[stage - 1]
            layer_name = f"block{stage}_conv{index}"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=layer_name)(x)
        last.append(x)
    encoder = keras.Model(inputs, x if outputs is None else [last[stage - 1] for stage in outputs], name=name)
    if weights != "none":
        application = getattr(keras.applications, name.upper())
        source = load_imagenet_weights(application, weights, [layer.name for layer in encoder.layers if layer.weights])
        for layer in encoder.layers:
            if layer.weights:
                layer.set_weights(source.get_layer(layer.name).get_weights())
    return encoder


def resnet50(weights: str, outputs: Sequence[str] = ("conv3", "conv4")) -> keras.Model:
    """Builds ResNet50 (He et al., 2016) up to conv4, with batch normalization at its ImageNet statistics.

    Args:
      weights: "imagenet", "none" or the path of a weights file, see `load_imagenet_weights`.
      outputs: the maps that are given: "conv1" (stride 2, 64 channels), "conv2" (4, 256), "conv3" (8, 512), "conv4"
        (16, 1024), or a block of one of the last three, such as "conv4_block3".

    Returns:
      A model `(batch, height, width, 3)` -> the list of maps `(batch, height / stride, width / stride, channels)`.
    """

    def convolution(x, name, filters, kernel_size, **kwargs):
        return FrozenNormalizedConvolution(filters, kernel_size, name=f"{name}_conv", **kwargs)(x)

    relu = keras.activations.relu
    inputs = keras.Input((None, None, 3))
    x = keras.layers.ZeroPadding2D(3)(inputs)
    x = relu(convolution(x, "conv1", 64, 7, strides=2, padding="valid"))
    maps = {"conv1": x}
    # The zeros around the non-negative map never win the maximum.
    x = keras.layers.MaxPooling2D(3, strides=2)(keras.layers.ZeroPadding2D(1)(x))
    for stage, filters, blocks, strides in _RESNET50_STAGES:
        for block in range(1, blocks + 1):
            name = f"{stage}_block{block}"
            first = block == 1
            step = strides if first else 1
            shortcut = convolution(x, f"{name}_0", 4 * filters, 1, strides=step) if first else x
            x = relu(convolution(x, f"{name}_1", filters, 1, strides=step))
            x = relu(convolution(x, f"{name}_2", filters, 3))
            # Without ImageNet weights nothing else would keep the sum over 13 blocks from growing: each starts as its
            # shortcut alone (Goyal et al., 2017, section 5.1).
            x = relu(convolution(x, f"{name}_3", 4 * filters, 1, gamma_initializer="zeros") + shortcut)
            maps[stage] = maps[name] = x
    encoder = keras.Model(inputs, [maps[name] for name in outputs], name="resnet50")
    if weights != "none":
        convolutions = [layer for layer in encoder.layers if isinstance(layer, FrozenNormalizedConvolution)]
        names = [layer.name for layer in convolutions]
        normalizations = [name.removesuffix("conv") + "bn" for name in names]
        source = load_imagenet_weights(keras.applications.ResNet50, weights, names + normalizations)
        for layer, normalization in zip(convolutions, normalizations, strict=True):
            kernel, bias = source.get_layer(layer.name).get_weights()
            gamma, beta, mean, variance = source.get_layer(normalization).get_weights()
            # The order of FrozenNormalizedConvolution.weights: what trains first.
            layer.set_weights([kernel, bias, gamma, beta, mean, variance])
    return encoder


def prepared(network: keras.Model, multiple: int) -> keras.Model:
    """Puts `ImageNetPreprocessing` in front of a network: the encoder of a counter.

    Args:
      network: prepared images -> one or several maps.
      multiple: its deepest stride, pixels.
    """
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, network(ImageNetPreprocessing(multiple, name="preprocess")(inputs)), name="encoder")


def load_imagenet_weights(application, weights: str, layers: Sequence[str]) -> keras.Model:
    """Builds a network of Keras Applications with ImageNet weights, to copy layers from.

    Args:
      application: a constructor of `keras.applications`, such as `keras.applications.VGG16`.
      weights: "imagenet" downloads what Keras Applications offers (and keeps it in Keras' cache); anything else is
        the path of an `.h5` file in the layout of Keras Applications, which may lack layers that are not needed.
      layers: names of the layers that are going to be copied.

    Raises:
      FileNotFoundError: if the file does not exist, or the download fails.
      ValueError: if the file lacks one of the layers or is not an HDF5 file.
    """
    name = application.__name__
    if weights == "imagenet":
        try:
            return application(include_top=False, weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception when a download fails.
            cache = os.path.join(os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras")), "models")
            raise FileNotFoundError(
                f"The ImageNet weights of {name} could not be downloaded ({error}). Put the file into {cache}, or name "
                "a local file with `encoder_weights`=PATH, or train from scratch with `encoder_weights`=none."
            ) from error
    if not os.path.isfile(weights):
        raise FileNotFoundError(
            f"`encoder_weights` must be 'imagenet', 'none' or an existing .h5 file. Received: {weights!r}."
        )
    try:
        check_weights_file(weights)
    except ValueError as error:
        raise ValueError(f"`encoder_weights`={error}") from error
    with h5py.File(weights) as file:
        group = file.get("model_weights", file)
        missing = [layer for layer in layers if layer not in group]
    if missing:
        raise ValueError(
            f"`encoder_weights`={weights} has no weights for layer {missing[0]!r} of {name}: it must be a file in the "
            "layout of Keras Applications."
        )
    model = application(include_top=False, weights=None)
    model.load_weights(weights, by_name=True)
    return model
