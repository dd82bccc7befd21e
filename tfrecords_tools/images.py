"""Reads image files of any kind into what records hold: JPEG or PNG, 8 bits a channel, grey or RGB, upright."""

import os
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from tfcount.data import schema
from tfrecords_tools import writing

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_REMEDY = "Copy it again from its source, or remove it together with its annotation."


class Image(NamedTuple):
    """An encoded image that is ready for a record.

    Attributes:
      encoded: JPEG or PNG, 8 bits a channel, grey or RGB, without rotation.
      height: of the decoded image, pixels.
      width: of the decoded image, pixels.
    """

    encoded: bytes
    height: int
    width: int


def read_image(path: str) -> Image:
    """Reads an image file, and keeps its bytes if a record can hold them as they are.

    Everything else (16 bits, palette, alpha, CMYK, a rotation in the Exif data, BMP, TIFF, WebP) is decoded upright to
    8-bit RGB, without its alpha channel, and stored as PNG. Sixteen bits are cut to the upper eight.

    Args:
      path: of the image file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is empty, truncated, damaged or no image.
    """
    with open(path, "rb") as file:
        encoded = file.read()
    if not encoded:
        raise ValueError(f"{path} is empty. {_REMEDY}")
    if encoded.startswith((schema.JPEG, schema.PNG)):
        # Before anything else, since OpenCV may fill what a truncated file lacks with grey.
        height, width = _decoded_size(encoded, path)
        if schema.is_plain_image(encoded):
            return Image(encoded, height, width)
    pixels = decode(encoded, path, cv2.IMREAD_COLOR)
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    return Image(encoded, *_decoded_size(encoded, path))


def decode(encoded: bytes, path: str, mode: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Decodes an image with OpenCV; `path` is for the message, and `mode` one of OpenCV's `IMREAD` flags.

    Raises:
      ValueError: if it cannot be decoded.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), mode) if encoded else None
    except cv2.error as error:
        raise ValueError(f"{path} cannot be decoded as an image ({error.err}). {_REMEDY}") from error
    if pixels is None:
        raise ValueError(f"{path} cannot be decoded as an image: it is damaged or truncated. {_REMEDY}")
    return pixels


def load_points(
    image_id: str, path: str, points: np.ndarray, boxes: np.ndarray | None = None, attributes: dict | None = None
) -> writing.Loaded:
    """Reads an image whose objects are all annotated with points.

    Args:
      image_id: id of the record.
      path: of the image file.
      points: (n, 2) points (x, y) in pixels, as annotated: some may lie outside of the image.
      boxes: (n, 4) boxes of the same objects, (left, top, right, bottom) in pixels; None if there are none. A
        point that is dropped takes its box along.
      attributes: what else is known of the image.

    Raises:
      ValueError: if the image cannot be used, or `points` is not of shape (n, 2).
    """
    image = read_image(path)
    kept, clipped, dropped = writing.clip_points(points, image.height, image.width)
    record = schema.AnnotatedImage(
        image_id, image.encoded, image.height, image.width, kept, attributes=dict(attributes or {})
    )
    if boxes is not None:
        record.boxes = np.asarray(boxes, np.float32)[writing.near_image(points, image.height, image.width)]
    return writing.Loaded(record, clipped, dropped)


def list_images(folder: str) -> list[str]:
    """Returns the sorted names of the image files in a folder, without hidden ones."""
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(EXTENSIONS) and not name.startswith("."))


def fingerprint_files(*paths: str) -> str:
    """Returns a text that changes when one of the files does."""
    stats = [(os.path.abspath(path), os.stat(path)) for path in paths]
    return repr([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])


def _decoded_size(encoded: bytes, path: str) -> tuple[int, int]:
    """Returns the height and width of what TensorFlow, and so training, decodes the image to."""
    try:
        height, width = tf.io.decode_image(encoded, expand_animations=False).shape[:2]
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{path} cannot be decoded by TensorFlow: it is damaged, truncated or no image. {_REMEDY}"
        ) from error
    return height, width
