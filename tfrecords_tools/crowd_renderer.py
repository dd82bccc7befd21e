"""Renders crowds with perspective from nothing but random numbers: pictures whose every head is known exactly.

A picture is planned first (`plan_scene`: camera, where people stand, what else stands about) and painted afterwards
(`paint_scene`: background, then everything that stands on the ground from far to near, then light and camera).
Lengths of a person are in heads: 1 is the height of a head from crown to chin.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

# A picture of the same seed changes when this changes; part of the fingerprint of a synthetic image.
RENDERER_VERSION = 1

MIN_SIDE = 32
# Fewer pixels than this for a person, and heads could no longer be told apart.
MIN_PIXELS_PER_PERSON = 64

_MIN_HEAD = 3.0
_CELL = 4  # the density of people is planned on cells of so many pixels
_HEAD_UNIT, _HEAD_SIDE = 56, 104  # pixels per head, and side of the square, of the largest head sprite
_BODY_UNIT, _BODY_WIDTH, _BODY_HEIGHT = 40, 144, 320
_BODY_ANCHOR = 56.0  # row of the head's center in a body sprite
_HEADS, _BODIES = 144, 72
_SHADE_ONE = 128  # value of the shade channel which means: as bright as the material

_SKIN_TONES = np.array(
    [(236, 190, 164), (222, 166, 132), (200, 140, 104), (164, 108, 76), (116, 74, 52), (74, 50, 40)], np.float32
)
_HAIR_TONES = np.array(
    [(24, 21, 21), (46, 34, 27), (82, 57, 40), (134, 92, 58), (186, 152, 102), (158, 154, 150), (122, 62, 36)],
    np.float32,
)

_PACKED = 0.6  # from this crowding on, the body of a person is not seen below the chest

# Channels of the first half of a sprite; the second half is trim, shade, alpha. What `_SECOND` is depends on the
# sprite: the hat of a head, the trousers, the bag or the pattern of a body.
_SKIN, _HAIR, _TOP, _SECOND, _TRIM = range(5)


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


@dataclasses.dataclass(frozen=True)
class Camera:
    """How the ground is seen.

    Attributes:
      horizon: row at which the ground begins; 0 or above where it fills the picture.
      ratio: size of a head at the bottom of the picture over its size at the horizon.
      squeeze: how much of its height a body keeps: 1 seen from eye level, small seen from above.
      scale: height in pixels of a head at the bottom of the picture.
    """

    horizon: float
    ratio: float
    squeeze: float
    scale: float

    def relative_size(self, rows: np.ndarray, height: int) -> np.ndarray:
        """Size of a head at the rows of a picture, over its size at the bottom."""
        depth = np.clip((rows - self.horizon) / max(height - self.horizon, 1.0), 0.0, 1.0)
        return 1.0 / self.ratio + (1.0 - 1.0 / self.ratio) * depth

    def head_size(self, rows: np.ndarray, height: int) -> np.ndarray:
        """Height in pixels of heads at the rows of a picture."""
        return self.scale * self.relative_size(np.asarray(rows, np.float64), height)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A planned picture.

    Attributes:
      height: of the picture, pixels.
      width: of the picture, pixels.
      camera: perspective.
      points: (people, 2) float32, (x, y) of the centers of the heads.
      clutter: things among the people.
      seeds: of the background, the people and the camera's faults: each part has its own random numbers, so that
        a picture without people differs from the one with them by the people alone.
      light: how the sun stands: 1 left, -1 right.
    """

    height: int
    width: int
    camera: Camera
    points: np.ndarray
    clutter: tuple[Clutter, ...]
    seeds: tuple[int, int, int]
    light: int


