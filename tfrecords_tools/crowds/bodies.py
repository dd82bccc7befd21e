"""Draws bodies."""

import numpy as np

from tfrecords_tools.crowds.sprites import SECOND, SKIN, TOP, TRIM, Layers, Sprite
from tfrecords_tools.crowds.textures import smooth_noise

# Of the largest sprite of a body: pixels per head, width and height in pixels, row of the head's center.
_UNIT, _WIDTH, _HEIGHT, _ANCHOR = 40, 144, 320, 56.0


def draw_body(rng: np.random.Generator, detail: int = 1) -> tuple[Sprite, ...]:
    """Draws a body without its head.

    Args:
      rng: source of random numbers.
      detail: how many times more pixels the largest sprite has in height and width, for bodies beside the camera.

    Returns:
      The body in several sizes, the largest first.
    """
    height, width = detail * _HEIGHT, detail * _WIDTH
    body = Layers(height, width, detail * _UNIT, ((width - 1) / 2, detail * _ANCHOR))
    half = rng.uniform(0.78, 1.0)
    waist = half * rng.uniform(0.6, 0.85)
    _draw_legs(rng, body, waist)
    slope = rng.uniform(0.66, 0.74)
    right = [(0.22, 0.5), (half * 0.8, slope), (half, slope + 0.25), (waist, 3.3)]
    left = [(-x, y) for x, y in reversed(right)]
    torso = body.polygon(right + left)
    body.put(TOP, torso)
    _draw_pattern(rng, body, torso, waist)
    neck = body.ellipse(0, 0.5, 0.2, rng.uniform(0.16, 0.38))
    body.put(SKIN, neck)
    _shade_body(rng, body, half)
    for side in (-1, 1):
        _draw_arm(rng, body, side, half)
    return body.sprites()


def _draw_legs(rng: np.random.Generator, body: Layers, waist: float) -> None:
    bare = rng.random() < 0.2
    spread = rng.uniform(0.05, 0.3)
    for side in (-1, 1):
        hip, foot = (side * waist * 0.5, 3.1), (side * (waist * 0.4 + spread * rng.random()), 6.3)
        leg = body.limb([hip, foot], 0.55)
        body.outline(leg, 0.5)
        body.put(SKIN if bare else SECOND, leg)
        body.put(SECOND, leg * (body.y < 4.4))
        body.put(None, 0.8 * body.ellipse(foot[0], 6.4, 0.26, 0.14))


def _draw_pattern(rng: np.random.Generator, body: Layers, torso: np.ndarray, waist: float) -> None:
    kind = rng.choice(7, p=(0.42, 0.1, 0.07, 0.12, 0.12, 0.12, 0.05))
    if kind == 1:  # stripes
        body.put(TRIM, torso * (np.sin(body.y * rng.uniform(8, 22)) > 0.2))
    elif kind == 2:  # checks
        waves = np.sin(body.y * 14) + np.sin(body.x * 14)
        body.put(SECOND, torso * np.clip(waves * 0.5 + 0.4, 0, 0.8))
    elif kind == 3:  # open jacket over a shirt
        shirt = body.polygon([(-0.2, 0.5), (0.2, 0.5), (waist * 0.35, 3.2), (-waist * 0.25, 3.2)], 0.04)
        body.put(TRIM, shirt * torso)
        body.put(None, 0.5 * body.polygon([(-0.05, 0.7), (0.05, 0.7), (0.08, 2.2), (-0.08, 2.2)], 0.03))
    elif kind == 4:  # print
        for line in range(int(rng.integers(1, 4))):
            broad = rng.uniform(0.2, 0.5)
            letters = (np.sin(body.x * rng.uniform(20, 45)) > -0.4) & (np.abs(body.x) < broad)
            body.put(TRIM, torso * letters * (np.abs(body.y - 1.3 - 0.3 * line) < 0.1))
    elif kind == 5:  # rucksack
        bag = body.polygon([(-0.5, 0.8), (0.5, 0.8), (0.55, 2.3), (-0.55, 2.3)])
        body.outline(bag, 0.6)
        body.put(SECOND, bag)
    elif kind == 6:  # bare shoulders
        body.put(SKIN, torso * (body.y < rng.uniform(0.9, 1.2)) * (np.abs(np.abs(body.x) - 0.4) > 0.08))


def _shade_body(rng: np.random.Generator, body: Layers, half: float) -> None:
    """Lights a column from the upper left, folds the cloth, and lets the head throw its shadow on the neck."""
    across = np.clip(body.x / half, -1.2, 1.2)
    body.shade *= 0.92 - 0.28 * across - 0.22 * across**2 + 0.25 * np.clip(1.1 - body.y, 0, 0.6)
    (height, width), detail = body.shade.shape, body.unit / _UNIT
    folds = smooth_noise(rng, height, width, 16 * detail) + smooth_noise(rng, height, width * 2, 12 * detail)[:, ::2]
    body.shade *= 1 + 0.08 * folds
    body.shade *= 1 - 0.55 * body.ellipse(0.1, 0.42, 0.42, 0.4)


def _draw_arm(rng: np.random.Generator, body: Layers, side: int, half: float) -> None:
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
    body.put(TOP if rng.random() < 0.5 else SKIN, lower)
    body.put(TOP, sleeve)
    body.shade *= 1 - 0.15 * np.maximum(sleeve, lower) * (side > 0)
    body.put(SKIN, body.ellipse(hand[0], hand[1], 0.17, 0.19))
    if pose == 4:  # a sheet of paper, a flag
        x, y, half_width, half_height = hand[0], hand[1] - 0.35, rng.uniform(0.15, 0.32), rng.uniform(0.2, 0.4)
        corners = [(x - half_width, y - half_height), (x + half_width, y - half_height + rng.uniform(-0.1, 0.1))]
        body.put(
            TRIM, body.polygon([*corners, (x + half_width, y + half_height), (x - half_width, y + half_height)], 0.02)
        )
    elif pose == 3:
        body.put(None, 0.9 * body.polygon([(hand[0] - 0.1, hand[1] - 0.3), (hand[0] + 0.1, hand[1] - 0.3), hand], 0.03))
