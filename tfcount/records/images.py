"""Image files: which kinds there are, what records hold of them, how they are decoded."""

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

# How the files of images begin that a record may hold.
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_UPRIGHT = 1


_REMEDY = "Copy it again from its source, or remove it together with its annotation."


class EncodedImage(NamedTuple):
    """An encoded image that is ready for a record.

    Attributes:
      encoded: JPEG or PNG, 8 bits a channel, grey or RGB, without rotation.
      height: of the decoded image, pixels.
      width: of the decoded image, pixels.
    """

    encoded: bytes
    height: int
    width: int


def read_encoded(path: str) -> EncodedImage:
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
    if encoded.startswith((JPEG, PNG)):
        # Before anything else, since OpenCV may fill what a truncated file lacks with grey.
        height, width = _decoded_size(encoded, path)
        if is_plain_image(encoded):
            return EncodedImage(encoded, height, width)
    pixels = decode_file(encoded, path, cv2.IMREAD_COLOR)
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    return EncodedImage(encoded, *_decoded_size(encoded, path))


def decode_file(encoded: bytes, path: str, mode: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
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


def read_pixels(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file of any kind that OpenCV knows, turned upright as its EXIF data say.

    What records hold as it is, is decoded as training, evaluation and SavedModels do: decoders round the same JPEG
    differently, by enough to change counts.

    Returns:
      `(height, width, 3)` uint8, RGB.

    Raises:
      FileNotFoundError: if the file does not exist.
      ValueError: if it is not an image, is damaged or too large.
    """
    with open(path, "rb") as file:
        encoded = file.read()
    image, reason = None, None
    try:
        if is_plain_image(encoded):
            return decode_image(encoded).numpy()
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    except (tf.errors.InvalidArgumentError, cv2.error) as error:
        reason = error
    if image is None:
        raise ValueError(
            f"{os.fspath(path)} cannot be read as an image: it is empty, damaged, too large or of an unknown kind."
        ) from reason
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG in the graph to `(height, width, 3)` uint8, RGB; grey images get three equal channels."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def list_images(folder: str) -> list[str]:
    """Returns the sorted names of the image files in a folder, without hidden ones."""
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(EXTENSIONS) and not name.startswith("."))


def find_images(arguments: Sequence[str]) -> list[str]:
    """Returns the image files among the arguments, and those directly inside the folders among them, sorted.

    Raises:
      ValueError: if a folder holds no image, or a name is not UTF-8.
      FileNotFoundError: if a path does not exist.
    """
    paths = []
    for argument in arguments:
        if os.path.isdir(argument):
            inside = [os.path.join(argument, name) for name in sorted(os.listdir(argument))]
            inside = [path for path in inside if path.lower().endswith(EXTENSIONS) and os.path.isfile(path)]
            if not inside:
                raise ValueError(f"{argument!r} holds no image ({', '.join(EXTENSIONS)}).")
            paths += inside
        elif os.path.isfile(argument):
            paths.append(argument)
        else:
            raise FileNotFoundError(f"{argument!r} does not exist.")
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{path!a} is not a name in UTF-8, which JSON files need: rename it.") from error
    return list({os.path.abspath(path): path for path in paths}.values())


def _decoded_size(encoded: bytes, path: str) -> tuple[int, int]:
    """Returns the height and width of what TensorFlow, and so training, decodes the image to."""
    try:
        height, width = tf.io.decode_image(encoded, expand_animations=False).shape[:2]
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{path} cannot be decoded by TensorFlow: it is damaged, truncated or no image. {_REMEDY}"
        ) from error
    return height, width


def is_plain_image(encoded: bytes) -> bool:
    """Whether records hold the bytes of an image file as they are: JPEG or PNG, 8 bits, grey or RGB, upright."""
    try:
        if encoded.startswith(JPEG):
            return _is_plain_jpeg(encoded)
        return encoded.startswith(PNG) and _is_plain_png(encoded)
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
    position = len(PNG)
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
