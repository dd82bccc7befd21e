"""Draws heads."""

import cv2
import numpy as np

from tfrecords_tools.crowds.sprites import HAIR, SECOND, SKIN, TOP, TRIM, Layers, Sprite
from tfrecords_tools.crowds.textures import smooth_noise

# Of the largest sprite of a head: pixels per head, side of the square in pixels.
_UNIT, _SIDE = 56, 104


def draw_head(rng: np.random.Generator, detail: int = 1) -> tuple[Sprite, ...]:
    """Draws a head with its neck, seen from the front or from behind.

    Args:
      rng: source of random numbers.
      detail: how many times more pixels the largest sprite has in height and width, for heads beside the camera.

    Returns:
      The head in several sizes, the largest first.
    """
    side = detail * _SIDE
    center = (side - 1) / 2
    head = Layers(side, side, detail * _UNIT, (center, center))
    wide = rng.uniform(0.35, 0.41)
    turned_away = rng.random() < 0.42
    turn = rng.uniform(-1, 1)
    head.put(SKIN, head.ellipse(0, 0.5, 0.2, 0.26) * (head.y < 0.66))
    oval = head.ellipse(turn * 0.2, 0.14, (wide - 0.06) * (1 - 0.25 * abs(turn)), 0.4)
    if turned_away:
        oval = np.zeros_like(oval)
        head.put(SKIN, head.ellipse(-wide, 0.06, 0.06, 0.12) + head.ellipse(wide, 0.06, 0.06, 0.12))
    _draw_hair(rng, head, wide, oval, turned_away)
    if not turned_away:
        _draw_face(rng, head, turn)
    _shade_head(rng, head)
    _draw_hat(rng, head, wide, oval, turn)
    return head.sprites()


def _draw_hair(rng: np.random.Generator, head: Layers, wide: float, oval: np.ndarray, turned_away: bool) -> None:
    style = rng.choice(4, p=(0.54, 0.2, 0.16, 0.1))  # short, full, long, bald
    if style == 2:
        length = rng.uniform(0.5, 0.75)
        head.put(HAIR, head.ellipse(0, 0.12, wide + rng.uniform(0.02, 0.12), length) * (1 - oval * 0.98))
    head.put(SKIN, head.ellipse(0, 0, wide, 0.5) * (oval if style == 2 else 1))
    if style == 3:
        head.put(HAIR, 0.35 * head.ellipse(0, 0, wide + 0.01, 0.5) * (1 - oval) * (head.y > -0.15))
        return
    extra = (0.0, 0.05, 0.03)[style]
    low = 0.42 if turned_away else 0.46
    cap = head.ellipse(0, -0.06, wide + 0.02 + extra, low + extra) * (1 - oval)
    head.put(HAIR, cap * np.clip((0.42 - head.y) * 8, 0, 1) if style == 0 else cap)


def _draw_face(rng: np.random.Generator, head: Layers, turn: float) -> None:
    middle, apart = turn * 0.22, 0.14 * (1 - 0.3 * abs(turn))
    dark = rng.uniform(0.35, 0.7)
    glasses = rng.random() < 0.25
    for side in (-1, 1):
        x = middle + side * apart
        head.shade *= 1 - 0.22 * head.ellipse(x, 0.0, 0.13, 0.1)
        head.put(None, dark * head.ellipse(x, 0.02, *((0.1, 0.07) if glasses else (0.055, 0.028))))
        head.put(HAIR, 0.6 * head.ellipse(x, -0.06, 0.09, 0.025))
    head.shade *= 1 - 0.3 * head.ellipse(middle + 0.04, 0.17, 0.05, 0.07)
    if rng.random() < 0.3:
        head.put(HAIR, rng.uniform(0.4, 0.9) * head.ellipse(middle, 0.38, 0.26, 0.17))
    head.put(None, 0.45 * head.ellipse(middle, 0.3, 0.1, rng.uniform(0.02, 0.045)))
    if rng.random() < 0.15:
        head.put(TRIM, head.ellipse(middle, 0.295, 0.07, 0.015))


def _shade_head(rng: np.random.Generator, head: Layers) -> None:
    """Lights a ball from the upper left, and gives hair its strands."""
    x, y = head.x / 0.46, head.y / 0.58
    z = np.sqrt(np.clip(1 - x * x - y * y, 0.02, 1))
    facing = np.clip(-0.48 * x - 0.68 * y + 0.55 * z, 0, 1)
    head.shade *= 0.46 + 0.62 * facing
    side = head.shade.shape[0]
    strands = smooth_noise(rng, side, side, 5 * side / _SIDE) * 0.5 + cv2.resize(
        rng.standard_normal((6, 36), np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    head.shade *= 1 + 0.13 * strands * head.materials[..., HAIR]
    head.shade *= 1 - 0.45 * np.clip((head.y - 0.42) * 6, 0, 1)


def _draw_hat(rng: np.random.Generator, head: Layers, wide: float, oval: np.ndarray, turn: float) -> None:
    kind = rng.choice(6, p=(0.68, 0.12, 0.06, 0.05, 0.04, 0.05))  # none, cap, brim, beanie, hood, scarf
    dome = head.ellipse(0, -0.1, wide + 0.05, 0.44)
    if kind == 1:
        head.put(SECOND, dome * np.clip((-0.1 - head.y) * 25, 0, 1))
        peak = head.ellipse(turn * 0.32, -0.11, 0.3, 0.085)
        head.outline(peak, 0.6)
        head.put(SECOND, peak)
        head.shade *= 1 - 0.3 * peak
    elif kind == 2:
        brim = head.ellipse(0, -0.1, rng.uniform(0.52, 0.72), rng.uniform(0.14, 0.24))
        head.outline(brim, 0.7)
        head.put(SECOND, brim)
        head.put(SECOND, dome * (head.y < -0.1))
        head.put(None, 0.6 * dome * np.clip(1 - np.abs(head.y + 0.17) * 22, 0, 1))
    elif kind == 3:
        head.put(SECOND, dome * np.clip((-0.06 - head.y) * 25, 0, 1))
        head.shade *= 1 + 0.12 * np.sin(head.x * 60) * head.materials[..., SECOND]
    elif kind in (4, 5):
        cloth = head.ellipse(0, 0.04, wide + 0.1, 0.58) * (1 - oval)
        head.put(TOP if kind == 4 else SECOND, cloth)
