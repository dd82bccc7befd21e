"""Things among the people: poles, banners, cars, and what looks like heads but is none."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords_tools.crowds.camera import Camera
from tfrecords_tools.crowds.colors import random_color
from tfrecords_tools.crowds.textures import foliage, rough_noise, smooth_noise


class Clutter(NamedTuple):
    """A thing which stands or hangs in the scene and is not a person.

    Attributes:
      picture: (height, width, 3) float32 RGB.
      mask: (height, width) float32, its opacity.
      left: column of the picture's left edge in the scene.
      top: row of the picture's top edge in the scene.
      base: row of the head of a person who would stand beside it: its turn when painting from far to near.
    """

    picture: np.ndarray
    mask: np.ndarray
    left: int
    top: int
    base: float


def plan_clutter(
    rng: np.random.Generator, camera: Camera, height: int, width: int, share: float = 0.3
) -> tuple[Clutter, ...]:
    """Puts a few things into the scene, in proportion to the people beside them.

    Args:
      rng: source of random numbers.
      camera: gives the sizes.
      height: of the picture, pixels.
      width: of the picture, pixels.
      share: of the picture's shorter side that a thing may take; larger things are made smaller.

    Returns:
      The things, drawn, in no order.
    """
    things = []
    for _ in range(rng.choice([0, 2, 4, 8], p=(0.25, 0.3, 0.3, 0.15))):
        draw, high, wide = _CLUTTER[rng.integers(len(_CLUTTER))]
        x, y = rng.uniform(0, width), rng.uniform(max(0.0, camera.horizon * 0.6), height)
        head = float(camera.head_size(np.array(y), height))
        shrink = min(1.0, share * min(height, width) / (head * max(high, wide)))
        size = (max(3, round(high * head * shrink)), max(3, round(wide * head * shrink)))
        picture = np.zeros((*size, 3), np.uint8)
        mask = np.zeros(size, np.uint8)
        draw(rng, picture, mask)
        # Some texture, as nothing real is of one flat color.
        shaded = picture * (1 + 0.12 * rough_noise(rng, *size, max(size) / 4))[..., None]
        left, top = round(x - size[1] / 2), round(y - size[0] / 2)
        base = top + size[0] - min(size[0] / 2, 3 * head)
        things.append(Clutter(shaded.astype(np.float32), mask.astype(np.float32) / 255, left, top, base))
    return tuple(things)


def _fill(rng: np.random.Generator, low: float = 30, high: float = 240, saturation: float = 0.9) -> tuple[int, ...]:
    return tuple(int(value) for value in random_color(rng, saturation, low, high))


def _draw_pole(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    """A street lamp with a round head."""
    high, wide = mask.shape
    middle, radius = wide // 2, max(1, wide // 4)
    cv2.rectangle(mask, (middle - wide // 16, 0), (middle + wide // 16, high), 255, -1)
    picture[:] = _fill(rng, 20, 130, 0.3)
    cv2.circle(mask, (middle, radius), radius, 255, -1, cv2.LINE_AA)
    cv2.circle(picture, (middle, radius), radius, _fill(rng, 180, 255, 0.3), -1, cv2.LINE_AA)


def _draw_banner(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    """A board or cloth with something like letters on it."""
    high, wide = mask.shape
    mask[:] = 255
    picture[:] = _fill(rng)
    ink, size = _fill(rng), max(2, round(high * rng.uniform(0.15, 0.4)))
    for row in range(size // 2, high - size, round(size * 1.6) + 1):
        for column in range(size // 2, wide - size, size + 1):
            if rng.random() < 0.8:
                angle = int(rng.integers(0, 360))
                center = (column + size // 2, row + size // 2)
                cv2.ellipse(picture, center, (size // 3, size // 2), angle, 0, 230, ink, max(1, size // 5))


def _draw_umbrella(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    high, wide = mask.shape
    first, second = _fill(rng), _fill(rng)
    for part in range(8):
        color = first if part % 2 else second
        center, axes = (wide // 2, high - 1), (wide // 2, high - 1)
        cv2.ellipse(picture, center, axes, 0, 180 + part * 22.5, 203 + part * 22.5, color, -1)
        cv2.ellipse(mask, center, axes, 0, 180 + part * 22.5, 203 + part * 22.5, 255, -1)
        picture[:] = np.where(picture.any(2, keepdims=True), picture, color).astype(np.uint8)


def _draw_car(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    high, wide = mask.shape
    picture[:] = _fill(rng)
    cv2.rectangle(mask, (0, high * 2 // 5), (wide, high * 5 // 6), 255, -1)
    roof = np.array([(wide // 6, high * 2 // 5), (wide // 3, 0), (wide * 3 // 4, 0), (wide * 9 // 10, high * 2 // 5)])
    cv2.fillPoly(mask, [roof], 255, cv2.LINE_AA)
    glass = (roof - roof.mean(0)) * 0.8 + roof.mean(0)
    cv2.fillPoly(picture, [glass.astype(np.int32)], (40, 50, 60), cv2.LINE_AA)
    for x in (wide // 5, wide * 4 // 5):
        cv2.circle(mask, (x, high * 5 // 6), high // 6, 255, -1, cv2.LINE_AA)
        cv2.circle(picture, (x, high * 5 // 6), high // 6, (25, 25, 25), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, high * 5 // 6), high // 12, (150, 150, 155), -1, cv2.LINE_AA)


def _draw_balls(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    """Balloons or balls: as round and as large as heads, lit like them, but no people."""
    high, wide = mask.shape
    for _ in range(int(rng.integers(1, 7))):
        radius = max(1, round(min(high, wide) * rng.uniform(0.1, 0.24)))
        center = (int(rng.integers(radius, wide - radius)), int(rng.integers(radius, high - radius)))
        color = np.array(_fill(rng, 60, 250), np.float32)
        cv2.circle(mask, center, radius, 255, -1, cv2.LINE_AA)
        for step in (1.0, 0.75, 0.5, 0.25):
            spot = (center[0] - round(radius * (1 - step) * 0.4), center[1] - round(radius * (1 - step) * 0.4))
            shade = np.clip(color * (1.25 - 0.6 * step) + 40 * (1 - step), 0, 255)
            cv2.circle(picture, spot, max(1, round(radius * step)), shade.tolist(), -1, cv2.LINE_AA)


def _draw_bush(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    high, wide = mask.shape
    for _ in range(9):
        center = (int(rng.uniform(0.25, 0.75) * wide), int(rng.uniform(0.3, 0.7) * high))
        cv2.ellipse(mask, center, (wide // 4, high * 3 // 10), 0, 0, 360, 255, -1, cv2.LINE_AA)
    ragged = mask + 120 * smooth_noise(rng, high, wide, 3)
    mask[:] = np.where(ragged > 128, mask, 0)
    picture[:] = np.clip(foliage(rng, high, wide), 0, 255).astype(np.uint8)


def _draw_fence(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    high, wide = mask.shape
    picture[:] = _fill(rng, 60, 220, 0.3)
    thick = max(1, high // 20)
    cv2.rectangle(mask, (0, 0), (wide, thick), 255, -1)
    cv2.rectangle(mask, (0, high - 2 * thick), (wide, high - thick), 255, -1)
    for x in range(0, wide, max(3, high // 6)):
        cv2.rectangle(mask, (x, 0), (x + thick // 2, high), 255, -1)


def _draw_tent(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    high, wide = mask.shape
    color = np.array(_fill(rng, 120, 250))
    picture[:] = color
    picture[:, wide // 2 :] = (color * 0.75).astype(np.uint8)
    cv2.fillPoly(mask, [np.array([(0, high // 2), (wide // 2, 0), (wide, high // 2)])], 255, cv2.LINE_AA)
    mask[high // 2 :] = 255
    picture[high * 3 // 4 :] //= 3


def _draw_wheels(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    """A bicycle."""
    high, wide = mask.shape
    picture[:] = _fill(rng, 10, 90, 0.4)
    radius, thick = min(high // 3, wide // 4), max(1, high // 20)
    hubs = [(radius, high - radius - 1), (wide - radius - 1, high - radius - 1)]
    saddle, bar = (wide * 2 // 5, high // 6), (wide * 4 // 5, high // 8)
    for hub in hubs:
        cv2.circle(mask, hub, max(1, radius - thick), 255, thick, cv2.LINE_AA)
    frame = np.array([hubs[0], saddle, bar, hubs[1], saddle])
    cv2.polylines(mask, [frame], False, 255, thick, cv2.LINE_AA)


def _draw_boxes(rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray) -> None:
    """A stack of loudspeakers or crates, with round holes."""
    high, wide = mask.shape
    mask[:] = 255
    count = int(rng.integers(1, 5))
    picture[:] = _fill(rng, 15, 130, 0.5)
    for index in range(count):
        top, bottom = high * index // count, high * (index + 1) // count
        cv2.rectangle(picture, (0, top), (wide - 1, bottom), (10, 10, 10), 1)
        radius = max(1, min(wide, bottom - top) // 3)
        cv2.circle(picture, (wide // 2, (top + bottom) // 2), radius, _fill(rng, 20, 160, 0.4), -1, cv2.LINE_AA)


# What stands about, with its height and width in heads.
_CLUTTER: tuple[tuple[Callable[[np.random.Generator, np.ndarray, np.ndarray], None], float, float], ...] = (
    (_draw_pole, 14, 2.4),
    (_draw_banner, 3, 9),
    (_draw_banner, 3, 2.2),
    (_draw_umbrella, 1.8, 4.5),
    (_draw_car, 6.5, 17),
    (_draw_balls, 4, 4),
    (_draw_bush, 5, 8),
    (_draw_fence, 4.5, 16),
    (_draw_tent, 12, 14),
    (_draw_wheels, 4, 7),
    (_draw_boxes, 8, 4),
)
