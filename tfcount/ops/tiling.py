"""Density maps of large images, tile by tile."""

from collections.abc import Callable, Iterator

import numpy as np

# Side of a tile without its border, pixels. Larger tiles repeat less of the border, and take more memory.
TILE = 1024
# Windows start at multiples of this, so that every stride of a network up to 32 divides them as it does the image.
_ALIGNMENT = 32


def density_in_tiles(density: Callable, images, stride: int, reach: int, tile: int = TILE) -> np.ndarray:
    """Computes the density of images of any size with the memory of one tile.

    Each tile is computed with a border of `reach` pixels of the image around it, and only its own cells are kept:
    what a cell sees is what it sees in the whole image, so that tiles and the whole differ by rounding alone, unless
    the network also looks at means over the image (`tfcount.models.Counter.pools_image`). Images
    not larger than a tile with its border are computed as a whole.

    Args:
      density: function of `(batch, height, width, 3)` uint8 images to `(batch, ceil(height / stride),
        ceil(width / stride), 1)` people per cell.
      images: `(batch, height, width, 3)` uint8.
      stride: side of a cell, pixels; divides 32.
      reach: how far from a cell the pixels lie that it depends on, pixels, see `tfcount.models.Counter`.
      tile: side of a tile without its border, pixels, rounded up to a multiple of 32.

    Returns:
      `(batch, ceil(height / stride), ceil(width / stride), 1)` float32, people per cell.
    """
    batch, height, width = images.shape[:3]
    tile, border = (-(-side // _ALIGNMENT) * _ALIGNMENT for side in (tile, reach))
    if max(height, width) <= tile + 2 * border:
        return np.asarray(density(images))
    result = np.empty((batch, -(-height // stride), -(-width // stride), 1), np.float32)
    for top, bottom, window_top, window_bottom in _spans(height, tile, border):
        for left, right, window_left, window_right in _spans(width, tile, border):
            window = np.asarray(density(images[:, window_top:window_bottom, window_left:window_right]))
            rows = slice((top - window_top) // stride, -(-(bottom - window_top) // stride))
            columns = slice((left - window_left) // stride, -(-(right - window_left) // stride))
            cells = slice(top // stride, -(-bottom // stride)), slice(left // stride, -(-right // stride))
            result[:, *cells] = window[:, rows, columns]
    return result


def _spans(length: int, tile: int, border: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields for each tile along one side its start and end, and those of the window with its border."""
    for start in range(0, length, tile):
        end = min(start + tile, length)
        yield start, end, max(start - border, 0), min(end + border, length)
