"""Sprites: parts of people, drawn in layers of materials."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SHADE_ONE = 128  # value of the shade channel which means: as bright as the material

# Materials, in the order of the channels of `Layers.materials`. A sprite has the first four in `materials`, the last
# one in `light`. SECOND is the hat of a head, or the trousers, the bag or the pattern of a body.
SKIN, HAIR, TOP, SECOND, TRIM = range(5)


class Sprite(NamedTuple):
    """A head or a body at one size, as amounts of materials instead of colors, so that every person gets its own.

    Attributes:
      materials: (height, width, 4) uint8, how much of a pixel is skin, hair, clothes, second color.
      light: (height, width, 3) uint8: amount of trim, shade (128 is neutral), alpha.
      unit: pixels per head.
      anchor: (x, y) of the head's center in the sprite.
    """

    materials: np.ndarray
    light: np.ndarray
    unit: float
    anchor: tuple[float, float]


class Layers:
    """Draws a sprite layer by layer; coordinates are in heads from the center of the head."""

    def __init__(self, height: int, width: int, unit: float, anchor: tuple[float, float]):
        self.unit, self.anchor = unit, anchor
        self.materials = np.zeros((height, width, 5), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.shade = np.ones((height, width), np.float32)
        self.y, self.x = np.mgrid[:height, :width].astype(np.float32)
        self.x = (self.x - anchor[0]) / unit
        self.y = (self.y - anchor[1]) / unit

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
        """Returns the mask, (height, width), of an ellipse with a soft edge."""
        distance = np.sqrt(((self.x - x) / radius_x) ** 2 + ((self.y - y) / radius_y) ** 2)
        return np.clip((1 - distance) * min(radius_x, radius_y) * self.unit + 0.5, 0, 1)

    def polygon(self, points: Sequence[tuple[float, float]], rounding: float = 0.1) -> np.ndarray:
        """Returns the mask, (height, width), of a polygon with rounded corners."""
        mask = np.zeros(self.alpha.shape, np.float32)
        cv2.fillPoly(mask, [self._pixels(points)], 1.0)
        soft = cv2.GaussianBlur(mask, (0, 0), rounding * self.unit)
        return np.clip((soft - 0.5) * rounding * self.unit * 2.5 + 0.5, 0, 1)

    def limb(self, points: Sequence[tuple[float, float]], thickness: float) -> np.ndarray:
        """Returns the mask, (height, width), of a bent thick line."""
        mask = np.zeros(self.alpha.shape, np.float32)
        cv2.polylines(mask, [self._pixels(points)], False, 1.0, max(1, round(thickness * self.unit)))
        return cv2.GaussianBlur(mask, (0, 0), 0.8)

    def _pixels(self, points: Sequence[tuple[float, float]]) -> np.ndarray:
        return np.round(np.array(points) * self.unit + self.anchor).astype(np.int32)

    def put(self, material: int | None, mask: np.ndarray) -> None:
        """Lays a material over what is there; None is black."""
        self.materials *= (1 - mask)[..., None]
        if material is not None:
            self.materials[..., material] += mask
        self.alpha = np.maximum(self.alpha, mask)

    def outline(self, mask: np.ndarray, strength: float) -> None:
        """Darkens what lies around a part which is about to be put: its contact shadow."""
        around = cv2.GaussianBlur(mask, (0, 0), 0.09 * self.unit)
        self.shade *= 1 - strength * around * (1 - mask)

    def sprites(self) -> tuple[Sprite, ...]:
        """Returns the drawing in sizes which are halved until a head has about 3 pixels, the largest first."""
        shade = np.clip(self.shade * SHADE_ONE, 0, 255)
        light = np.dstack([self.materials[..., TRIM] * 255, shade, self.alpha * 255])
        materials = self.materials[..., :4] * 255
        unit, anchor = float(self.unit), self.anchor
        levels = [Sprite(materials.astype(np.uint8), light.astype(np.uint8), unit, anchor)]
        while unit > 6:
            size = (-(-levels[-1].light.shape[1] // 2), -(-levels[-1].light.shape[0] // 2))
            half = [np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA)) for whole in levels[-1][:2]]
            unit, anchor = unit / 2, ((anchor[0] - 0.5) / 2, (anchor[1] - 0.5) / 2)
            levels.append(Sprite(half[0], half[1], unit, anchor))
        return tuple(levels)
