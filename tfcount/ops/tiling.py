"""Density maps of large images, tile by tile."""

from collections.abc import Callable

import tensorflow as tf

# Side of a tile without its border, pixels. Larger tiles repeat less of the border, and take more memory.
TILE = 1024
# Windows start at multiples of this, so that every stride of a network up to 32 divides them as it does the image.
_ALIGNMENT = 32


def density_in_tiles(density: Callable, images, stride: int, reach: int, tile: int = TILE) -> tf.Tensor:
    """Computes the density of images of any size with the memory of one tile; eager, and in graphs that are exported.

    Each tile is computed with a border of `reach` pixels of the image around it, and only its own cells are kept:
    what a cell sees is what it sees in the whole image, so that tiles and the whole differ by rounding alone, unless
    the network also looks at means over the image (`tfcount.models.Counter.pools_image`). Images
    not larger than a tile with its border are computed as a whole.

    Args:
      density: function of `(batch, height, width, 3)` uint8 images to `(batch, ceil(height / stride),
        ceil(width / stride), 1)` people per cell.
      images: `(batch, height, width, 3)` uint8, a tensor or an array.
      stride: side of a cell, pixels; divides 32.
      reach: how far from a cell the pixels lie that it depends on, pixels, see `tfcount.models.Counter`.
      tile: side of a tile without its border, pixels, rounded up to a multiple of 32.

    Returns:
      `(batch, ceil(height / stride), ceil(width / stride), 1)` float32, people per cell.
    """
    tile, border = (-(-side // _ALIGNMENT) * _ALIGNMENT for side in (tile, reach))
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    longest = tf.maximum(height, width)
    # An image that fits is one tile.
    side = tf.where(longest <= tile + 2 * border, longest, tile)
    columns = -(-width // side)

    def compute_tile(index, result):
        top, bottom, window_top, window_bottom = _span(index // columns * side, side, border, height)
        left, right, window_left, window_right = _span(index % columns * side, side, border, width)
        window = density(images[:, window_top:window_bottom, window_left:window_right])
        inner = window[
            :,
            (top - window_top) // stride : -(-(bottom - window_top) // stride),
            (left - window_left) // stride : -(-(right - window_left) // stride),
        ]
        result = tf.raw_ops.TensorStridedSliceUpdate(
            input=result,
            begin=[0, top // stride, left // stride, 0],
            end=[batch, -(-bottom // stride), -(-right // stride), 1],
            strides=[1, 1, 1, 1],
            value=tf.cast(inner, tf.float32),
        )
        return index + 1, result

    empty = tf.zeros([batch, -(-height // stride), -(-width // stride), 1], tf.float32)
    tiles = columns * -(-height // side)
    # One after the other: several at once would take the memory of several.
    return tf.while_loop(lambda index, _: index < tiles, compute_tile, (0, empty), parallel_iterations=1)[1]


def _span(start, side, border, length):
    """Returns start and end of a tile along one side, and those of the window with its border."""
    end = tf.minimum(start + side, length)
    return start, end, tf.maximum(start - border, 0), tf.minimum(end + border, length)
