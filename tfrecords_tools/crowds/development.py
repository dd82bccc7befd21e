"""What light and camera do to what was painted."""

import cv2
import numpy as np

from tfrecords_tools.crowds.colors import random_color
from tfrecords_tools.crowds.textures import smooth_noise


def develop(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Gives a canvas exposure, color cast, blur, sharpening and noise; sometimes takes its color.

    Args:
      rng: source of random numbers.
      canvas: (height, width, 3) float32 RGB.

    Returns:
      The picture, (height, width, 3) uint8 RGB.
    """
    height, width = canvas.shape[:2]
    warmth = rng.normal(0, 0.07)
    picture = canvas * np.array((1 + warmth, 1.0, 1 - warmth), np.float32)
    if rng.random() < 0.08:  # the light of a stage, of street lamps, of an old film
        tint = random_color(rng, 0.9, 255, 255) / 255
        picture *= tint / tint.mean()
    if rng.random() < 0.3:  # light falls off towards a corner, or the lens is poor
        slope = smooth_noise(rng, height, width, max(height, width))
        picture *= np.clip(1 + 0.15 * slope, 0.5, 1.3)[..., None]
    if rng.random() < 0.08:
        picture = np.repeat(picture @ np.array((0.3, 0.59, 0.11), np.float32)[:, None], 3, axis=2)
    picture = _expose(rng, picture)
    soft = rng.choice([0.0, rng.uniform(0.3, 0.7), rng.uniform(0.7, 1.3)], p=(0.6, 0.28, 0.12))
    if soft:
        picture = cv2.GaussianBlur(picture, (0, 0), soft)
    if rng.random() < 0.65:
        picture += rng.uniform(0.3, 1.1) * (picture - cv2.GaussianBlur(picture, (0, 0), 1.0))
    grain = rng.standard_normal((height, width), np.float32) * rng.choice([1.0, rng.uniform(2, 9)])
    picture += grain[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _expose(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Stretches brightness to what cameras aim at, give or take, with a curve of random steepness."""
    mean, deviation = cv2.meanStdDev(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    target = np.clip(rng.normal(68, 9), 45, 90)
    gain = np.clip(target / max(float(deviation[0, 0]), 1.0), 0.8, 1.35)
    middle = np.clip(rng.normal(105, 20), 50, 160)
    return (picture - np.float32(mean[0, 0])) * np.float32(gain) + np.float32(0.7 * middle + 0.3 * mean[0, 0])
