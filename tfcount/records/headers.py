"""What the bytes of an image file say before it is decoded: its kind and size, and why it is not read.

`tfcount.serving.decoding` reads JPEG and PNG in the same way inside of graphs.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

JPEG, PNG, BMP, TIFF, WEBP = "JPEG", "PNG", "BMP", "TIFF", "WebP"
JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
# By what bytes files of other kinds are known, and where these stand.
OTHER_MARKS = {
    "GIF": ((0, b"GIF8"),),
    BMP: ((0, b"BM"),),
    TIFF: ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
    WEBP: ((8, b"WEBP"),),
    "HEIF or AVIF": tuple((4, b"ftyp" + brand) for brand in (b"hei", b"hev", b"mif", b"msf", b"avi")),
    "JPEG 2000": ((4, b"jP  "), (0, b"\xff\x4f\xff\x51")),
}
# Of images that are decoded, million pixels, and of those that decoders are able to.
MAX_MEGAPIXELS = 200
MOST_MEGAPIXELS = 500

EMPTY = "is empty"
DAMAGED = "is damaged or truncated"
NO_IMAGE = "is no JPEG or PNG"
OTHER_JPEG = "is a JPEG of a kind that is not read (lossless or arithmetic coding): convert it to RGB of 8 bits"
UPRIGHT = 1
ORIENTATION = 0x0112
EXIF = b"Exif\0\0"
# Samples of 16 bits often hold those of a camera in their lower bits.
CAMERA_DEPTHS = (8, 10, 12, 14)
# More parts than honest files have; so many would take minutes.
MOST_SEGMENTS = 2_000
MOST_CHUNKS = 50_000
# Zeros in a row, bytes, that no encoder writes for pixels: a part of the file that was never copied.
HOLE = 128


class Header(NamedTuple):
    """What the bytes of a file say.

    Attributes:
      kind: `JPEG`, `PNG`, `BMP`, `TIFF` or `WEBP`.
      height: as stored, pixels.
      width: as stored, pixels.
      depth: bits a channel.
      significant: how many of them a PNG says to use; 0 if it does not say it.
      orientation: how the image is stored, 1 to 8, as in EXIF; 1 is upright. Of JPEG and PNG.
      plain: whether records hold the file as it is: JPEG or PNG, 8 bits, grey or RGB, upright, without transparency.
      reason: why it is not decoded, for a sentence that begins with "it"; empty if it is.
    """

    kind: str = ""
    height: int = 0
    width: int = 0
    depth: int = 8
    significant: int = 0
    orientation: int = UPRIGHT
    plain: bool = False
    reason: str = ""


def check_limit(max_megapixels: float, name: str = "max_megapixels") -> float:
    """Returns a limit of megapixels; raises ValueError, which calls it by its name, if there can be no such limit."""
    if not 0 < max_megapixels <= MOST_MEGAPIXELS:
        raise ValueError(
            f"{name} must be above 0 and at most {MOST_MEGAPIXELS}, which decoders are able to. "
            f"Received: {max_megapixels:g}."
        )
    return max_megapixels


def read_header(encoded: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Header:
    """Reads the header of an image file; whatever its bytes are, this raises no error.

    Args:
      encoded: all bytes of the file.
      max_megapixels: larger images have a reason not to be decoded, million pixels.
    """
    if encoded.startswith(JPEG_START):
        header = _read_jpeg(encoded)
    elif encoded.startswith(PNG_START):
        header = _read_png(encoded)
    else:
        header = _read_other(encoded)
    if not header.reason and header.height * header.width / 1e6 > max_megapixels:
        size = f"{header.width} x {header.height}"
        header = header._replace(reason=f"has {size} pixels, more than {max_megapixels:g} megapixels")
    return header


def _number(data: bytes, position: int, length: int, order="big") -> int:
    """Returns some bytes as a number; those beyond the end of the data are 0."""
    return int.from_bytes(data[position : position + length].ljust(length, b"\0"), order)


def _exif_orientation(exif: bytes) -> int:
    """Returns how the image is stored, 1 to 8: 1 is upright, and what EXIF data do not tell."""
    order = "little" if exif[:1] == b"I" else "big"
    start = _number(exif, 4, 4, order)
    for entry in range(start + 2, start + 2 + 12 * _number(exif, start, 2, order), 12):
        if entry + 12 > len(exif):
            break
        if _number(exif, entry, 2, order) == ORIENTATION:
            value = _number(exif, entry + 8, 2, order)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def _read_jpeg(data: bytes) -> Header:
    position, scan, segments, orientation, first_symbol = 2, 0, 0, 0, 0
    kind = depth = height = width = channels = 0
    # Segments are 0xFF, a marker, two bytes of length and the rest. Pixels begin behind the first SOS (0xDA).
    while not scan and segments < MOST_SEGMENTS and data[position : position + 1] == b"\xff":
        segments += 1
        marker, length = _number(data, position + 1, 1), _number(data, position + 2, 2)
        body = data[position + 4 : position + 2 + length]
        if marker == 0xFF:
            position += 1
            continue
        position += 2 + length
        # The frame: all of 0xC0 to 0xCF but for tables (C4, CC) and an extension (C8).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            kind, depth, channels = marker, _number(body, 0, 1), _number(body, 5, 1)
            height, width = _number(body, 1, 2), _number(body, 3, 2)
        elif marker == 0xC4:
            first_symbol = _first_symbol(body, first_symbol)
        elif marker == 0xE1 and not orientation and body.startswith(EXIF):
            orientation = _exif_orientation(body[len(EXIF) :])
        elif marker == 0xDA:
            scan = position
            # Where pixels of one channel stand alone, long rows of zeros may be honest.
            first_symbol = first_symbol if _number(body, 0, 1) == channels else 0
    reason = ""
    if not (kind and scan and height and width):
        reason = DAMAGED
    elif kind > 0xC2:
        reason = OTHER_JPEG
    elif depth != 8:
        reason = f"is a JPEG of {depth} bits a channel: convert it to 8"
    elif channels not in (1, 3, 4):
        reason = f"is a JPEG of {channels} channels: convert it to RGB"
    elif _is_damaged_scan(data, scan, kind < 0xC2 and first_symbol != 0):
        reason = DAMAGED
    plain = orientation <= UPRIGHT and channels < 4
    return Header(JPEG, height, width, depth, 0, max(orientation, UPRIGHT), plain, reason)


def _first_symbol(tables: bytes, before: int) -> int:
    """Returns which symbol of AC coefficients has a code of zeros alone, in the tables with number 0.

    Codes are in the order of their symbols. 0 is the symbol that ends a block, of which flat images have many.
    """
    at, symbol = 0, before
    while at < len(tables):
        # A byte of class and number, 16 of how many codes have how many bits, the symbols.
        if tables[at] == 0x10:
            symbol = _number(tables, at + 17, 1)
        at += 17 + sum(tables[at + 1 : at + 17])
    return symbol


def _is_damaged_scan(data: bytes, scan: int, holes_are_damage: bool) -> bool:
    """Returns whether the compressed pixels from `scan` on hold what an encoder does not write.

    Among them 0xFF stands before 0, before the marks of restarts, 0xD0 to 0xD7, and before itself; all that may follow
    them has a marker from 0xC0 on. Where nothing ends them, the decoder tells.
    """
    end = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]").search(data, scan)
    if end and end[0][1] < 0xC0:
        return True
    pixels = np.frombuffer(data, np.uint8)[scan : end.start() if end else -1]
    pixels = pixels[: len(pixels) // HOLE * HOLE].reshape(-1, HOLE)
    return holes_are_damage and not pixels.any(axis=1).all()


def _read_png(data: bytes) -> Header:
    position, chunks, orientation, significant, transparent, ended = len(PNG_START), 0, UPRIGHT, 0, False, False
    # Chunks are a length, a name, as many bytes and four of a checksum.
    while not ended and position < len(data) and chunks < MOST_CHUNKS:
        chunks += 1
        length, name = _number(data, position, 4), data[position + 4 : position + 8]
        if name == b"IEND":
            ended = True
        elif name == b"tRNS":
            transparent = True
        elif name == b"sBIT":
            significant = max(data[position + 8 : position + 8 + length], default=0)
        elif name == b"eXIf":
            orientation = _exif_orientation(data[position + 8 : position + 8 + length])
        position += length + 12
    width, height, depth, color = (_number(data, *place) for place in ((16, 4), (20, 4), (24, 1), (25, 1)))
    plain = depth == 8 and color in (0, 2) and not transparent and orientation == UPRIGHT
    whole = ended and data[12:16] == b"IHDR" and width > 0 and height > 0
    return Header(PNG, height, width, depth, significant, orientation, plain, "" if whole else DAMAGED)


def _read_other(data: bytes) -> Header:
    if not data:
        return Header(reason=EMPTY)
    marks = ((kind, mark) for kind, marks in OTHER_MARKS.items() for mark in marks)
    kind = next((kind for kind, (at, mark) in marks if data.startswith(mark, at)), "")
    if kind not in _SIZES:
        return Header(kind, reason=refusal(kind) if kind else "is no JPEG, PNG, BMP, TIFF or WebP")
    height, width, reason = _SIZES[kind](data)
    if not reason and not (height and width):
        reason = DAMAGED
    return Header(kind, height, width, reason=reason)


def refusal(kind: str) -> str:
    """Returns why a file of a kind is not read."""
    return f"is a file of the kind {kind}: convert it to JPEG or PNG"


def _bmp_size(data: bytes) -> tuple[int, int, str]:
    if _number(data, 14, 4, "little") == 12:
        return _number(data, 20, 2, "little"), _number(data, 18, 2, "little"), ""
    # Rows from top to bottom have a height below 0.
    width, height = (_signed(_number(data, position, 4, "little")) for position in (18, 22))
    return abs(height), abs(width), ""


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def _tiff_size(data: bytes) -> tuple[int, int, str]:
    order = "little" if data[:1] == b"I" else "big"
    if _number(data, 2, 2, order) != 42:
        return 0, 0, refusal("BigTIFF")
    values = dict(_tiff_values(data, order))
    height, width = values.get(257, 0), values.get(256, 0)
    # Tiles are decoded whole, whatever of them belongs to the image.
    tile_height, tile_width = values.get(323, 1), values.get(322, 1)
    if values.get(339, 1) not in (1, 2):
        return 0, 0, "is a TIFF of floating-point numbers: convert it to 8 or 16 bits"
    return max(height, tile_height), max(width, tile_width), ""


def _tiff_values(data: bytes, order) -> Iterator[tuple[int, int]]:
    """Yields the tags of the first image with the first of their values, where these are whole numbers."""
    start = _number(data, 4, 4, order)
    for index in range(_number(data, start, 2, order)):
        entry = start + 2 + 12 * index
        tag, form, count = (_number(data, entry + at, size, order) for at, size in ((0, 2), (2, 2), (4, 4)))
        size = {1: 1, 3: 2, 4: 4}.get(form)
        if size is not None:
            at = entry + 8 if size * count <= 4 else _number(data, entry + 8, 4, order)
            yield tag, _number(data, at, size, order)


def _webp_size(data: bytes) -> tuple[int, int, str]:
    if _number(data, 4, 4, "little") + 8 > len(data):
        return 0, 0, DAMAGED
    form = data[12:16]
    if form == b"VP8X":
        if _number(data, 20, 1) & 2:
            return 0, 0, refusal("WebP with moving images")
        return _number(data, 27, 3, "little") + 1, _number(data, 24, 3, "little") + 1, ""
    if form == b"VP8L":
        bits = _number(data, 21, 4, "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, ""
    if form == b"VP8 ":
        return _number(data, 28, 2, "little") & 0x3FFF, _number(data, 26, 2, "little") & 0x3FFF, ""
    return 0, 0, DAMAGED


_SIZES = {BMP: _bmp_size, TIFF: _tiff_size, WEBP: _webp_size}
