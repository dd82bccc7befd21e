"""Image files of all kinds, made of one picture: what is read of them, and what is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from tfcount.records import headers

ORIENTATION = 0x0112


def picture():
    """Returns a smooth picture `(48, 64, 3)` uint8 without symmetry."""
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC)


def encode(kind, pixels=None, mode=None, orientation=None, **options):
    """Returns the bytes of a file that Pillow writes, of `picture()` or other pixels."""
    image = Image.fromarray(picture() if pixels is None else pixels)
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def wide_png(pixels, significant=None):
    """Returns a PNG of 16 bits, with the chunk that says how many of them are significant."""
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    if significant is None:
        return encoded
    behind_header = len(headers.PNG_START) + 25
    bits = bytes([significant] * (1 if pixels.ndim == 2 else 3))
    return encoded[:behind_header] + chunk(b"sBIT", bits) + encoded[behind_header:]


def chunk(name, data):
    """Returns a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(height, width):
    """Returns a PNG of some hundred bytes that says to be so large."""
    size = chunk(b"IHDR", struct.pack(">II5B", width, height, 8, 2, 0, 0, 0))
    return headers.PNG_START + size + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_header(height, width):
    """Returns a JPEG that says to be so large."""
    encoded = encode("JPEG")
    frame = encoded.index(b"\xff\xc0")
    return encoded[: frame + 5] + struct.pack(">HH", height, width) + encoded[frame + 9 :]


def webp_header(height, width):
    """Returns the 34 bytes of a WebP that says to be so large."""
    size = struct.pack("<HH", width, height)
    return (
        b"RIFF"
        + struct.pack("<I", 26)
        + b"WEBPVP8 "
        + struct.pack("<I", 14)
        + b"\x30\x01\0\x9d\x01\x2a"
        + size
        + bytes(4)
    )


def bmp_header(height, width):
    """Returns a BMP that says to be so large."""
    encoded = encode("BMP")
    return encoded[:18] + struct.pack("<ii", width, height) + encoded[26:]


def tiff_header(height, width):
    """Returns a TIFF that says to be so large."""
    encoded = bytearray(encode("TIFF"))
    (start,) = struct.unpack_from("<I", encoded, 4)
    for entry in range(start + 2, start + 2 + 12 * encoded[start], 12):
        (tag,) = struct.unpack_from("<H", encoded, entry)
        if tag in (256, 257):
            struct.pack_into("<HII", encoded, entry + 2, 4, 1, width if tag == 256 else height)
    return bytes(encoded)


def with_hole(encoded, length=600):
    """Returns a file whose middle was never written."""
    middle = len(encoded) // 2
    return encoded[:middle] + bytes(length) + encoded[middle + length :]


def noise():
    """Returns pixels that take many bytes."""
    return np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def grey():
    """Returns a grey picture."""
    return np.asarray(Image.fromarray(picture()).convert("L"))


def translucent():
    """Returns the picture with an alpha channel."""
    return np.dstack([picture(), np.full((48, 64), 90, np.uint8)])


# What is read by name; JPEG and PNG are served, too.
READ = {
    "rgb.jpg": encode("JPEG", quality=95),
    "grey.jpg": encode("JPEG", grey()),
    "cmyk.jpg": encode("JPEG", mode="CMYK", quality=95),
    "progressive.jpg": encode("JPEG", progressive=True),
    **{f"turned_{value}.jpg": encode("JPEG", orientation=value) for value in range(1, 9)},
    "rgb.png": encode("PNG"),
    "grey.png": encode("PNG", grey()),
    "alpha.png": encode("PNG", translucent()),
    "palette.png": encode("PNG", mode="P"),
    "one_bit.png": encode("PNG", mode="1"),
    "turned.png": encode("PNG", orientation=6),
    "sixteen.png": wide_png(picture()[..., ::-1].astype(np.uint16) * 257),
    "twelve.png": wide_png(picture()[..., ::-1].astype(np.uint16) << 4),
    "twelve_said.png": wide_png(picture()[..., ::-1].astype(np.uint16) << 4, 12),
    "upper_twelve.png": wide_png(picture()[..., ::-1].astype(np.uint16) << 8, 12),
    "a.bmp": encode("BMP"),
    "a.tif": encode("TIFF"),
    "twelve.tif": cv2.imencode(".tif", picture()[..., ::-1].astype(np.uint16) << 4)[1].tobytes(),
    "a.webp": encode("WEBP", lossless=True),
    "large_format.webp": encode("WEBP", lossless=True, orientation=1),
}

# What is refused, and by what words.
REFUSED = {
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (b"no image", "is no JPEG"),
    "a.gif": (encode("GIF", mode="P"), "of the kind GIF: convert it"),
    "moving.webp": (
        encode("WEBP", save_all=True, append_images=[Image.fromarray(noise()[:48, :64])]),
        "of the kind WebP",
    ),
    "heif.jpg": (b"\0\0\0\x18ftypheic" + bytes(99), "of the kind HEIF or AVIF"),
    "floats.tif": (cv2.imencode(".tif", np.ones((8, 8), np.float32))[1].tobytes(), "(floating-point|kind TIFF)"),
    "twelve.jpg": (encode("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "12 bits a channel"),
    "lossless.jpg": (encode("JPEG").replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11"), "of a kind that is not read"),
    "two_channels.jpg": (encode("JPEG").replace(b"\0\x30\0\x40\x03", b"\0\x30\0\x40\x02"), "JPEG of 2 channels"),
    "hole.jpg": (with_hole(encode("JPEG", noise())), "damaged or truncated"),
    "hole.png": (with_hole(encode("PNG", noise())), "damaged or truncated"),
    "half.jpg": (encode("JPEG", noise())[:5000], "damaged or truncated"),
    "half.png": (encode("PNG", noise())[:5000], "damaged or truncated"),
    "large.jpg": (jpeg_header(65_500, 65_500), "65500 x 65500 pixels, more than 200 megapixels"),
    "large.png": (png_header(30_000, 20_000), "20000 x 30000 pixels, more than 200 megapixels"),
    "huge.png": (png_header(0xFFFFFFFF, 0xFFFFFFFF), "more than 200 megapixels"),
    "large.webp": (webp_header(16_000, 16_000), "(16000 x 16000 pixels|kind WebP)"),
    "large.bmp": (bmp_header(-20_000, 20_000), "(20000 x 20000 pixels|kind BMP)"),
    "large.tif": (tiff_header(30_000, 20_000), "(20000 x 30000 pixels|kind TIFF)"),
}
