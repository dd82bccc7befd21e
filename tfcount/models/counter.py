"""The form that every counter has."""

import keras
from keras import ops


class Counter(keras.Model):
    """Maps images to a density map: people per cell, whose sum is the count.

    `counter(images)` is `head(features(images))`, cut to the cells of the image.

    Args:
      features: model, images `(batch, height, width, 3)`, RGB 0..255, any size -> features `(batch, h, w, channels)`.
        Preprocessing and padding (bottom and right) are inside, so `h * stride >= height`.
      head: model, features -> density `(batch, h, w, 1)`, float32, never negative.
      stride: side of a cell, pixels; cell `i` is centered at `(i + 0.5) * stride`.

    Input shape: `(batch, height, width, 3)`, uint8 or real, 0..255, RGB, any height and width.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), 1)`, float32, people per cell.
    """

    def __init__(self, features: keras.Model, head: keras.Model, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.features = features
        self.head = head
        self.stride = stride
        # Built at once: under a distribution strategy Keras would otherwise call it on a batch to build it.
        self.build((None, None, None, 3))

    def build(self, input_shape):
        """Marks the counter as built: both parts come built."""
        self.built = True

    def call(self, images, training=None):
        """Returns the density of a batch of images."""
        density = self.head(self.features(images, training=training), training=training)
        height, width = ops.shape(images)[1], ops.shape(images)[2]
        return density[:, : -(-height // self.stride), : -(-width // self.stride)]
