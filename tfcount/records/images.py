"""Image files: which kinds there are, what records hold of them, how they are decoded."""

import contextlib
import contextvars
import os
import re
import stat
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from tfcount.records import headers
from tfcount.records.headers import MAX_MEGAPIXELS, check_limit

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

# No honest image file has more bytes.
_MOST_BYTES = 1 << 30
_REMEDY = "Copy it again from its source, or remove it together with its annotation."
# How large images may be that are built into records; sources of images do not know it.
_megapixels = contextvars.ContextVar("_megapixels", default=float(MAX_MEGAPIXELS))
# Lines of decoders that tell of damage, and of what changes no pixel.
_DAMAGE = re.compile(r"Corrupt JPEG|Premature end|Inconsistent progression|Invalid SOS|libpng error|\[ERROR")
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
# Cameras are known to write a few bytes too many behind the last pixel.
_MOST_EXTRANEOUS = 16
_DECODERS = re.compile(r"jpeg|jfif|png|tiff|webp|bmp|huffman|imdecode|SOS|DHT|DQT|marker", re.IGNORECASE)
_listening = threading.Lock()


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


@contextlib.contextmanager
def pixel_limit(max_megapixels: float) -> Iterator[None]:
    """What `read_encoded` reads inside has at most so many million pixels, wherever it is called from.

    Raises:
      ValueError: if decoders cannot have so many.
    """
    token = _megapixels.set(check_limit(max_megapixels))
    try:
        yield
    finally:
        _megapixels.reset(token)


def read_encoded(path: str, max_megapixels: float | None = None) -> EncodedImage:
    """Reads an image file, and keeps its bytes if a record can hold them as they are.

    Everything else (16 bits, palette, alpha, CMYK, a rotation in the EXIF data, BMP, TIFF, WebP) is decoded upright to
    8-bit RGB as `read_pixels` does, without its alpha channel, and stored as PNG.

    Args:
      path: of the image file.
      max_megapixels: see `read_pixels`; if None, what `pixel_limit` says.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: see `read_pixels`.
    """
    try:
        encoded = _read_file(path)
        header, pixels = _decode(encoded, path, _megapixels.get() if max_megapixels is None else max_megapixels)
    except ValueError as error:
        raise ValueError(f"{error} {_REMEDY}") from error
    if not header.plain:
        encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
    return EncodedImage(encoded, *pixels.shape[:2])


