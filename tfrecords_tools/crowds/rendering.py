"""Renders pictures of crowds."""

import cv2
import numpy as np

from tfrecords_tools.crowds.background import paint_background
from tfrecords_tools.crowds.development import develop
from tfrecords_tools.crowds.people import paint_crowd
from tfrecords_tools.crowds.planning import plan_scene
from tfrecords_tools.crowds.scene import Scene

# A picture of the same seed changes when this changes; part of the fingerprint of a synthetic image.
RENDERER_VERSION = 2


def render_crowd(
    rng: np.random.Generator, people: int, height: int, width: int, close: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Renders a picture of a crowd.

    Args:
      rng: source of everything that is random in the picture.
      people: number of heads to show.
      height: of the picture, pixels.
      width: of the picture, pixels.
      close: whether the people stand beside the camera, so that their heads are as large as there is room for.

    Returns:
      The picture, (height, width, 3) uint8 RGB, and the points, (people, 2) float32 (x, y), the centers of the
      heads, all inside the picture.

    Raises:
      ValueError: if the picture is too small, for itself or for so many people, or `people` is negative.

    Example:
      >>> picture, points = render_crowd(np.random.default_rng(0), people=300, height=384, width=512)
    """
    scene = plan_scene(rng, people, height, width, close)
    return paint_scene(scene), scene.points


def paint_scene(scene: Scene, with_people: bool = True) -> np.ndarray:
    """Paints a planned scene.

    Args:
      scene: what to paint.
      with_people: whether to paint the people; without them the same place is shown empty.

    Returns:
      The picture, (height, width, 3) uint8 RGB.
    """
    return develop(np.random.default_rng(scene.seeds[2]), paint_canvas(scene, with_people))


def paint_canvas(scene: Scene, with_people: bool = True) -> np.ndarray:
    """Paints what is in front of the camera, before the camera's exposure, blur and noise.

    Args:
      scene: what to paint.
      with_people: whether to paint the people; without them the same place is shown empty.

    Returns:
      (height, width, 3) float32 RGB, about 0 to 255.
    """
    canvas = paint_background(np.random.default_rng(scene.seeds[0]), scene)
    points = scene.points if with_people else scene.points[:0]
    paint_crowd(np.random.default_rng(scene.seeds[1]), canvas, scene, points)
    return canvas


def encode_jpeg(rng: np.random.Generator, picture: np.ndarray) -> bytes:
    """Encodes an RGB picture as JPEG with a random quality between 60 and 95: its artifacts belong to the picture."""
    quality = int(rng.integers(60, 96))
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
