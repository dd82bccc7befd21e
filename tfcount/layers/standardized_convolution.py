"""Convolution with standardized kernels: what batch normalization does for training, without batches."""

import keras
from keras import ops

# Standard deviation of a standard normal variable behind a ReLU, inverted: sqrt(2 / (1 - 1 / pi)).
_RELU_GAIN = 1.7139588594436646


class StandardizedConvolution(keras.layers.Layer):
    """Convolution whose kernels have mean 0 and a fixed norm, times a gain that trains.

    `y = conv(x, gain * 1.714 * (kernel - mean) / sqrt(variance * inputs)) + bias`, mean and variance of each filter
    over its `inputs = kernel_size ** 2 * channels` weights: behind a ReLU, features keep their variance from layer to
    layer. No feature map is passed over for that, and nothing depends on the batch.

    Source: Qiao et al., "Micro-batch training with batch-channel normalization and weight standardization", 2019,
    Eq. (5) to (7); with the scale of Brock et al., "Characterizing signal propagation to close the performance gap in
    unnormalized ResNets", ICLR 2021, Eq. (1).

    Args:
      filters: channels of the result.
      kernel_size: side of the kernel, cells.
      strides: step of the convolution, cells.
      dilation_rate: distance of the kernel's cells.
      gain: initial gain; small where the result is added to something.
    """

    def __init__(self, filters: int, kernel_size: int, strides=1, dilation_rate=1, gain=1.0, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.gain = gain

    def build(self, input_shape):
        """Creates the weights."""
        # autocast=False: kernels are standardized in float32, whatever the dtype of the convolution.
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", name="kernel", autocast=False)
        constant = keras.initializers.Constant(self.gain)
        self.gamma = self.add_weight(shape=(self.filters,), initializer=constant, name="gamma", autocast=False)
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias", autocast=False)

    def standardized_kernel(self):
        """Returns the kernel `(kernel_size, kernel_size, channels, filters)` that convolves, float32."""
        centered = self.kernel - ops.mean(self.kernel, axis=(0, 1, 2))
        norm = ops.sqrt(ops.sum(ops.square(centered), axis=(0, 1, 2)) + 1e-4)
        return _RELU_GAIN * self.gamma * centered / norm

    def call(self, features):
        """Returns the convolved features."""
        kernel = ops.cast(self.standardized_kernel(), self.compute_dtype)
        convolved = ops.conv(features, kernel, self.strides, "same", dilation_rate=self.dilation_rate)
        return convolved + ops.cast(self.bias, self.compute_dtype)

    def get_config(self):
        """Returns the arguments of the constructor."""
        names = ("filters", "kernel_size", "strides", "dilation_rate", "gain")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
