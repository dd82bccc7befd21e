"""A planned picture, before it is painted."""

import dataclasses

import numpy as np

from tfrecords_tools.crowds.camera import Camera
from tfrecords_tools.crowds.clutter import Clutter

# The density of people is planned, and measured, on squares with sides of so many pixels.
CELL = 4


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
      close: whether the people stand beside the camera: heads are large, and bodies are seen whole.
    """

    height: int
    width: int
    camera: Camera
    points: np.ndarray
    clutter: tuple[Clutter, ...]
    seeds: tuple[int, int, int]
    light: int
    close: bool
