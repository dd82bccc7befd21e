"""Plans a picture: camera, where people stand, what else stands about."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from tfrecords_tools.crowds.camera import Camera
from tfrecords_tools.crowds.clutter import Clutter, plan_clutter
from tfrecords_tools.crowds.compositing import Box
from tfrecords_tools.crowds.scene import CELL, Scene
from tfrecords_tools.crowds.textures import smooth_noise

MIN_SIDE = 32
# Fewer pixels than this for a person, and heads could no longer be told apart.
MIN_PIXELS_PER_PERSON = 64

_MIN_HEAD = 3.0  # pixels
# The heads of people beside the camera, over the shorter side of the picture: 40 to 120 pixels of 384.
_CLOSE_HEADS = (0.13, 0.32)


def plan_scene(rng: np.random.Generator, people: int, height: int, width: int, close: bool = False) -> Scene:
    """Decides on camera, places of people and things.

    Args:
      rng: source of everything that is random in the plan.
      people: number of heads to show.
      height: of the picture, pixels.
      width: of the picture, pixels.
      close: whether the people stand beside the camera.

    Returns:
      The scene, which `rendering.paint_scene` paints.

    Raises:
      ValueError: if the picture is too small, for itself or for so many people, or `people` is negative.
    """
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"`height` and `width` must be at least {MIN_SIDE}. Received: height={height}, width={width}.")
    if not 0 <= people <= height * width // MIN_PIXELS_PER_PERSON:
        raise ValueError(
            f"`people` must be between 0 and height * width / {MIN_PIXELS_PER_PERSON} = "
            f"{height * width // MIN_PIXELS_PER_PERSON}. Received: people={people}."
        )
    seeds = rng.integers(2**62, size=3)
    camera, packing = (_plan_close_camera if close else _plan_camera)(rng, people, height, width)
    light = 1 if rng.random() < 0.5 else -1
    coverage = (_plan_close_coverage if close else _plan_coverage)(rng, camera, height, width)
    # An empty place is seen from as far away as one with people would be.
    company = people if people else int(10 ** rng.uniform(*((0, 1) if close else (1, 2.5))))
    camera = _fit_scale(camera, coverage, company, packing, height)
    if close:
        # All things stand behind people who are so near.
        clutter = tuple(thing._replace(base=0.0) for thing in plan_clutter(rng, camera, height, width, share=0.6))
    else:
        clutter = plan_clutter(rng, camera, height, width)
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
        close=close,
    )


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


def _plan_close_camera(rng: np.random.Generator, people: int, height: int, width: int) -> tuple[Camera, float]:
    """Draws a camera beside the people, as `_plan_camera` does: nearly all look into it at eye level."""
    horizon, ratio = rng.uniform(0.15, 0.7), rng.uniform(1.0, 1.6)
    squeeze = rng.uniform(0.9, 1.0) if rng.random() < 0.85 else rng.uniform(0.6, 0.9)
    largest = min(height, width) * np.exp(rng.uniform(*np.log(_CLOSE_HEADS)))
    return Camera(horizon * height, ratio, squeeze, largest), rng.uniform(0.2, 0.6)


def _plan_close_coverage(rng: np.random.Generator, camera: Camera, height: int, width: int) -> np.ndarray:
    """Returns where the heads of people beside the camera may be: also above the horizon, not at the upper edge."""
    rows, columns = -(-height // CELL), -(-width // CELL)
    center = (np.arange(rows)[:, None] + 0.5) * CELL
    top, bottom = min(0.5 * camera.scale, 0.2 * height), rng.uniform(0.6, 1.0) * height
    return ((center >= top) & (center <= bottom)) * np.ones((rows, columns))


def _plan_coverage(rng: np.random.Generator, camera: Camera, height: int, width: int) -> np.ndarray:
    """Returns where people may stand, a (rows, columns) density between 0 and 1 with gaps and gradients."""
    rows, columns = -(-height // CELL), -(-width // CELL)
    center = (np.arange(rows)[:, None] + 0.5) * CELL
    border = camera.horizon + 0.03 * height * (1 + smooth_noise(rng, 1, columns, max(columns // 6, 2)))
    coverage = np.clip((center - border) / CELL, 0, 1)
    if rng.random() < 0.45:  # groups and gaps
        field = smooth_noise(rng, rows, columns, max(rows // int(rng.integers(3, 9)), 2))
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
    box = Box.around(thing.left, thing.top, thing.mask.shape[1], thing.mask.shape[0], height, width)
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
    rows = (np.arange(coverage.shape[0]) + 0.5) * CELL
    return float((coverage / camera.relative_size(rows, height)[:, None] ** 2).sum() * CELL**2)


def _place_people(
    rng: np.random.Generator, camera: Camera, coverage: np.ndarray, people: int, height: int, width: int
) -> np.ndarray:
    """Throws people onto the ground, none where it would cover the head of another, closer where there is no room."""
    # With the exponent 2, heads overlap as much far away as nearby; seen at a flat angle they overlap more far away.
    size = camera.relative_size((np.arange(coverage.shape[0]) + 0.5) * CELL, height)[:, None]
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
        x = (cells % weight.shape[1] + rng.random(cells.size)) * CELL
        y = (cells // weight.shape[1] + rng.random(cells.size)) * CELL
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
