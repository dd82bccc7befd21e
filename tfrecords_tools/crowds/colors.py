"""Random colors of paint and cloth."""

import numpy as np


def random_color(rng: np.random.Generator, saturation: float, low: float, high: float) -> np.ndarray:
    """Draws a color as `random_colors` does.

    Args:
      rng: source of random numbers.
      saturation: the largest saturation, 0 to 1.
      low: the smallest value (brightness), 0 to 255.
      high: the largest value, 0 to 255.

    Returns:
      An RGB color, (3,) float32, 0 to 255.
    """
    return random_colors(rng, np.full(1, saturation), np.full(1, low), np.full(1, high))[0]


def random_colors(rng: np.random.Generator, saturation: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Draws colors: as with paint and cloth, red, orange or blue far more often than green or purple.

    Args:
      rng: source of random numbers.
      saturation: (n,) the largest saturation of each color, 0 to 1.
      low: (n,) the smallest value (brightness) of each, 0 to 255.
      high: (n,) the largest value of each, 0 to 255.

    Returns:
      RGB colors, (n, 3) float32, 0 to 255.
    """
    n = len(saturation)
    usual = np.where(rng.random(n) < 0.55, 0.3, 3.7) + rng.normal(0, 0.35, n)
    hue = np.where(rng.random(n) < 0.75, usual, rng.uniform(0, 6, n))
    ramp = np.clip(np.abs((hue[:, None] + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    value = low + (high - low) * rng.random(n)
    pale = rng.uniform(0.1, 1, n) * saturation
    return (value[:, None] * (1 - pale[:, None] * (1 - ramp))).astype(np.float32)
