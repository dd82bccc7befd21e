"""Pooling of a map of any size to a fixed number of bins, brought back to the size of another map."""

import keras
from keras import ops

from tfcount.ops.divisions import apply_separable, averaging_matrix, cell_range, interpolation_matrix


class PyramidPooling(keras.layers.Layer):
    """Averages a map in `bins` x `bins` bins and enlarges the averages bilinearly to the size of another map.

    What each place of the image is like at large, for the layers that look at places. Keras'
    `AdaptiveAveragePooling2D` needs to know height and width beforehand; here both steps are matrices made for the
    size that comes.

    Source: Xu et al., "Learn to scale", ICCV 2019, section 3.2.

    Args:
      bins: along each side.

    Input: features `(batch, h, w, channels)`, and a map `(batch, height, width, any)` whose size is taken.
    Output shape: `(batch, height, width, channels)`.
    """

    def __init__(self, bins: int, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, features, like):
        """Returns the averages, enlarged."""
        height, width = ops.shape(features)[1:3]
        rows, columns = (averaging_matrix(length, self.bins) for length in (height, width))
        averages = apply_separable(rows, features, columns)

        def enlarging(length):
            positions = (cell_range(length) + 0.5) * self.bins / ops.cast(length, "float32")
            return interpolation_matrix(positions, self.bins)

        height, width = ops.shape(like)[1:3]
        return apply_separable(enlarging(height), averages, enlarging(width))

    def compute_output_shape(self, features, like):
        """Returns the shape of the result."""
        return (*like[:3], features[-1])

    def compute_output_spec(self, features, like):
        """Returns the shape and dtype of the result: sizes are known only when images come."""
        return keras.KerasTensor(self.compute_output_shape(features.shape, like.shape), dtype=self.compute_dtype)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "bins": self.bins}
