"""Reads image files of any kind into what records hold: JPEG or PNG, 8 bits a channel, grey or RGB, upright."""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from tfcount.data import schema
from tfrecords_tools import writing

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_UPRIGHT = 1
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
    if encoded.startswith((_JPEG, _PNG)):
        # Before anything else, since OpenCV may fill what a truncated file lacks with grey.
        height, width = _decoded_size(encoded, path)
        if _is_plain(encoded):
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


def _is_plain(encoded: bytes) -> bool:
    """Whether a JPEG or PNG has 8 bits a channel, is grey or RGB, and upright."""
    try:
        return _is_plain_jpeg(encoded) if encoded.startswith(_JPEG) else _is_plain_png(encoded)
    except (struct.error, IndexError):
        # A header that only the decoders understand: what they make of it is stored instead.
        return False


def _is_plain_jpeg(encoded: bytes) -> bool:
    upright = True
    for marker, segment in _jpeg_segments(encoded):
        if marker == 0xE1 and segment.startswith(_EXIF):
            upright = upright and _exif_orientation(segment[len(_EXIF) :]) == _UPRIGHT
        # The frame headers: all of 0xC0 to 0xCF but for tables (C4, CC) and an extension (C8).
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, components = segment[0], segment[5]
            return upright and precision == 8 and components in (1, 3)
    return False


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    position = 2
    while True:
        while encoded[position + 1] == 0xFF:
            position += 1
        marker, length = encoded[position + 1], struct.unpack_from(">H", encoded, position + 2)[0]
        yield marker, encoded[position + 4 : position + 2 + length]
        position += 2 + length


def _is_plain_png(encoded: bytes) -> bool:
    depth, color = encoded[24], encoded[25]
    if depth != 8 or color not in (0, 2):
        return False
    position = len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", encoded, position)
        chunk = encoded[position + 8 : position + 8 + length]
        if kind == b"tRNS" or (kind == b"eXIf" and _exif_orientation(chunk) != _UPRIGHT):
            return False
        if kind == b"IEND":
            return True
        position += length + 12


def _exif_orientation(exif: bytes) -> int:
    """Returns how the pixels are turned and mirrored, 1 to 8: 1 is upright, and what Exif data do not tell."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return _UPRIGHT
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (entries,) = struct.unpack_from(order + "H", exif, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == _ORIENTATION:
            return value if 1 <= value <= 8 else _UPRIGHT
    return _UPRIGHT
