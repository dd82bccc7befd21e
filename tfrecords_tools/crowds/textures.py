"""What covers surfaces: noise, leaves."""

import cv2
import numpy as np


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Returns smooth noise, (height, width) float32, of about unit variance, whose spots are `cell` pixels wide."""
    grid = rng.standard_normal((max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)), np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def rough_noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Returns noise with finer and weaker noise upon it.

    Args:
      rng: source of random numbers.
      height: of the result, pixels.
      width: of the result, pixels.
      cell: width in pixels of the largest spots.
      octaves: how many noises to add up; the spots of each are 2.5 times smaller than those of the one before.

    Returns:
      (height, width) float32, of about unit variance.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        total += 0.6**octave * smooth_noise(rng, height, width, max(cell / 2.5**octave, 1.0))
    return total / 1.2


def foliage(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns leaves, (height, width, 3) float32 RGB.

    They are small bright spots on dark, much like far heads: a counter has to learn to tell them apart.
    """
    green = np.array((rng.uniform(55, 105), rng.uniform(75, 115), rng.uniform(35, 70)), np.float32)
    leaf = rng.uniform(1.5, 7)
    spots = smooth_noise(rng, height, width, leaf) + 0.7 * smooth_noise(rng, height, width, leaf * 5)
    return green * np.clip(0.8 + 0.36 * spots, 0.2, 1.9)[..., None]
