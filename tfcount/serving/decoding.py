"""JPEG and PNG files to pixels inside of a graph, as `tfcount.records.images` decodes them outside of it.

All that a file says of itself is read from its bytes before a decoder sees them, as in `tfcount.records.headers`.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcount.records import headers
from tfcount.records.headers import DAMAGED, EXIF, HOLE, JPEG_START, PNG_START, UPRIGHT

# For functions without branches and loops over tensors: AutoGraph would take a second for nothing.
_straight = tf.autograph.experimental.do_not_convert


class Decoded(NamedTuple):
    """What a file holds.

    Attributes:
      image: `(height, width, 3)` uint8, RGB, upright; one black pixel if there is a reason.
      reason: scalar string, why there is no image, for a sentence that begins with "it"; empty if there is one.
    """

    image: tf.Tensor
    reason: tf.Tensor


class _Header(NamedTuple):
    """What the bytes of a file say; scalars, int64 but for `reason`: see `headers.Header`."""

    height: tf.Tensor
    width: tf.Tensor
    depth: tf.Tensor
    significant: tf.Tensor
    orientation: tf.Tensor
    reason: tf.Tensor


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.float64)])
def decode_checked(encoded: tf.Tensor, max_megapixels: tf.Tensor) -> Decoded:
    """Decodes a JPEG or PNG, or tells why it cannot; no content of a file raises an error.

    Unlike `tfcount.records.images.read_pixels`, it does not hear what the decoder complains of: of a JPEG that is
    damaged in the middle the decoder makes an image all the same. What is found is what `headers` find: holes of zeros,
    and bytes that cannot be there.

    Args:
      encoded: scalar string, the bytes of the file.
      max_megapixels: scalar float64, million pixels.
    """

    def attempt(encoded):
        header = _read_header(encoded, max_megapixels)
        image = tf.cond(header.reason == "", lambda: _pixels(encoded, header), _nothing)
        return Decoded(tf.ensure_shape(image, [None, None, 3]), header.reason)

    # What fails in a graph ends it, but in a data set: that can leave out the one element that it has.
    decoded = tf.data.Dataset.from_tensors(encoded).map(attempt).ignore_errors()
    failed = Decoded(_nothing(), tf.constant(DAMAGED))
    either = decoded.concatenate(tf.data.Dataset.from_tensors(failed)).take(1)
    return Decoded(*either.get_single_element())


@_straight
def eight_bits(samples: tf.Tensor, significant: tf.Tensor) -> tf.Tensor:
    """Returns `tfcount.records.images.eight_bits` of a tensor."""
    maximum, significant = tf.cast(tf.reduce_max(samples), tf.int64), tf.cast(significant, tf.int64)
    depths = tf.constant(headers.CAMERA_DEPTHS, tf.int64)
    guessed = tf.reduce_min(tf.where(maximum < 2**depths, depths, 16))
    told = tf.where(maximum < tf.bitwise.left_shift(tf.constant(1, tf.int64), significant), significant, 16)
    shift = tf.where(significant > 0, tf.maximum(told, 8), guessed) - 8
    return tf.cast(tf.bitwise.right_shift(samples, tf.cast(shift, tf.uint16)), tf.uint8)


@_straight
def _nothing():
    return tf.zeros([1, 1, 3], tf.uint8)


@_straight
def _pixels(encoded, header):
    image = tf.cond(
        header.depth == 16,
        lambda: eight_bits(tf.io.decode_png(encoded, channels=3, dtype=tf.uint16), header.significant),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    image = tf.ensure_shape(image, [None, None, 3])
    # The eight ways to store an image: EXIF 2.3, section 4.6.4, "Orientation".
    for orientations, turn in (
        ((5, 6, 7, 8), lambda image: tf.transpose(image, [1, 0, 2])),
        ((2, 3, 6, 7), lambda image: image[:, ::-1]),
        ((3, 4, 7, 8), lambda image: image[::-1]),
    ):
        stored_so = tf.reduce_any(header.orientation == tf.constant(orientations, tf.int64))
        image = tf.cond(stored_so, lambda image=image, turn=turn: turn(image), lambda image=image: image)
    return image


@tf.function
def _read_header(encoded, max_megapixels):
    if tf.strings.substr(encoded, 0, len(JPEG_START)) == JPEG_START:
        header = _read_jpeg(tf.io.decode_raw(encoded, tf.uint8))
    elif tf.strings.substr(encoded, 0, len(PNG_START)) == PNG_START:
        header = _read_png(tf.io.decode_raw(encoded, tf.uint8))
    else:
        header = _refused(encoded)
    megapixels = tf.cast(header.height, tf.float64) * tf.cast(header.width, tf.float64) / 1e6
    sides = [tf.strings.as_string(side) for side in (header.width, header.height)]
    too_large = tf.strings.join(
        ["has ", sides[0], " x ", sides[1], " pixels, more than ", _number_text(max_megapixels), " megapixels"]
    )
    reason = tf.where((header.reason == "") & (megapixels > max_megapixels), too_large, header.reason)
    return header._replace(reason=reason)


@_straight
def _number_text(number):
    return tf.strings.regex_replace(tf.strings.as_string(number, precision=3), r"\.?0*$", "")


@_straight
def _refused(encoded):
    start = tf.strings.substr(tf.strings.join([tf.strings.substr(encoded, 0, 16), b"\0" * 16]), 0, 16)
    reason = tf.constant(headers.NO_IMAGE)
    for kind, marks in headers.OTHER_MARKS.items():
        for at, mark in marks:
            reason = tf.where(tf.strings.substr(start, at, len(mark)) == mark, headers.refusal(kind), reason)
    reason = tf.where(tf.strings.length(encoded) == 0, headers.EMPTY, reason)
    nothing = tf.constant(0, tf.int64)
    return _Header(nothing, nothing, nothing, nothing, nothing, reason)


@_straight
def _number(data, position, length, little_endian=False):
    """Returns `length` bytes as an int64; those beyond the end of the data are 0."""
    digits = tf.cast(data[position : position + length], tf.int64)
    digits = tf.pad(digits, [[0, length - tf.size(digits)]])
    digits = tf.where(little_endian, digits[::-1], digits)
    return tf.reduce_sum(digits * tf.constant([256**power for power in range(length)][::-1], tf.int64))


@_straight
def _exif_orientation(exif):
    """Returns how the pixels are stored, 1 to 8, of EXIF data; 1, upright, if they do not tell."""
    little = _number(exif, 0, 1) == ord("I")
    start = _number(exif, 4, 4, little)
    entries = exif[start + 2 : start + 2 + 12 * _number(exif, start, 2, little)]
    entries = tf.cast(tf.reshape(entries[: tf.size(entries) // 12 * 12], [-1, 12]), tf.int64)
    pairs = tf.where(little, entries[:, 0] + 256 * entries[:, 1], 256 * entries[:, 0] + entries[:, 1])
    values = tf.where(little, entries[:, 8] + 256 * entries[:, 9], 256 * entries[:, 8] + entries[:, 9])
    found = tf.concat([values[pairs == headers.ORIENTATION], [UPRIGHT]], 0)[0]
    return tf.where((found >= 1) & (found <= 8), found, UPRIGHT)


def _read_jpeg(data):
    size, zero = tf.size(data, tf.int64), tf.constant(0, tf.int64)
    position, scan, segments, orientation, first_symbol = zero + 2, zero, zero, zero, zero
    kind, depth, height, width, channels = zero, zero, zero, zero, zero
    # Segments are 0xFF, a marker, two bytes of length and the rest. Pixels begin behind the first SOS (0xDA).
    while scan == 0 and position < size and segments < headers.MOST_SEGMENTS and _number(data, position, 1) == 0xFF:
        segments += 1
        marker, length = _number(data, position + 1, 1), _number(data, position + 2, 2)
        body = data[position + 4 : position + 2 + length]
        if marker == 0xFF:
            position += 1
        else:
            # The frame: all of 0xC0 to 0xCF but for tables (C4, CC) and an extension (C8).
            if marker >= 0xC0 and marker <= 0xCF and marker != 0xC4 and marker != 0xC8 and marker != 0xCC:
                kind, depth, channels = marker, _number(body, 0, 1), _number(body, 5, 1)
                height, width = _number(body, 1, 2), _number(body, 3, 2)
            elif marker == 0xC4:
                first_symbol = _first_symbol(body, first_symbol)
            elif marker == 0xE1 and orientation == 0 and _starts_with_exif(body):
                orientation = _exif_orientation(body[len(EXIF) :])
            position += 2 + length
            if marker == 0xDA:
                scan = position
                # Where pixels of one channel stand alone, long rows of zeros may be honest.
                first_symbol = tf.where(_number(body, 0, 1) == channels, first_symbol, 0)
    reason = tf.constant("")
    if kind == 0 or scan == 0 or height == 0 or width == 0:
        reason = tf.constant(DAMAGED)
    elif kind > 0xC2:
        reason = tf.constant(headers.OTHER_JPEG)
    elif depth != 8:
        reason = tf.strings.join(["is a JPEG of ", tf.strings.as_string(depth), " bits a channel: convert it to 8"])
    elif channels != 1 and channels != 3 and channels != 4:
        reason = tf.strings.join(["is a JPEG of ", tf.strings.as_string(channels), " channels: convert it to RGB"])
    elif _is_damaged_scan(data[scan:], kind < 0xC2 and first_symbol != 0):
        reason = tf.constant(DAMAGED)
    return _Header(height, width, depth, zero, orientation, reason)


@_straight
def _starts_with_exif(body):
    start = tf.pad(body[: len(EXIF)], [[0, len(EXIF)]])[: len(EXIF)]
    return tf.reduce_all(start == np.frombuffer(EXIF, np.uint8))


def _first_symbol(tables, before):
    """Returns which symbol of AC coefficients has a code of zeros alone, in the tables with number 0.

    Codes are in the order of their symbols. 0 is the symbol that ends a block, of which flat images have many.
    """
    at, symbol, size = tf.constant(0, tf.int64), before, tf.size(tables, tf.int64)
    while at < size:
        # A byte of class and number, 16 of how many codes have how many bits, the symbols.
        if _number(tables, at, 1) == 0x10:
            symbol = _number(tables, at + 17, 1)
        at += 17 + tf.reduce_sum(tf.cast(tables[at + 1 : at + 17], tf.int64))
    return symbol


def _is_damaged_scan(scan, holes_are_damage):
    """Returns whether the compressed pixels hold what an encoder does not write; `scan` is from them to the end."""
    # Among pixels 0xFF stands before 0, before the marks of restarts, 0xD0 to 0xD7, and before itself.
    after = scan[1:]
    ends = (scan[:-1] == 0xFF) & (after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7))
    # Where nothing ends the scan, the decoder tells.
    end = tf.argmax(tf.concat([tf.cast(ends, tf.uint8), [1]], 0))
    # All that may follow a scan is from 0xC0 on.
    marker = _number(scan, end + 1, 1)
    count = end // HOLE
    highest = tf.reduce_max(tf.reshape(scan[: count * HOLE], [count, HOLE]), 1)
    return (marker > 0 and marker < 0xC0) or (holes_are_damage and tf.reduce_any(highest == 0))


def _read_png(data):
    zero, chunks = tf.constant(0, tf.int64), tf.constant(0, tf.int64)
    position, size = zero + len(PNG_START), tf.size(data, tf.int64)
    orientation, significant, ended = zero, zero, tf.constant(False)
    # Chunks are a length, a name, as many bytes and four of a checksum.
    while not ended and position < size and chunks < headers.MOST_CHUNKS:
        chunks += 1
        length, name = _number(data, position, 4), _number(data, position + 4, 4)
        if name == _name(b"IEND"):
            ended = tf.constant(True)
        elif name == _name(b"sBIT"):
            significant = tf.cast(tf.reduce_max(data[position + 8 : position + 8 + length]), tf.int64)
        elif name == _name(b"eXIf"):
            orientation = _exif_orientation(data[position + 8 : position + 8 + length])
        position += length + 12
    width, height = _number(data, 16, 4), _number(data, 20, 4)
    whole = ended & (_number(data, 12, 4) == _name(b"IHDR")) & (width > 0) & (height > 0)
    return _Header(height, width, _number(data, 24, 1), significant, orientation, tf.where(whole, "", DAMAGED))


def _name(letters):
    return int.from_bytes(letters, "big")
