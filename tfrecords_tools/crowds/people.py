"""Paints people, and the things among them, from far to near."""

import functools
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords_tools.crowds.bodies import draw_body
from tfrecords_tools.crowds.clutter import Clutter
from tfrecords_tools.crowds.colors import random_color, random_colors
from tfrecords_tools.crowds.compositing import Box, paint
from tfrecords_tools.crowds.heads import draw_head
from tfrecords_tools.crowds.scene import CELL, Scene
from tfrecords_tools.crowds.sprites import SHADE_ONE, Sprite

# How many heads and bodies are drawn, for people to choose from.
_HEADS, _BODIES = 144, 72
# People beside the camera are drawn one by one, with so many times more pixels in height and width.
_DETAIL = 2

_SKIN_TONES = np.array(
    [(236, 190, 164), (222, 166, 132), (200, 140, 104), (164, 108, 76), (116, 74, 52), (74, 50, 40)], np.float32
)
_HAIR_TONES = np.array(
    [(24, 21, 21), (46, 34, 27), (82, 57, 40), (134, 92, 58), (186, 152, 102), (158, 154, 150), (122, 62, 36)],
    np.float32,
)

_PACKED = 0.6  # from this crowding on, the body of a person is not seen below the chest

# What people wear: dark, white, grey and beige, colored. The range of saturation and of brightness of each.
_CLOTH_SATURATION = np.array([0.5, 0.1, 0.35, 0.95])
_CLOTH_LOW = np.array([10, 175, 70, 60])
_CLOTH_HIGH = np.array([65, 245, 190, 225])


@functools.lru_cache(maxsize=1)
def _people_sprites() -> tuple[list[tuple[Sprite, ...]], list[tuple[Sprite, ...]]]:
    """Heads and bodies, each in several sizes; the same in every process, as they have a seed of their own."""
    rng = np.random.default_rng(20_190_611)
    return [draw_head(rng) for _ in range(_HEADS)], [draw_body(rng) for _ in range(_BODIES)]


