"""The form that every counter has."""

import keras
from keras import ops

from tfcount.layers.live_relu import live_relu
from tfcount.ops.tiling import TILE


class Counter(keras.Model):
    """Maps images to a density map: people per cell, whose sum is the count.

    `counter(images)` is `head(features(images))`, cut to the cells of the image; `features(images)` is
    `fuse(encoder(images))`. In place of images, a tuple of the maps that the encoder gives for them is taken, if their
    sides are multiples of 32 pixels: there is nothing to cut then.

    Args:
      encoder: model, images `(batch, height, width, 3)`, RGB 0..255, any size -> one or several maps; where the counter
        takes weights trained on ImageNet, it is the part that has them. Preprocessing and padding (bottom and right)
        are inside.
      head: model, features `(batch, h, w, channels)` -> density `(batch, h, w, 1)`, float32, never negative;
        `h * stride >= height`.
      stride: side of a cell, pixels; cell `i` is centered at `(i + 0.5) * stride`.
      reach: how far beyond a cell the pixels lie that it depends on, pixels: with that much border, a part of an
        image has the density that it has in the whole, to rounding.
      fuse: model, what the encoder gives -> features; None if that is the features.
      pools_image: whether the density also depends on means over the whole image, which `reach` leaves out: tiles
        differ from the whole by more than rounding, so `tile`, their side, is larger.
      trained_by: name of the only method that can train it, or None.

    Input shape: `(batch, height, width, 3)`, uint8 or real, 0..255, RGB, any height and width.
    Output shape: `(batch, ceil(height / stride), ceil(width / stride), 1)`, float32, people per cell.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.Model,
        stride: int,
        reach: int,
        fuse: keras.Model | None = None,
        pools_image: bool = False,
        trained_by: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.fuse = fuse
        self.head = head
        self.stride = stride
        self.reach = reach
        self.pools_image = pools_image
        # What looks at the whole image gets more of it.
        self.tile = 2 * TILE if pools_image else TILE
        self.trained_by = trained_by
        # Built at once: under a distribution strategy Keras would otherwise call it on a batch to build it.
        self.build((None, None, None, 3))

    def build(self, input_shape):
        """Marks the counter as built: its parts come built."""
        self.built = True

    def leave_out_activation(self) -> None:
        """Leaves out the last activation, before the first call: maps may then be negative.

        Raises:
          ValueError: if the head does not end with a convolution.
        """
        last = self.head.layers[-1]
        if not isinstance(last, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            raise ValueError(f"Counter {self.name!r} does not end with a convolution.")
        last.activation = keras.activations.linear

    def features(self, images, training=None):
        """Returns the features `(batch, h, w, channels)` of images, or of what the encoder gives for them."""
        if isinstance(images, tuple):
            encoded = images[0] if len(images) == 1 else list(images)
        else:
            encoded = self.encoder(images, training=training)
        return encoded if self.fuse is None else self.fuse(encoded, training=training)

    def call(self, images, training=None):
        """Returns the density of a batch of images, or of what the encoder gives for them."""
        density = self.head(self.features(images, training=training), training=training)
        if isinstance(images, tuple):
            return density
        height, width = ops.shape(images)[1], ops.shape(images)[2]
        return density[:, : -(-height // self.stride), : -(-width // self.stride)]


def density_layer() -> keras.layers.Layer:
    """Returns the last layer of a counter, features -> density.

    A 1x1 convolution in float32 and a ReLU, so that an empty image can have a count of exactly zero. Small weights and
    a positive bias: at the start every cell is alive, with about the mean density of a crowd.
    """
    return keras.layers.Conv2D(
        1,
        1,
        activation=live_relu,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(0.05),
        dtype="float32",
        name="density",
    )
