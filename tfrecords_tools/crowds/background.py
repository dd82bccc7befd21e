"""Paints the place: what is behind the crowd and below it."""

import cv2
import numpy as np

from tfrecords_tools.crowds.colors import random_color
from tfrecords_tools.crowds.compositing import Box, paint
from tfrecords_tools.crowds.scene import Scene
from tfrecords_tools.crowds.textures import foliage, rough_noise, smooth_noise


def paint_background(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paints what is behind the crowd and below it.

    Args:
      rng: source of random numbers.
      scene: its size and its camera.

    Returns:
      (height, width, 3) float32 RGB.
    """
    height, width = scene.height, scene.width
    canvas = np.empty((height, width, 3), np.float32)
    horizon = int(np.clip(scene.camera.horizon, 0, height - 2))
    if horizon < 4:  # too little for anything to be seen of a backdrop
        horizon = 0
    else:
        canvas[:horizon] = _backdrop(rng, horizon, width)
    canvas[horizon:] = _ground(rng, scene, horizon)
    _cast_shadows(rng, canvas[horizon:])
    return canvas


def _backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """What stands behind the crowd: a street, a park, a stand with empty seats, a hall."""
    kind = rng.choice(4, p=(0.5, 0.2, 0.15, 0.15))
    if kind == 0:
        canvas = _sky(rng, height, width)
        for _ in range(int(rng.integers(0, 5))):
            wide, high = int(width * rng.uniform(0.1, 0.5)) + 4, int(height * rng.uniform(0.25, 0.95)) + 4
            _put_facade(rng, canvas, int(rng.integers(-wide // 2, width)), wide, high)
        if rng.random() < 0.7:
            _put_trees(rng, canvas)
    elif kind == 1:
        canvas = _facade(rng, height, width)
        if rng.random() < 0.4:
            _put_trees(rng, canvas)
    elif kind == 2:
        canvas = _seats(rng, height, width)
    else:
        canvas = _hall(rng, height, width)
    _put_poles(rng, canvas)
    return canvas


def _sky(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    bright = rng.uniform(0.1, 0.3) if rng.random() < 0.12 else rng.uniform(0.75, 1.05)
    blue = np.array((90, 140, 205), np.float32) * rng.uniform(0.8, 1.1)
    white = np.array((235, 238, 242), np.float32)
    clouds = np.clip(0.5 * rough_noise(rng, height, width, max(width / 5, 4), 4) + rng.uniform(-0.4, 1.5), 0, 1)
    low = np.linspace(0.0, rng.uniform(0.2, 0.9), height, dtype=np.float32)[:, None]
    mix = np.maximum(clouds, low)[..., None]
    return (blue * (1 - mix) + white * mix) * np.float32(bright)


def _facade(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A wall with windows in floors, ledges and stains."""
    wall = random_color(rng, 0.45, 60, 225)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = wall
    step_x, step_y = rng.uniform(0.04, 0.16) * width + 4, rng.uniform(9, 45)
    x, y = np.arange(width) / step_x + rng.random(), np.arange(height) / step_y + rng.random()
    glass = (np.abs(x % 1 - 0.5) < rng.uniform(0.15, 0.42))[None] & (np.abs(y % 1 - 0.5) < rng.uniform(0.2, 0.4))[
        :, None
    ]
    panes = rng.uniform(0.3, 1.5, (int(y[-1]) + 1, int(x[-1]) + 1))[np.ix_(y.astype(int), x.astype(int))]
    shine = random_color(rng, 0.4, 20, 130) * panes[..., None].astype(np.float32)
    canvas[glass] = shine[glass]
    if rng.random() < 0.5:
        canvas[np.abs(y % 1) < 0.1] *= rng.uniform(0.6, 1.3)
    return canvas * (1 + 0.1 * rough_noise(rng, height, width, 16, 3))[..., None]


def _put_facade(rng: np.random.Generator, canvas: np.ndarray, left: int, wide: int, high: int) -> None:
    box = Box.around(left, canvas.shape[0] - high, wide, high, *canvas.shape[:2])
    if box is not None:
        canvas[box.rows, box.columns] = _facade(rng, high, wide)[box.source_rows, box.source_columns]


def _put_trees(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    crown = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(2, 14))):
        radius = rng.uniform(0.1, 0.4) * height + 2
        center = (int(rng.integers(0, width)), int(height - radius * rng.uniform(0.3, 1.6)))
        cv2.ellipse(crown, center, (int(radius * rng.uniform(0.7, 1.6)), int(radius)), 0, 0, 360, 1.0, -1)
    ragged = cv2.GaussianBlur(crown, (0, 0), 4) + 0.14 * rough_noise(rng, height, width, 10, 2)
    paint(canvas, np.clip((ragged - 0.5) * 6 + 0.5, 0, 1), foliage(rng, height, width))