def render_crowd(rng: np.random.Generator, people: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders a picture of a crowd.

    Args:
      rng: source of everything that is random in the picture.
      people: number of heads to show.
      height: of the picture, pixels.
      width: of the picture, pixels.

    Returns:
      The picture, (height, width, 3) uint8 RGB, and the points, (people, 2) float32 (x, y), the centers of the
      heads, all inside the picture.

    Raises:
      ValueError: if the picture is too small, for itself or for so many people, or `people` is negative.

    Example:
      >>> picture, points = render_crowd(np.random.default_rng(0), people=300, height=384, width=512)
    """
    scene = plan_scene(rng, people, height, width)
    return paint_scene(scene), scene.points


def plan_scene(rng: np.random.Generator, people: int, height: int, width: int) -> Scene:
    """Decides on camera, places of people and things; arguments and errors as in `render_crowd`."""
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"`height` and `width` must be at least {MIN_SIDE}. Received: height={height}, width={width}.")
    if not 0 <= people <= height * width // MIN_PIXELS_PER_PERSON:
        raise ValueError(
            f"`people` must be between 0 and height * width / {MIN_PIXELS_PER_PERSON} = "
            f"{height * width // MIN_PIXELS_PER_PERSON}. Received: people={people}."
        )
    seeds = rng.integers(2**62, size=3)
    camera, packing = _plan_camera(rng, people, height, width)
    light = 1 if rng.random() < 0.5 else -1
    coverage = _plan_coverage(rng, camera, height, width)
    # An empty place is seen from as far away as one with people would be.
    company = people if people else int(10 ** rng.uniform(1, 2.5))
    camera = _fit_scale(camera, coverage, company, packing, height)
    clutter = _plan_clutter(rng, camera, height, width)
    coverage = _clear_of(clutter, coverage, height, width)
    camera = _fit_scale(camera, coverage, company, packing, height)
    points = _place_people(rng, camera, coverage, people, height, width)
    return Scene(
        height=height,
        width=width,
        camera=camera,
        points=points,
        clutter=clutter,
        seeds=(int(seeds[0]), int(seeds[1]), int(seeds[2])),
        light=light,
    )


def paint_scene(scene: Scene, with_people: bool = True) -> np.ndarray:
    """Paints a planned scene.

    Args:
      scene: what to paint.
      with_people: whether to paint the people; without them the same place is shown empty.

    Returns:
      The picture, (height, width, 3) uint8 RGB.
    """
    return _develop(np.random.default_rng(scene.seeds[2]), paint_canvas(scene, with_people))


def paint_canvas(scene: Scene, with_people: bool = True) -> np.ndarray:
    """Paints what is in front of the camera, before the camera's exposure, blur and noise.

    Args:
      scene: what to paint.
      with_people: whether to paint the people; without them the same place is shown empty.

    Returns:
      (height, width, 3) float32 RGB, about 0 to 255.
    """
    canvas = _paint_background(np.random.default_rng(scene.seeds[0]), scene)
    points = scene.points if with_people else scene.points[:0]
    _paint_crowd(np.random.default_rng(scene.seeds[1]), canvas, scene, points)
    return canvas


def encode_jpeg(rng: np.random.Generator, picture: np.ndarray) -> bytes:
    """Encodes an RGB picture as JPEG with a random quality between 60 and 95: its artifacts belong to the picture."""
    quality = int(rng.integers(60, 96))
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


# ---------------------------------------------------------------------------------------------------------------------
# Planning
# ---------------------------------------------------------------------------------------------------------------------


def _plan_camera(rng: np.random.Generator, people: int, height: int, width: int) -> tuple[Camera, float]:
    """Draws a camera, and how many people are to stand on a square with the side of a head."""
    view = rng.choice(3, p=(0.15, 0.35, 0.5))
    if view == 0:  # steeply from above
        horizon, ratio, squeeze = -0.05, rng.uniform(1.0, 1.6), rng.uniform(0.35, 0.8)
    elif view == 1:  # from a stage or a balcony: ground or crowd up to the upper edge
        horizon, ratio, squeeze = rng.uniform(-0.05, 0.06), rng.uniform(1.4, 4.0), rng.uniform(0.7, 1.0)
    else:  # with something behind the crowd
        horizon, ratio, squeeze = rng.uniform(0.08, 0.5), rng.uniform(2.5, 10.0), rng.uniform(0.85, 1.0)
    largest = min(height, width) * rng.uniform(0.06, 0.3)
    packing = rng.uniform(0.3, 1.15) if people > 80 or rng.random() < 0.5 else rng.uniform(0.01, 0.25)
    return Camera(horizon * height, ratio, squeeze, largest), packing


def _plan_coverage(rng: np.random.Generator, camera: Camera, height: int, width: int) -> np.ndarray:
    """Returns where people may stand, a (rows, columns) density between 0 and 1 with gaps and gradients."""
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    center = (np.arange(rows)[:, None] + 0.5) * _CELL
    border = camera.horizon + 0.03 * height * (1 + _noise(rng, 1, columns, max(columns // 6, 2)))
    coverage = np.clip((center - border) / _CELL, 0, 1)
    if rng.random() < 0.45:  # groups and gaps
        field = _noise(rng, rows, columns, max(rows // int(rng.integers(3, 9)), 2))
        coverage = coverage * np.clip((field + rng.uniform(-0.1, 1.6)) * rng.uniform(1.0, 5.0), 0.02, 1.0)
    if rng.random() < 0.4:  # thins out towards one side
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.linspace(-1, 1, rows)[:, None] * np.sin(angle) + np.linspace(-1, 1, columns) * np.cos(angle)
        coverage = coverage * np.clip(0.55 + rng.uniform(0.3, 0.8) * slope, 0.03, 1.0)
    return coverage


def _clear_of(clutter: Sequence[Clutter], coverage: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the coverage without the places behind things: nobody's head may be hidden by one."""
    clear = coverage
    for thing in clutter:
        free = cv2.resize(1 - _whole(thing, height, width), coverage.shape[::-1], interpolation=cv2.INTER_AREA)
        clear = clear * (free > 0.7)
    # A picture full of things has no place for people: then they may stand anywhere.
    return clear if clear.sum() > 0.2 * coverage.sum() else coverage


def _whole(thing: Clutter, height: int, width: int) -> np.ndarray:
    """The mask of a thing, in the picture."""
    mask = np.zeros((height, width), np.float32)
    box = _Box.around(thing.left, thing.top, thing.mask.shape[1], thing.mask.shape[0], height, width)
    if box is not None:
        mask[box.rows, box.columns] = thing.mask[box.source_rows, box.source_columns]
    return mask


def _fit_scale(camera: Camera, coverage: np.ndarray, people: int, packing: float, height: int) -> Camera:
    """Returns the camera with heads so small that all people find a place with the packing asked for."""
    for _ in range(8):
        squares = _squares(camera, coverage, height)
        scale = min(camera.scale, np.sqrt(packing * squares / max(people, 1)))
        if scale / camera.ratio >= _MIN_HEAD or camera.ratio == 1.0:
            break
        # Heads of less than three pixels cannot be seen, so the perspective gets flatter instead.
        camera = dataclasses.replace(camera, ratio=max(1.0, camera.ratio * 0.75))
    return dataclasses.replace(camera, scale=max(scale, _MIN_HEAD * 1.2))


def _squares(camera: Camera, coverage: np.ndarray, height: int) -> float:
    """The covered area, measured in squares whose side is a head where they lie, for a camera of scale 1."""
    rows = (np.arange(coverage.shape[0]) + 0.5) * _CELL
    return float((coverage / camera.relative_size(rows, height)[:, None] ** 2).sum() * _CELL**2)


def _place_people(
    rng: np.random.Generator, camera: Camera, coverage: np.ndarray, people: int, height: int, width: int
) -> np.ndarray:
    """Throws people onto the ground, none where it would cover the head of another, closer where there is no room."""
    # With the exponent 2, heads overlap as much far away as nearby; seen at a flat angle they overlap more far away.
    size = camera.relative_size((np.arange(coverage.shape[0]) + 0.5) * _CELL, height)[:, None]
    weight = coverage / size ** rng.uniform(2.0, 2.7)
    cumulative = np.cumsum(weight)
    in_rows = rng.random() < 0.15  # seats and steps
    placed: list[tuple[float, float]] = []
    reach = rng.uniform(0.35, 0.75)
    while len(placed) < people:
        # With every round people may stand closer, in the end anywhere: the number is a promise.
        taken = _taken(placed, camera, reach, height, width)
        cells = np.searchsorted(cumulative, rng.random(3 * people + 30) * cumulative[-1], side="right")
        cells = np.minimum(cells, weight.size - 1)
        x = (cells % weight.shape[1] + rng.random(cells.size)) * _CELL
        y = (cells // weight.shape[1] + rng.random(cells.size)) * _CELL
        if in_rows:
            y = _snap_to_rows(y, camera, height) + rng.normal(0, 0.06, y.size) * camera.head_size(y, height)
        x, y = np.clip(x, 0.5, width - 1.0), np.clip(y, 0.5, height - 1.0)
        for column, row, size in zip(x.tolist(), y.tolist(), camera.head_size(y, height).tolist()):
            if len(placed) == people:
                break
            if not taken[int(row), int(column)]:
                placed.append((column, row))
                _take(taken, column, row, size * reach)
        reach *= 0.87
    return np.array(placed, np.float32).reshape(-1, 2)


def _taken(placed: list[tuple[float, float]], camera: Camera, reach: float, height: int, width: int) -> np.ndarray:
    """A mask of the surroundings of the people placed so far."""
    taken = np.zeros((height, width), np.uint8)
    for column, row in placed:
        _take(taken, column, row, float(camera.head_size(np.array(row), height)) * reach)
    return taken


def _take(taken: np.ndarray, column: float, row: float, radius: float) -> None:
    if radius >= 1.0:
        cv2.ellipse(taken, (round(column), round(row)), (round(radius * 0.95), round(radius)), 0, 0, 360, 1, -1)
    elif radius >= 0.35:
        taken[int(row), int(column)] = 1


def _snap_to_rows(y: np.ndarray, camera: Camera, height: int) -> np.ndarray:
    """Moves rows of pixels to rows of seats, 1.3 heads apart."""
    seats = [float(height)]
    while seats[-1] > 0:
        seats.append(seats[-1] - max(1.3 * float(camera.head_size(np.array(seats[-1]), height)), 2.0))
    ascending = np.array(seats[::-1])
    return ascending[np.clip(np.searchsorted(ascending, y), 0, len(seats) - 1)]


# ---------------------------------------------------------------------------------------------------------------------
# Noise, colors, boxes
# ---------------------------------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Smooth noise, (height, width) float32, of about unit variance, whose spots are `cell` pixels wide."""
    grid = rng.standard_normal((max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)), np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _rough(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Noise with finer and weaker noise upon it, of about unit variance."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        total += 0.6**octave * _noise(rng, height, width, max(cell / 2.5**octave, 1.0))
    return total / 1.2


def _color(rng: np.random.Generator, saturation: float, low: float, high: float) -> np.ndarray:
    """A random RGB color, (3,) float32, of a saturation up to the one given and a value between `low` and `high`."""
    return _colors(rng, np.full(1, saturation), np.full(1, low), np.full(1, high))[0]


def _colors(rng: np.random.Generator, saturation: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Random RGB colors, (n, 3) float32, of saturations up to those given and values between `low` and `high`.

    Paint and cloth are red, orange or blue far more often than green or purple.
    """
    n = len(saturation)
    usual = np.where(rng.random(n) < 0.55, 0.3, 3.7) + rng.normal(0, 0.35, n)
    hue = np.where(rng.random(n) < 0.75, usual, rng.uniform(0, 6, n))
    ramp = np.clip(np.abs((hue[:, None] + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    value = low + (high - low) * rng.random(n)
    pale = rng.uniform(0.1, 1, n) * saturation
    return (value[:, None] * (1 - pale[:, None] * (1 - ramp))).astype(np.float32)


def _paint(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray) -> None:
    """Lays a color, (3,) or of the canvas' shape, over the canvas where the mask is 1."""
    canvas += mask[..., None] * (color - canvas)


class _Box(NamedTuple):
    """The part of a patch which lies inside a picture."""

    rows: slice
    columns: slice
    source_rows: slice
    source_columns: slice

    @classmethod
    def around(cls, left: int, top: int, wide: int, high: int, height: int, width: int) -> "_Box | None":
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
        if x1 <= x0 or y1 <= y0:
            return None
        return cls(slice(y0, y1), slice(x0, x1), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


# ---------------------------------------------------------------------------------------------------------------------
# Sprites of people
# ---------------------------------------------------------------------------------------------------------------------


class _Layers:
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
        """Mask of an ellipse with a soft edge."""
        distance = np.sqrt(((self.x - x) / radius_x) ** 2 + ((self.y - y) / radius_y) ** 2)
        return np.clip((1 - distance) * min(radius_x, radius_y) * self.unit + 0.5, 0, 1)

    def polygon(self, points: Sequence[tuple[float, float]], rounding: float = 0.1) -> np.ndarray:
        """Mask of a polygon with rounded corners."""
        mask = np.zeros(self.alpha.shape, np.float32)
        cv2.fillPoly(mask, [self._pixels(points)], 1.0)
        soft = cv2.GaussianBlur(mask, (0, 0), rounding * self.unit)
        return np.clip((soft - 0.5) * rounding * self.unit * 2.5 + 0.5, 0, 1)

    def limb(self, points: Sequence[tuple[float, float]], thickness: float) -> np.ndarray:
        """Mask of a bent thick line."""
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
        """The drawing in sizes which are halved until a head has about 3 pixels."""
        shade = np.clip(self.shade * _SHADE_ONE, 0, 255)
        light = np.dstack([self.materials[..., _TRIM] * 255, shade, self.alpha * 255])
        materials = self.materials[..., :4] * 255
        unit, anchor = float(self.unit), self.anchor
        levels = [Sprite(materials.astype(np.uint8), light.astype(np.uint8), unit, anchor)]
        while unit > 6:
            size = (-(-levels[-1].light.shape[1] // 2), -(-levels[-1].light.shape[0] // 2))
            half = [np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA)) for whole in levels[-1][:2]]
            unit, anchor = unit / 2, ((anchor[0] - 0.5) / 2, (anchor[1] - 0.5) / 2)
            levels.append(Sprite(half[0], half[1], unit, anchor))
        return tuple(levels)


@functools.lru_cache(maxsize=1)
def _people_sprites() -> tuple[list[tuple[Sprite, ...]], list[tuple[Sprite, ...]]]:
    """Heads and bodies, each in several sizes; the same in every process, as they have a seed of their own."""
    rng = np.random.default_rng(20_190_611)
    return [_draw_head(rng) for _ in range(_HEADS)], [_draw_body(rng) for _ in range(_BODIES)]


def _draw_head(rng: np.random.Generator) -> tuple[Sprite, ...]:
    center = (_HEAD_SIDE - 1) / 2
    head = _Layers(_HEAD_SIDE, _HEAD_SIDE, _HEAD_UNIT, (center, center))
    wide = rng.uniform(0.35, 0.41)
    turned_away = rng.random() < 0.42
    turn = rng.uniform(-1, 1)
    head.put(_SKIN, head.ellipse(0, 0.5, 0.2, 0.26) * (head.y < 0.66))
    oval = head.ellipse(turn * 0.2, 0.14, (wide - 0.06) * (1 - 0.25 * abs(turn)), 0.4)
    if turned_away:
        oval = np.zeros_like(oval)
        head.put(_SKIN, head.ellipse(-wide, 0.06, 0.06, 0.12) + head.ellipse(wide, 0.06, 0.06, 0.12))
    _draw_hair(rng, head, wide, oval, turned_away)
    if not turned_away:
        _draw_face(rng, head, turn)
    _shade_head(rng, head)
    _draw_hat(rng, head, wide, oval, turn)
    return head.sprites()


def _draw_hair(rng: np.random.Generator, head: _Layers, wide: float, oval: np.ndarray, turned_away: bool) -> None:
    style = rng.choice(4, p=(0.54, 0.2, 0.16, 0.1))  # short, full, long, bald
    if style == 2:
        length = rng.uniform(0.5, 0.75)
        head.put(_HAIR, head.ellipse(0, 0.12, wide + rng.uniform(0.02, 0.12), length) * (1 - oval * 0.98))
    head.put(_SKIN, head.ellipse(0, 0, wide, 0.5) * (oval if style == 2 else 1))
    if style == 3:
        head.put(_HAIR, 0.35 * head.ellipse(0, 0, wide + 0.01, 0.5) * (1 - oval) * (head.y > -0.15))
        return
    extra = (0.0, 0.05, 0.03)[style]
    low = 0.42 if turned_away else 0.46
    cap = head.ellipse(0, -0.06, wide + 0.02 + extra, low + extra) * (1 - oval)
    head.put(_HAIR, cap * np.clip((0.42 - head.y) * 8, 0, 1) if style == 0 else cap)


def _draw_face(rng: np.random.Generator, head: _Layers, turn: float) -> None:
    middle, apart = turn * 0.22, 0.14 * (1 - 0.3 * abs(turn))
    dark = rng.uniform(0.35, 0.7)
    glasses = rng.random() < 0.25
    for side in (-1, 1):
        x = middle + side * apart
        head.shade *= 1 - 0.22 * head.ellipse(x, 0.0, 0.13, 0.1)
        head.put(None, dark * head.ellipse(x, 0.02, *((0.1, 0.07) if glasses else (0.055, 0.028))))
        head.put(_HAIR, 0.6 * head.ellipse(x, -0.06, 0.09, 0.025))
    head.shade *= 1 - 0.3 * head.ellipse(middle + 0.04, 0.17, 0.05, 0.07)
    if rng.random() < 0.3:
        head.put(_HAIR, rng.uniform(0.4, 0.9) * head.ellipse(middle, 0.38, 0.26, 0.17))
    head.put(None, 0.45 * head.ellipse(middle, 0.3, 0.1, rng.uniform(0.02, 0.045)))
    if rng.random() < 0.15:
        head.put(_TRIM, head.ellipse(middle, 0.295, 0.07, 0.015))


def _shade_head(rng: np.random.Generator, head: _Layers) -> None:
    """Lights a ball from the upper left, and gives hair its strands."""
    x, y = head.x / 0.46, head.y / 0.58
    z = np.sqrt(np.clip(1 - x * x - y * y, 0.02, 1))
    facing = np.clip(-0.48 * x - 0.68 * y + 0.55 * z, 0, 1)
    head.shade *= 0.46 + 0.62 * facing
    strands = _noise(rng, _HEAD_SIDE, _HEAD_SIDE, 5) * 0.5 + cv2.resize(
        rng.standard_normal((6, 36), np.float32), (_HEAD_SIDE, _HEAD_SIDE), interpolation=cv2.INTER_CUBIC
    )
    head.shade *= 1 + 0.13 * strands * head.materials[..., _HAIR]
    head.shade *= 1 - 0.45 * np.clip((head.y - 0.42) * 6, 0, 1)


def _draw_hat(rng: np.random.Generator, head: _Layers, wide: float, oval: np.ndarray, turn: float) -> None:
    kind = rng.choice(6, p=(0.68, 0.12, 0.06, 0.05, 0.04, 0.05))  # none, cap, brim, beanie, hood, scarf
    dome = head.ellipse(0, -0.1, wide + 0.05, 0.44)
    if kind == 1:
        head.put(_SECOND, dome * np.clip((-0.1 - head.y) * 25, 0, 1))
        peak = head.ellipse(turn * 0.32, -0.11, 0.3, 0.085)
        head.outline(peak, 0.6)
        head.put(_SECOND, peak)
        head.shade *= 1 - 0.3 * peak
    elif kind == 2:
        brim = head.ellipse(0, -0.1, rng.uniform(0.52, 0.72), rng.uniform(0.14, 0.24))
        head.outline(brim, 0.7)
        head.put(_SECOND, brim)
        head.put(_SECOND, dome * (head.y < -0.1))
        head.put(None, 0.6 * dome * np.clip(1 - np.abs(head.y + 0.17) * 22, 0, 1))
    elif kind == 3:
        head.put(_SECOND, dome * np.clip((-0.06 - head.y) * 25, 0, 1))
        head.shade *= 1 + 0.12 * np.sin(head.x * 60) * head.materials[..., _SECOND]
    elif kind in (4, 5):
        cloth = head.ellipse(0, 0.04, wide + 0.1, 0.58) * (1 - oval)
        head.put(_TOP if kind == 4 else _SECOND, cloth)


def _draw_body(rng: np.random.Generator) -> tuple[Sprite, ...]:
    body = _Layers(_BODY_HEIGHT, _BODY_WIDTH, _BODY_UNIT, ((_BODY_WIDTH - 1) / 2, _BODY_ANCHOR))
    half = rng.uniform(0.78, 1.0)
    waist = half * rng.uniform(0.6, 0.85)
    _draw_legs(rng, body, waist)
    slope = rng.uniform(0.66, 0.74)
    right = [(0.22, 0.5), (half * 0.8, slope), (half, slope + 0.25), (waist, 3.3)]
    left = [(-x, y) for x, y in reversed(right)]
    torso = body.polygon(right + left)
    body.put(_TOP, torso)
    _draw_pattern(rng, body, torso, waist)
    neck = body.ellipse(0, 0.5, 0.2, rng.uniform(0.16, 0.38))
    body.put(_SKIN, neck)
    _shade_body(rng, body, half)
    for side in (-1, 1):
        _draw_arm(rng, body, side, half)
    return body.sprites()


def _draw_legs(rng: np.random.Generator, body: _Layers, waist: float) -> None:
    bare = rng.random() < 0.2
    spread = rng.uniform(0.05, 0.3)
    for side in (-1, 1):
        hip, foot = (side * waist * 0.5, 3.1), (side * (waist * 0.4 + spread * rng.random()), 6.3)
        leg = body.limb([hip, foot], 0.55)
        body.outline(leg, 0.5)
        body.put(_SKIN if bare else _SECOND, leg)
        body.put(_SECOND, leg * (body.y < 4.4))
        body.put(None, 0.8 * body.ellipse(foot[0], 6.4, 0.26, 0.14))


def _draw_pattern(rng: np.random.Generator, body: _Layers, torso: np.ndarray, waist: float) -> None:
    kind = rng.choice(7, p=(0.42, 0.1, 0.07, 0.12, 0.12, 0.12, 0.05))
    if kind == 1:  # stripes
        body.put(_TRIM, torso * (np.sin(body.y * rng.uniform(8, 22)) > 0.2))
    elif kind == 2:  # checks
        waves = np.sin(body.y * 14) + np.sin(body.x * 14)
        body.put(_SECOND, torso * np.clip(waves * 0.5 + 0.4, 0, 0.8))
    elif kind == 3:  # open jacket over a shirt
        shirt = body.polygon([(-0.2, 0.5), (0.2, 0.5), (waist * 0.35, 3.2), (-waist * 0.25, 3.2)], 0.04)
        body.put(_TRIM, shirt * torso)
        body.put(None, 0.5 * body.polygon([(-0.05, 0.7), (0.05, 0.7), (0.08, 2.2), (-0.08, 2.2)], 0.03))
    elif kind == 4:  # print
        for line in range(int(rng.integers(1, 4))):
            broad = rng.uniform(0.2, 0.5)
            letters = (np.sin(body.x * rng.uniform(20, 45)) > -0.4) & (np.abs(body.x) < broad)
            body.put(_TRIM, torso * letters * (np.abs(body.y - 1.3 - 0.3 * line) < 0.1))
    elif kind == 5:  # rucksack
        bag = body.polygon([(-0.5, 0.8), (0.5, 0.8), (0.55, 2.3), (-0.55, 2.3)])
        body.outline(bag, 0.6)
        body.put(_SECOND, bag)
    elif kind == 6:  # bare shoulders
        body.put(_SKIN, torso * (body.y < rng.uniform(0.9, 1.2)) * (np.abs(np.abs(body.x) - 0.4) > 0.08))


def _shade_body(rng: np.random.Generator, body: _Layers, half: float) -> None:
    """Lights a column from the upper left, folds the cloth, and lets the head throw its shadow on the neck."""
    across = np.clip(body.x / half, -1.2, 1.2)
    body.shade *= 0.92 - 0.28 * across - 0.22 * across**2 + 0.25 * np.clip(1.1 - body.y, 0, 0.6)
    folds = _noise(rng, _BODY_HEIGHT, _BODY_WIDTH, 16) + _noise(rng, _BODY_HEIGHT, _BODY_WIDTH * 2, 12)[:, ::2]
    body.shade *= 1 + 0.08 * folds
    body.shade *= 1 - 0.55 * body.ellipse(0.1, 0.42, 0.42, 0.4)


def _draw_arm(rng: np.random.Generator, body: _Layers, side: int, half: float) -> None:
    shoulder = (side * (half - 0.16), 0.95)
    pose = rng.choice(5, p=(0.58, 0.2, 0.1, 0.08, 0.04))
    if pose == 0:  # hanging
        elbow, hand = (side * (half + 0.02), 2.1), (side * (half - rng.uniform(-0.05, 0.25)), 3.2)
    elif pose == 1:  # bent in front
        elbow, hand = (side * (half + 0.05), 2.0), (side * rng.uniform(0, 0.35), rng.uniform(1.2, 1.9))
    elif pose in (2, 4):  # raised beside the head, so that it hides no face
        elbow, hand = (side * (half + 0.3), 0.35), (side * rng.uniform(0.75, 1.2), rng.uniform(-1.1, -0.4))
    else:  # holding something up
        elbow, hand = (side * (half + 0.12), 1.4), (side * rng.uniform(0.6, 0.9), rng.uniform(0.0, 0.5))
    sleeve = body.limb([shoulder, elbow], 0.4)
    lower = body.limb([elbow, hand], 0.26)
    body.outline(np.maximum(sleeve, lower), 0.5)
    body.put(_TOP if rng.random() < 0.5 else _SKIN, lower)
    body.put(_TOP, sleeve)
    body.shade *= 1 - 0.15 * np.maximum(sleeve, lower) * (side > 0)
    body.put(_SKIN, body.ellipse(hand[0], hand[1], 0.17, 0.19))
    if pose == 4:  # a sheet of paper, a flag
        x, y, half_width, half_height = hand[0], hand[1] - 0.35, rng.uniform(0.15, 0.32), rng.uniform(0.2, 0.4)
        corners = [(x - half_width, y - half_height), (x + half_width, y - half_height + rng.uniform(-0.1, 0.1))]
        body.put(
            _TRIM, body.polygon([*corners, (x + half_width, y + half_height), (x - half_width, y + half_height)], 0.02)
        )
    elif pose == 3:
        body.put(None, 0.9 * body.polygon([(hand[0] - 0.1, hand[1] - 0.3), (hand[0] + 0.1, hand[1] - 0.3), hand], 0.03))


# ---------------------------------------------------------------------------------------------------------------------
# Painting people
# ---------------------------------------------------------------------------------------------------------------------


# What people wear: dark, white, grey and beige, colored. The range of saturation and of brightness of each.
_CLOTH_SATURATION = np.array([0.5, 0.1, 0.35, 0.95])
_CLOTH_LOW = np.array([10, 175, 70, 60])
_CLOTH_HIGH = np.array([65, 245, 190, 225])


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
    cloth = _colors(rng, _CLOTH_SATURATION[kinds], _CLOTH_LOW[kinds], _CLOTH_HIGH[kinds])
    team = rng.random(len(cloth)) < rng.choice([0.0, 0.15, 0.6], p=(0.6, 0.25, 0.15))
    cloth[team] = _color(rng, 1.0, 60, 240) * rng.uniform(0.8, 1.1, (int(team.sum()), 1))
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


def _paint_crowd(rng: np.random.Generator, canvas: np.ndarray, scene: Scene, points: np.ndarray) -> None:
    """Paints people and things from far to near."""
    head_colors, body_colors = _dress(rng, len(points))
    # Weaker haze towards the viewer; where the ground is seen from above, there is none.
    haze_color, haze = _color(rng, 0.15, 150, 235), rng.choice([0.0, rng.uniform(0, 0.45)], p=(0.5, 0.5))
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
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    squares = np.zeros((rows, columns), np.float32)
    cells = (points / _CELL).astype(int)
    np.add.at(squares, (cells[:, 1], cells[:, 0]), (sizes / _CELL) ** 2)
    around = max(1.5 * float(np.median(sizes)) / _CELL, 0.5)
    blurred = np.asarray(cv2.GaussianBlur(squares, (0, 0), around, borderType=cv2.BORDER_REFLECT))
    before = np.minimum((points[:, 1] + 2 * sizes) / _CELL, rows - 1).astype(int)
    return np.minimum(1.0, 2.0 * blurred[before, cells[:, 0]])


def _paint_person(
    rng: np.random.Generator,
    canvas: np.ndarray,
    scene: Scene,
    colors: tuple[np.ndarray, np.ndarray],
    place: tuple[float, float, float, float],
    shades: tuple[float, np.ndarray],
) -> None:
    heads, bodies = _people_sprites()
    x, y, size, crowding = place
    size *= min(max(rng.normal(1, 0.08), 0.8), 1.25)
    squeeze = min(1.0, scene.camera.squeeze * rng.uniform(0.92, 1.08))
    dim = 0.85 * crowding * rng.uniform(0.6, 1.0)
    # In a packed crowd the next row of people covers everything from the chest down.
    below = 6.6 if crowding < _PACKED else 3.4
    stamp = _Stamp(x, y, size, squeeze, scene.light, rng.normal(0, 0.07), colors[1], *shades, below, dim)
    _stamp(canvas, bodies[rng.integers(_BODIES)], stamp)
    tilt = min(max(rng.normal(0, 0.16), -0.45), 0.45)
    stamp = stamp._replace(colors=colors[0], squeeze=1.0, tilt=tilt, below=1.0, dim=0.0)
    _stamp(canvas, heads[rng.integers(_HEADS)], stamp)


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
    shade = 1 + stamp.contrast * (light[..., 1] / _SHADE_ONE - 1)
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
    box = _Box.around(thing.left, thing.top, wide, high, *canvas.shape[:2])
    if box is not None:
        source = (box.source_rows, box.source_columns)
        _paint(canvas[box.rows, box.columns], thing.mask[source], thing.picture[source])


# ---------------------------------------------------------------------------------------------------------------------
# Background
# ---------------------------------------------------------------------------------------------------------------------


def _paint_background(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paints what is behind the crowd and below it."""
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
    clouds = np.clip(0.5 * _rough(rng, height, width, max(width / 5, 4), 4) + rng.uniform(-0.4, 1.5), 0, 1)
    low = np.linspace(0.0, rng.uniform(0.2, 0.9), height, dtype=np.float32)[:, None]
    mix = np.maximum(clouds, low)[..., None]
    return (blue * (1 - mix) + white * mix) * np.float32(bright)


def _facade(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A wall with windows in floors, ledges and stains."""
    wall = _color(rng, 0.45, 60, 225)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = wall
    step_x, step_y = rng.uniform(0.04, 0.16) * width + 4, rng.uniform(9, 45)
    x, y = np.arange(width) / step_x + rng.random(), np.arange(height) / step_y + rng.random()
    glass = (np.abs(x % 1 - 0.5) < rng.uniform(0.15, 0.42))[None] & (np.abs(y % 1 - 0.5) < rng.uniform(0.2, 0.4))[
        :, None
    ]
    panes = rng.uniform(0.3, 1.5, (int(y[-1]) + 1, int(x[-1]) + 1))[np.ix_(y.astype(int), x.astype(int))]
    shine = _color(rng, 0.4, 20, 130) * panes[..., None].astype(np.float32)
    canvas[glass] = shine[glass]
    if rng.random() < 0.5:
        canvas[np.abs(y % 1) < 0.1] *= rng.uniform(0.6, 1.3)
    return canvas * (1 + 0.1 * _rough(rng, height, width, 16, 3))[..., None]


def _put_facade(rng: np.random.Generator, canvas: np.ndarray, left: int, wide: int, high: int) -> None:
    box = _Box.around(left, canvas.shape[0] - high, wide, high, *canvas.shape[:2])
    if box is not None:
        canvas[box.rows, box.columns] = _facade(rng, high, wide)[box.source_rows, box.source_columns]


def _foliage(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Leaves: small bright spots on dark, much like far heads, which a counter has to learn to tell apart."""
    green = np.array((rng.uniform(55, 105), rng.uniform(75, 115), rng.uniform(35, 70)), np.float32)
    leaf = rng.uniform(1.5, 7)
    spots = _noise(rng, height, width, leaf) + 0.7 * _noise(rng, height, width, leaf * 5)
    return green * np.clip(0.8 + 0.36 * spots, 0.2, 1.9)[..., None]


def _put_trees(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    crown = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(2, 14))):
        radius = rng.uniform(0.1, 0.4) * height + 2
        center = (int(rng.integers(0, width)), int(height - radius * rng.uniform(0.3, 1.6)))
        cv2.ellipse(crown, center, (int(radius * rng.uniform(0.7, 1.6)), int(radius)), 0, 0, 360, 1.0, -1)
    ragged = cv2.GaussianBlur(crown, (0, 0), 4) + 0.14 * _rough(rng, height, width, 10, 2)
    _paint(canvas, np.clip((ragged - 0.5) * 6 + 0.5, 0, 1), _foliage(rng, height, width))


def _seats(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A stand with rows of empty seats."""
    pitch = rng.uniform(4, 16)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / (pitch * 1.1), x / pitch
    round_x, round_y = np.abs(x % 1 - 0.5) / 0.36, np.abs(y % 1 - 0.5) / 0.36
    back = np.clip((1.1 - (round_x**3 + round_y**3)) * pitch * 0.3, 0, 1)
    vary = rng.uniform(0.75, 1.2, (int(y.max()) + 1, int(x.max()) + 1)).astype(np.float32)
    seats = vary[y.astype(int), x.astype(int)] * (1.15 - 0.5 * (y % 1))
    concrete = _color(rng, 0.1, 60, 160) * np.ones((height, width, 1), np.float32)
    _paint(concrete, back * (x % rng.integers(12, 40) > 1.5), _color(rng, 0.9, 70, 220) * seats[..., None])
    return concrete * (1 + 0.06 * _rough(rng, height, width, 30, 3))[..., None]


def _hall(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A dark room with lamps and beams of light."""
    canvas = _color(rng, 0.7, 10, 90) * np.ones((height, width, 1), np.float32)
    canvas *= (1 + 0.4 * _rough(rng, height, width, max(width / 4, 4), 3))[..., None]
    lamps = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(3, 40))):
        spot = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(lamps, spot, int(rng.integers(1, 5)), 1.0, -1)
    glow = np.clip(lamps + 3 * cv2.GaussianBlur(lamps, (0, 0), 6), 0, 1)
    _paint(canvas, glow, _color(rng, 0.5, 200, 255))
    return np.maximum(canvas, 4)


def _put_poles(rng: np.random.Generator, canvas: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 5))):
        x, thick = int(rng.integers(0, width)), int(rng.integers(1, 5))
        color = _color(rng, 0.3, 20, 160).tolist()
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
    stains = _rough(rng, len(rows), scene.width, max(scene.width / 6, 4), 3)
    return ground * (1 + 0.08 * stains)[..., None]


def _ground_tile(rng: np.random.Generator, side: int) -> np.ndarray:
    """A square of asphalt, grass, paving, earth, pebbles or marked floor."""
    kind = rng.choice(6, p=(0.28, 0.2, 0.2, 0.12, 0.1, 0.1))
    fine = _rough(rng, side, side, 12, 3)
    if kind == 1:
        green = np.array((rng.uniform(85, 125), rng.uniform(95, 130), rng.uniform(55, 90)), np.float32)
        return green * (1 + 0.12 * _rough(rng, side, side, 5, 2))[..., None]
    if kind == 3:
        return np.array((165, 138, 105), np.float32) * rng.uniform(0.6, 1.2) * (1 + 0.08 * fine)[..., None]
    if kind == 4:  # round bright spots on dark
        spots = np.clip(0.8 + 0.3 * _noise(rng, side, side, rng.uniform(3, 9)), 0.2, 1.6)
        return _color(rng, 0.3, 70, 170) * spots[..., None]
    tile = _color(rng, 0.15, 60, 200) * (1 + 0.05 * fine)[..., None]
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
            cv2.line(tile, start, end, _color(rng, 0.6, 180, 250).tolist(), int(rng.integers(2, 8)))
    return tile.astype(np.float32)


def _cast_shadows(rng: np.random.Generator, ground: np.ndarray) -> None:
    """Darkens the ground with patches of shade of what is out of sight."""
    if rng.random() < 0.3:
        height, width = ground.shape[:2]
        field = _rough(rng, height, width, width / rng.uniform(1.5, 5), 2)
        shade = np.clip((field - rng.uniform(0, 1)) * 3, 0, 1)
        ground *= (1 - rng.uniform(0.2, 0.6) * shade)[..., None]


# ---------------------------------------------------------------------------------------------------------------------
# Clutter
# ---------------------------------------------------------------------------------------------------------------------


def _plan_clutter(rng: np.random.Generator, camera: Camera, height: int, width: int) -> tuple[Clutter, ...]:
    """Puts a few things into the scene, in proportion to the people beside them."""
    things = []
    for _ in range(rng.choice([0, 2, 4, 8], p=(0.25, 0.3, 0.3, 0.15))):
        draw, high, wide = _CLUTTER[rng.integers(len(_CLUTTER))]
        x, y = rng.uniform(0, width), rng.uniform(max(0.0, camera.horizon * 0.6), height)
        head = float(camera.head_size(np.array(y), height))
        shrink = min(1.0, 0.3 * min(height, width) / (head * max(high, wide)))
        size = (max(3, round(high * head * shrink)), max(3, round(wide * head * shrink)))
        picture = np.zeros((*size, 3), np.uint8)
        mask = np.zeros(size, np.uint8)
        draw(rng, picture, mask)
        # Some texture, as nothing real is of one flat color.
        shaded = picture * (1 + 0.12 * _rough(rng, *size, max(size) / 4))[..., None]
        left, top = round(x - size[1] / 2), round(y - size[0] / 2)
        base = top + size[0] - min(size[0] / 2, 3 * head)
        things.append(Clutter(shaded.astype(np.float32), mask.astype(np.float32) / 255, left, top, base))
    return tuple(things)


def _fill(rng: np.random.Generator, low: float = 30, high: float = 240, saturation: float = 0.9) -> tuple[int, ...]:
    return tuple(int(value) for value in _color(rng, saturation, low, high))


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
    ragged = mask + 120 * _noise(rng, high, wide, 3)
    mask[:] = np.where(ragged > 128, mask, 0)
    picture[:] = np.clip(_foliage(rng, high, wide), 0, 255).astype(np.uint8)


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


# ---------------------------------------------------------------------------------------------------------------------
# Camera
# ---------------------------------------------------------------------------------------------------------------------


def _develop(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """What light and camera do to the picture: exposure, color cast, blur, sharpening, noise; sometimes no color."""
    height, width = canvas.shape[:2]
    warmth = rng.normal(0, 0.07)
    picture = canvas * np.array((1 + warmth, 1.0, 1 - warmth), np.float32)
    if rng.random() < 0.08:  # the light of a stage, of street lamps, of an old film
        tint = _color(rng, 0.9, 255, 255) / 255
        picture *= tint / tint.mean()
    if rng.random() < 0.3:  # light falls off towards a corner, or the lens is poor
        slope = _noise(rng, height, width, max(height, width))
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
