"""GAME: the grid average mean absolute error, which also sees people counted in the wrong place."""

import numpy as np


def region_edges(size: int, level: int) -> list[int]:
    """Halves `0..size` pixels `level` times at `int(size / 2)` and returns the `2 ** level + 1` edges."""
    if level == 0:
        return [0, size]
    half = size // 2
    upper = [half + edge for edge in region_edges(size - half, level - 1)]
    return region_edges(half, level - 1)[:-1] + upper


def region_sums(density, stride: int, height: int, width: int, level: int) -> np.ndarray:
    """Sums a density map over the regions of a level, keeping its mass.

    A cell that lies in several regions is shared out by area, of which the part beyond the image counts for nothing.

    Args:
      density: `(h, w)` people per cell.
      stride: side of a cell, pixels.
      height: of the image, pixels.
      width: of the image, pixels.
      level: the image is cut into `4 ** level` regions.

    Returns:
      `(2 ** level, 2 ** level)` people per region; the sum is that of the map.
    """
    rows = _shares(density.shape[0], stride, height, region_edges(height, level))
    columns = _shares(density.shape[1], stride, width, region_edges(width, level))
    return rows @ np.asarray(density, np.float64) @ columns.T


def region_counts(points, height: int, width: int, level: int) -> np.ndarray:
    """Counts points `(n, 2)`, (x, y), in the regions of a level; points on the far edge belong to the last region."""
    rows = np.searchsorted(region_edges(height, level)[1:-1], points[:, 1], side="right")
    columns = np.searchsorted(region_edges(width, level)[1:-1], points[:, 0], side="right")
    counts = np.zeros((2**level, 2**level))
    np.add.at(counts, (rows, columns), 1)
    return counts


def game(density, points, stride: int, height: int, width: int, levels: int = 4) -> np.ndarray:
    """Computes the grid average error of one image at levels 0, 1, 2, ...: the sum of |error| over the regions.

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
                region_sums(density, stride, height, width, level) - region_counts(points, height, width, level)
            ).sum()
            for level in range(levels)
        ]
    )


def _shares(cells, stride, size, edges):
    """Returns `(regions, cells)`: which part of each cell, as far as it lies in the image, is in each region."""
    start = np.arange(cells) * stride
    end = np.minimum(start + stride, size)
    lower, upper = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None]
    overlap = np.maximum(np.minimum(upper, end) - np.maximum(lower, start), 0)
    return overlap / (end - start)