def read_pixels(path: str | os.PathLike, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Reads an image file of one of the kinds in `EXTENSIONS`, turned upright as its EXIF data say.

    JPEG and PNG are decoded as training, evaluation and SavedModels do: decoders round the same JPEG differently, by
    enough to change counts. Of samples of 16 bits the upper 8 are taken that the file uses, see `eight_bits`. A file
    that its decoder complains of is refused, and what a decoder only remarks is a warning that names the file.

    Args:
      path: of the image file.
      max_megapixels: larger images are refused before they are decoded, million pixels.

    Returns:
      `(height, width, 3)` uint8, RGB.

    Raises:
      FileNotFoundError: if the file does not exist.
      ValueError: if it is no image or no regular file, of a kind that is not read, damaged or too large.
    """
    return _decode(_read_file(path), os.fspath(path), max_megapixels)[1]


def decode_file(encoded: bytes, path: str, mode: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Decodes an image with OpenCV; `path` is for the message, and `mode` one of OpenCV's `IMREAD` flags.

    Raises:
      ValueError: if it cannot be decoded, or is larger than `pixel_limit` says.
    """
    reason = headers.read_header(encoded, _megapixels.get()).reason
    try:
        if reason:
            raise ValueError(_unreadable(path, reason))
        return _heard(path, _decode_other, encoded, mode)
    except ValueError as error:
        raise ValueError(f"{error} {_REMEDY}") from error


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG in the graph to `(height, width, 3)` uint8, RGB; grey images get three equal channels."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def eight_bits(samples: np.ndarray, significant: int = 0) -> np.ndarray:
    """Returns samples of 16 bits as uint8: the upper 8 of the bits that are in use.

    As many bits are in use as the file says, if no sample exceeds them; if one does, the file says it of the upper
    bits, as PNG asks for, and all 16 are in use. Of a file that does not say it, the smallest of 8, 10, 12, 14 (the
    depths of cameras) and 16 that no sample exceeds.

    Args:
      samples: uint16.
      significant: bits that the file says (PNG: sBIT), 0 if it does not.
    """
    maximum, depths = int(samples.max()), (significant,) if significant else headers.CAMERA_DEPTHS
    depth = next((depth for depth in depths if maximum < 1 << depth), 16)
    return (samples >> (max(depth, 8) - 8)).astype(np.uint8)


def _read_file(path):
    # Asked first, since opening a pipe waits for somebody who writes into it.
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(_unreadable(path, "is no regular file"))
    if status.st_size > _MOST_BYTES:
        raise ValueError(_unreadable(path, f"has {status.st_size / 1e9:.1f} GB, more than image files have"))
    with open(path, "rb") as file:
        return file.read()


def _decode(encoded, path, max_megapixels):
    """Returns the header and the pixels of a file; raises ValueError, which names it."""
    header = headers.read_header(encoded, check_limit(max_megapixels))
    if header.reason:
        raise ValueError(_unreadable(path, header.reason))
    return header, _heard(path, _decode_as, header, encoded)


def _decode_as(header, encoded):
    if header.kind not in (headers.JPEG, headers.PNG):
        pixels = _decode_other(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
            return None
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return pixels if pixels.dtype == np.uint8 else eight_bits(pixels)
    try:
        if header.depth == 16:
            wide = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16).numpy()
            return _turned(eight_bits(wide, header.significant), header.orientation)
        return _turned(decode_image(encoded).numpy(), header.orientation)
    except (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError):
        return None


def _decode_other(encoded, mode):
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), mode)
    except cv2.error:
        return None


def _turned(pixels, orientation):
    """Turns and mirrors pixels as EXIF 2.3 says (section 4.6.4, "Orientation")."""
    pixels = pixels.transpose(1, 0, 2) if orientation in (5, 6, 7, 8) else pixels
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
    return np.ascontiguousarray(pixels)


def _unreadable(path, reason=headers.DAMAGED):
    return f"{os.fspath(path)} cannot be read as an image: it {reason}."


def _heard(path, decode, *arguments):
    """Returns the pixels that a decoder gives; raises ValueError if it gives none or tells of damage.

    Decoders make an image of many a damaged file, and have no other way to tell of it than the standard error of the
    process. What others write there meanwhile is passed on.
    """
    lines: list[str] = []
    with _listening, _standard_error_into(lines):
        pixels = decode(*arguments)
    for line in lines:
        extraneous = _EXTRANEOUS.search(line)
        if not _DECODERS.search(line):
            sys.stderr.write(line)
        elif pixels is None:
            continue
        elif _DAMAGE.search(line) and not (extraneous and int(extraneous[1]) <= _MOST_EXTRANEOUS):
            raise ValueError(f"{_unreadable(path)[:-1]} ({line.strip()}).")
        else:
            warnings.warn(f"{os.fspath(path)}: {line.strip()}", stacklevel=4)
    if pixels is None:
        raise ValueError(_unreadable(path))
    return pixels


@contextlib.contextmanager
def _standard_error_into(lines):
    """Puts the lines that the process writes to its standard error, in whatever language, into a list."""
    try:
        terminal = os.dup(2)
    except OSError:  # There is none.
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    reading, writing = os.pipe()
    # Nobody reads before the end: what does not fit is lost, instead of waiting.
    os.set_blocking(writing, False)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        with open(reading, encoding="utf-8", errors="replace") as file:
            lines += file


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
            raise FileNotFoundError(f"{argument!r} {'is no file' if os.path.exists(argument) else 'does not exist'}.")
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{path!a} is not a name in UTF-8, which JSON files need: rename it.") from error
    return list({os.path.abspath(path): path for path in paths}.values())