def _seats(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A stand with rows of empty seats."""
    pitch = rng.uniform(4, 16)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / (pitch * 1.1), x / pitch
    round_x, round_y = np.abs(x % 1 - 0.5) / 0.36, np.abs(y % 1 - 0.5) / 0.36
    back = np.clip((1.1 - (round_x**3 + round_y**3)) * pitch * 0.3, 0, 1)
    vary = rng.uniform(0.75, 1.2, (int(y.max()) + 1, int(x.max()) + 1)).astype(np.float32)
    seats = vary[y.astype(int), x.astype(int)] * (1.15 - 0.5 * (y % 1))
    concrete = random_color(rng, 0.1, 60, 160) * np.ones((height, width, 1), np.float32)
    paint(concrete, back * (x % rng.integers(12, 40) > 1.5), random_color(rng, 0.9, 70, 220) * seats[..., None])
    return concrete * (1 + 0.06 * rough_noise(rng, height, width, 30, 3))[..., None]


def _hall(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A dark room with lamps and beams of light."""
    canvas = random_color(rng, 0.7, 10, 90) * np.ones((height, width, 1), np.float32)
    canvas *= (1 + 0.4 * rough_noise(rng, height, width, max(width / 4, 4), 3))[..., None]
    lamps = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(3, 40))):
        spot = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(lamps, spot, int(rng.integers(1, 5)), 1.0, -1)
    glow = np.clip(lamps + 3 * cv2.GaussianBlur(lamps, (0, 0), 6), 0, 1)
    paint(canvas, glow, random_color(rng, 0.5, 200, 255))
    return np.maximum(canvas, 4)


def _put_poles(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 5))):
        x, thick = int(rng.integers(0, width)), int(rng.integers(1, 5))
        color = random_color(rng, 0.3, 20, 160).tolist()
        end = (x + int(rng.normal(0, 6)), height)
        cv2.line(canvas, (x, int(rng.uniform(-0.5, 0.7) * height)), end, color, thick)
        if rng.random() < 0.5:
            slack = (0, int(rng.integers(0, height))), (width, int(rng.integers(0, height)))
            cv2.line(canvas, *slack, color, 1)


def _ground(rng: np.random.Generator, scene: Scene, horizon: int) -> np.ndarray:
    """The ground in perspective, (height - horizon, width, 3): a texture laid flat and looked at from the camera."""
    side = 256
    tile = _ground_tile(rng, side)
    rows = np.arange(horizon, scene.height)
    size = np.maximum(scene.camera.relative_size(rows, scene.height), 0.05)
    # As many pixels of the texture for a head as make the texture's grain a third of a head, roughly.
    zoom = rng.uniform(20, 60) / max(scene.camera.scale, 4.0)
    across = (np.arange(scene.width)[None] - scene.width / 2) / size[:, None] * zoom
    away = np.cumsum(1 / size)[:, None] * zoom / max(scene.camera.squeeze, 0.3) * np.ones((1, scene.width))
    angle = rng.uniform(-0.6, 0.6)
    u, v = across * np.cos(angle) - away * np.sin(angle), across * np.sin(angle) + away * np.cos(angle)
    maps = (np.mod(u, side).astype(np.float32), np.mod(v, side).astype(np.float32))
    ground = cv2.remap(tile, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    stains = rough_noise(rng, len(rows), scene.width, max(scene.width / 6, 4), 3)
    return ground * (1 + 0.08 * stains)[..., None]


def _ground_tile(rng: np.random.Generator, side: int) -> np.ndarray:
    """A square of asphalt, grass, paving, earth, pebbles or marked floor."""
    kind = rng.choice(6, p=(0.28, 0.2, 0.2, 0.12, 0.1, 0.1))
    fine = rough_noise(rng, side, side, 12, 3)
    if kind == 1:
        green = np.array((rng.uniform(85, 125), rng.uniform(95, 130), rng.uniform(55, 90)), np.float32)
        return green * (1 + 0.12 * rough_noise(rng, side, side, 5, 2))[..., None]
    if kind == 3:
        return np.array((165, 138, 105), np.float32) * rng.uniform(0.6, 1.2) * (1 + 0.08 * fine)[..., None]
    if kind == 4:  # round bright spots on dark
        spots = np.clip(0.8 + 0.3 * smooth_noise(rng, side, side, rng.uniform(3, 9)), 0.2, 1.6)
        return random_color(rng, 0.3, 70, 170) * spots[..., None]
    tile = random_color(rng, 0.15, 60, 200) * (1 + 0.05 * fine)[..., None]
    if kind == 2:
        count = int(rng.integers(6, 20))
        slabs = rng.uniform(0.85, 1.1, (count, count)).astype(np.float32)
        tile *= cv2.resize(slabs, (side, side), interpolation=cv2.INTER_NEAREST)[..., None]
        joints = (np.arange(side) % (side / count)) < 1.5
        tile[joints] *= 0.7
        tile[:, joints] *= 0.7
    elif kind == 5:
        for _ in range(4):
            start, end = (tuple(int(v) for v in rng.integers(0, side, 2)) for _ in range(2))
            cv2.line(tile, start, end, random_color(rng, 0.6, 180, 250).tolist(), int(rng.integers(2, 8)))
    return tile.astype(np.float32)


def _cast_shadows(rng: np.random.Generator, ground: np.ndarray) -> None:
    """Darkens the ground with patches of shade of what is out of sight."""
    if rng.random() < 0.3:
        height, width = ground.shape[:2]
        field = rough_noise(rng, height, width, width / rng.uniform(1.5, 5), 2)
        shade = np.clip((field - rng.uniform(0, 1)) * 3, 0, 1)
        ground *= (1 - rng.uniform(0.2, 0.6) * shade)[..., None]
