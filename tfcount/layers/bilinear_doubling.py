"""Bilinear enlargement by two, for maps of any size."""

import keras
from keras import ops


class BilinearDoubling(keras.layers.Layer):
    """Doubles height and width by bilinear interpolation between cell centers.

    The values of `keras.layers.UpSampling2D(2, interpolation="bilinear")`, which cannot be traced for maps of unknown
    height and width (Keras 3.15): along each axis `out[2i] = (x[i - 1] + 3 x[i]) / 4` and
    `out[2i + 1] = (3 x[i] + x[i + 1]) / 4`, the edges repeated.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, 2 * height, 2 * width, channels)`.
    """

    def call(self, features):
        """Returns the enlarged features."""
        return self._double(self._double(features, 1), 2)

    def compute_output_shape(self, input_shape):
        """Returns the input's shape with height and width doubled where they are known."""
        batch, height, width, channels = input_shape
        return (batch, height and 2 * height, width and 2 * width, channels)

    def _double(self, x, axis):
        def part(start, stop):
            return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

        before = ops.concatenate([part(None, 1), part(None, -1)], axis)
        after = ops.concatenate([part(1, None), part(-1, None)], axis)
        pairs = ops.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        shape = list(ops.shape(x))
        shape[axis] = 2 * shape[axis]
        return ops.reshape(pairs, shape)
