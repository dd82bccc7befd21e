"""GAME: the grid average mean absolute error, which also sees people counted in the wrong place.

Level 0 is the image, and each level cuts the quadrants of the one before into four.
"""

import numpy as np


def quadrant_edges(size: int, level: int) -> list[int]:
    """Halves `0..size` pixels `level` times at `int(size / 2)` and returns the `2 ** level + 1` edges of quadrants."""
    if level == 0:
        return [0, size]
    half = size // 2
    upper = [half + edge for edge in quadrant_edges(size - half, level - 1)]
    return quadrant_edges(half, level - 1)[:-1] + upper


def quadrant_sums(density, stride: int, height: int, width: int, level: int) -> np.ndarray:
    """Sums a density map over the quadrants of a level, keeping its mass.

    A cell that lies in several quadrants is shared out by area, of which the part beyond the image counts for nothing.

    Args:
      density: `(h, w)` people per cell.
      stride: side of a cell, pixels.
      height: of the image, pixels.
      width: of the image, pixels.
      level: the image is cut into `4 ** level` quadrants.

    Returns:
      `(2 ** level, 2 ** level)` people per quadrant; the sum is that of the map.
    """
    rows = _shares(density.shape[0], stride, height, quadrant_edges(height, level))
    columns = _shares(density.shape[1], stride, width, quadrant_edges(width, level))
    return rows @ np.asarray(density, np.float64) @ columns.T


def quadrant_counts(points, height: int, width: int, level: int) -> np.ndarray:
    """Counts points `(n, 2)`, (x, y), in the quadrants of a level; points on the far edge belong to the last ones."""
    rows = np.searchsorted(quadrant_edges(height, level)[1:-1], points[:, 1], side="right")
    columns = np.searchsorted(quadrant_edges(width, level)[1:-1], points[:, 0], side="right")
    counts = np.zeros((2**level, 2**level))
    np.add.at(counts, (rows, columns), 1)
    return counts


def game(density, points, stride: int, height: int, width: int, levels: int = 4) -> np.ndarray:
    """Computes the grid average error of one image at levels 0, 1, 2, ...: the sum of |error| over the quadrants.

    Source: Guerrero-Gomez-Olmedo et al., "Extremely overlapping vehicle counting", 2015, Eq. (2).

    Args:
      density: `(h, w)` people per cell.
      points: `(n, 2)`, (x, y) in pixels.
      stride: side of a cell, pixels.
      height: of the image, pixels.
      width: of the image, pixels.
      levels: how many.

    Returns:
      `(levels,)` people; the first is the absolute error of the count.
    """
    return np.array(
        [
            np.abs(
                quadrant_sums(density, stride, height, width, level) - quadrant_counts(points, height, width, level)
            ).sum()
            for level in range(levels)
        ]
    )


def _shares(cells, stride, size, edges):
    """Returns `(quadrants, cells)`: which part of each cell, as far as it lies in the image, is in each quadrant."""
    start = np.arange(cells) * stride
    end = np.minimum(start + stride, size)
    lower, upper = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None]
    overlap = np.maximum(np.minimum(upper, end) - np.maximum(lower, start), 0)
    return overlap / (end - start)
