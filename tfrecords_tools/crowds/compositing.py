"""Lays colors and pictures over a picture."""

from typing import NamedTuple

import numpy as np


def paint(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray) -> None:
    """Lays a color over a canvas, in place.

    Args:
      canvas: (height, width, 3) float32 RGB.
      mask: (height, width), the opacity of the color, 0 to 1.
      color: (3,) or (height, width, 3) RGB.
    """
    canvas += mask[..., None] * (color - canvas)


class Box(NamedTuple):
    """The part of a patch which lies inside a picture.

    Attributes:
      rows: of the picture.
      columns: of the picture.
      source_rows: of the patch.
      source_columns: of the patch.
    """

    rows: slice
    columns: slice
    source_rows: slice
    source_columns: slice

    @classmethod
    def around(cls, left: int, top: int, wide: int, high: int, height: int, width: int) -> "Box | None":
        """Returns the box of a patch in a picture, None where they do not overlap.

        Args:
          left: column of the patch's left edge in the picture.
          top: row of the patch's top edge in the picture.
          wide: width of the patch, pixels.
          high: height of the patch, pixels.
          height: of the picture, pixels.
          width: of the picture, pixels.
        """
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
        if x1 <= x0 or y1 <= y0:
            return None
        return cls(slice(y0, y1), slice(x0, x1), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