def _dress(rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the colors of people who have in common what the people of one picture have.

    Returns:
      Colors, (people, 5, 3) float32, of the materials of heads, and those of bodies.
    """
    tones = rng.dirichlet([1.2, 1.8, 1.4, 0.7, 0.5, 0.3])
    skin = _SKIN_TONES[rng.choice(len(_SKIN_TONES), people, p=tones)] * rng.uniform(0.75, 1.02, (people, 1))
    tones = rng.dirichlet([3.2, 2.2, 1.0, 0.4, 0.25, 0.25, 0.15])
    hair = _HAIR_TONES[rng.choice(len(_HAIR_TONES), people, p=tones)] * rng.uniform(0.7, 1.25, (people, 1))
    kinds = rng.choice(4, 4 * people, p=rng.dirichlet([2.8, 2.0, 1.2, 1.8]))
    cloth = random_colors(rng, _CLOTH_SATURATION[kinds], _CLOTH_LOW[kinds], _CLOTH_HIGH[kinds])
    team = rng.random(len(cloth)) < rng.choice([0.0, 0.15, 0.6], p=(0.6, 0.25, 0.15))
    cloth[team] = random_color(rng, 1.0, 60, 240) * rng.uniform(0.8, 1.1, (int(team.sum()), 1))
    top, hat, second, trim = cloth.reshape(4, people, 3)
    heads, bodies = np.stack([skin, hair, top, hat, trim], 1), np.stack([skin, hair, top, second, trim], 1)
    return heads.astype(np.float32), bodies.astype(np.float32)


class _Stamp(NamedTuple):
    """How a sprite gets into the picture: size and tilt, colors and light."""

    x: float
    y: float
    size: float
    squeeze: float
    mirror: int
    tilt: float
    colors: np.ndarray
    contrast: float
    haze: np.ndarray  # (4,): RGB of the haze times its strength, then its strength
    below: float  # how far below the head's center it is painted, in heads
    dim: float  # loss of light from there down, as people stand close


def paint_crowd(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, points: np.ndarray) -> None:
    """Paints people and things from far to near.

    Args:
      rng: source of random numbers.
      canvas: (height, width, 3) float32 RGB; painted on in place.
      scene: its camera, clutter and light.
      points: (people, 2) (x, y), the centers of the heads.
    """
    head_colors, body_colors = _dress(rng, len(points))
    # Weaker haze towards the viewer; where the ground is seen from above, there is none.
    haze_color, haze = random_color(rng, 0.15, 150, 235), rng.choice([0.0, rng.uniform(0, 0.45)], p=(0.5, 0.5))
    contrast = rng.uniform(0.6, 1.35)
    order = np.argsort(points[:, 1], kind="stable")
    things = sorted(scene.clutter, key=lambda thing: thing.base)
    sizes = scene.camera.head_size(points[:, 1], scene.height)
    crowding = _crowding(points, sizes, scene.height, scene.width)
    _paint_shadows(canvas, scene, points[crowding < _PACKED], sizes[crowding < _PACKED], rng.uniform(0.1, 0.6))
    for index in order:
        x, y = map(float, points[index])
        while things and things[0].base <= y:
            _paste(canvas, things.pop(0))
        distance = 1 - sizes[index] / scene.camera.scale
        strength = float(haze * distance)
        shades = (contrast, np.append(haze_color * strength, strength).astype(np.float32))
        colors = (head_colors[index], body_colors[index])
        _paint_person(rng, canvas, scene, colors, (x, y, float(sizes[index]), float(crowding[index])), shades)
    for thing in things:
        _paste(canvas, thing)


def _paint_shadows(canvas: np.ndarray, scene: Scene, points: np.ndarray, sizes: np.ndarray, strength: float) -> None:
    """Darkens the ground at the feet of people, away from the light."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    feet = points[:, 1] + 6.3 * scene.camera.squeeze * sizes
    for x, y, size in zip(points[:, 0].tolist(), feet.tolist(), sizes.tolist()):
        center = (round(x + 0.9 * size * scene.light), round(y))
        axes = (max(1, round(1.6 * size)), max(1, round(0.4 * size)))
        cv2.ellipse(mask, center, axes, 0, 0, 360, 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.5)
    canvas *= (1 - np.float32(strength / 255) * soft)[..., None]


def _crowding(points: np.ndarray, sizes: np.ndarray, height: int, width: int) -> np.ndarray:
    """How close others stand before each person, 0 (nobody) to 1 (only head and shoulders are seen), (people,)."""
    if not len(points):
        return np.zeros(0)
    rows, columns = -(-height // CELL), -(-width // CELL)
    squares = np.zeros((rows, columns), np.float32)
    cells = (points / CELL).astype(int)
    np.add.at(squares, (cells[:, 1], cells[:, 0]), (sizes / CELL) ** 2)
    around = max(1.5 * float(np.median(sizes)) / CELL, 0.5)
    blurred = np.asarray(cv2.GaussianBlur(squares, (0, 0), around, borderType=cv2.BORDER_REFLECT))
    before = np.minimum((points[:, 1] + 2 * sizes) / CELL, rows - 1).astype(int)
    return np.minimum(1.0, 2.0 * blurred[before, cells[:, 0]])


def _paint_person(
    rng: np.random.Generator,
    canvas: np.ndarray,
    scene: Scene,
    colors: tuple[np.ndarray, np.ndarray],
    place: tuple[float, float, float, float],
    shades: tuple[float, np.ndarray],
) -> None:
    x, y, size, crowding = place
    size *= min(max(rng.normal(1, 0.08), 0.8), 1.25)
    squeeze = min(1.0, scene.camera.squeeze * rng.uniform(0.92, 1.08))
    dim = 0.0 if scene.close else 0.85 * crowding * rng.uniform(0.6, 1.0)
    # In a packed crowd the next row of people covers everything from the chest down.
    below = 6.6 if crowding < _PACKED or scene.close else 3.4
    stamp = _Stamp(x, y, size, squeeze, scene.light, rng.normal(0, 0.07), colors[1], *shades, below, dim)
    body = draw_body(rng, _DETAIL) if scene.close else _people_sprites()[1][rng.integers(_BODIES)]
    _stamp(canvas, body, stamp)
    tilt = min(max(rng.normal(0, 0.16), -0.45), 0.45)
    stamp = stamp._replace(colors=colors[0], squeeze=1.0, tilt=tilt, below=1.0, dim=0.0)
    head = draw_head(rng, _DETAIL) if scene.close else _people_sprites()[0][rng.integers(_HEADS)]
    _stamp(canvas, head, stamp)


def _stamp(canvas: np.ndarray, levels: tuple[Sprite, ...], stamp: _Stamp) -> None:
    """Blends one sprite into the picture, at a place and size given in fractions of pixels."""
    sprite = levels[0]
    for smaller in levels[1:]:
        if smaller.unit < stamp.size:
            break
        sprite = smaller
    scale = stamp.size / sprite.unit
    high, wide = sprite.light.shape[:2]
    # The box is generous enough for the small tilts; rows far below the head are left out.
    reach = max(sprite.anchor[0], wide - sprite.anchor[0]) * scale + 1
    above, below = sprite.anchor[1] * scale * stamp.squeeze + 1, (high - sprite.anchor[1]) * scale * stamp.squeeze + 1
    below = min(below, stamp.below * stamp.size * stamp.squeeze + 1)
    x0, x1 = max(0, int(stamp.x - reach)), min(canvas.shape[1], int(stamp.x + reach) + 1)
    y0, y1 = max(0, int(stamp.y - above)), min(canvas.shape[0], int(stamp.y + below) + 1)
    cosine, sine = np.cos(stamp.tilt) * scale, np.sin(stamp.tilt) * scale
    turn = np.array([[cosine * stamp.mirror, -sine * stamp.squeeze], [sine * stamp.mirror, cosine * stamp.squeeze]])
    shift = np.array([stamp.x - x0 - 0.5, stamp.y - y0 - 0.5]) - turn @ np.array(sprite.anchor)
    matrix = np.column_stack([turn, shift])
    size = (x1 - x0, y1 - y0)
    materials = cv2.warpAffine(sprite.materials, matrix, size).astype(np.float32)
    light = cv2.warpAffine(sprite.light, matrix, size).astype(np.float32)
    color = np.asarray(cv2.transform(materials, stamp.colors[:4].T / 255), np.float32)
    color += light[..., :1] * (stamp.colors[4] / 255)
    shade = 1 + stamp.contrast * (light[..., 1] / SHADE_ONE - 1)
    if stamp.dim:
        rows = (np.arange(y0, y1, dtype=np.float32) - stamp.y) / (stamp.size * stamp.squeeze)
        shade *= 1 - stamp.dim * np.clip((rows - 0.45) / 1.3, 0, 1)[:, None]
    alpha = light[..., 2:] / 255
    # Colors are multiplied by opacity already, since a sprite holds amounts of materials.
    color *= np.maximum(shade, 0.05)[..., None] * (1 - stamp.haze[3])
    color += alpha * stamp.haze[:3]
    part = canvas[y0:y1, x0:x1]
    part *= 1 - alpha
    part += color


def _paste(canvas: np.ndarray, thing: Clutter) -> None:
    high, wide = thing.mask.shape
    box = Box.around(thing.left, thing.top, wide, high, *canvas.shape[:2])
    if box is not None:
        source = (box.source_rows, box.source_columns)
        paint(canvas[box.rows, box.columns], thing.mask[source], thing.picture[source])
