import os
import pathlib
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcount.records import headers, images

HEIGHT, WIDTH = 40, 30


def picture():
    """A smooth picture, wider than high, whose corners differ: red only in the top-left one."""
    pixels = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    pixels[: HEIGHT // 2, : WIDTH // 2, 0] = 220
    return pixels


def save(path, pixels=None, mode=None, **options):
    image = Image.fromarray(picture() if pixels is None else pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return str(path)


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def decoded(image):
    pixels = tf.io.decode_image(image.encoded, channels=3, expand_animations=False).numpy()
    assert pixels.shape == (image.height, image.width, 3)
    return pixels


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.jpeg", "a.png", "Füße 群衆.jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_files_are_kept(tmp_path, name, mode):
    path = save(tmp_path / name, mode=mode)
    image = images.read_encoded(path)
    assert image.encoded == (tmp_path / name).read_bytes()
    assert (image.height, image.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_upright_exif_is_kept(tmp_path, extension):
    path = save(tmp_path / f"a{extension}", exif=orientation(1))
    assert images.read_encoded(path).encoded == (tmp_path / f"a{extension}").read_bytes()


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tiff"])
def test_exif_rotation_is_applied(tmp_path, extension):
    # 6: the stored pixels are to be turned clockwise.
    image = images.read_encoded(save(tmp_path / f"a{extension}", exif=orientation(6)))
    pixels = decoded(image)
    assert (image.height, image.width) == (WIDTH, HEIGHT)
    assert np.abs(pixels - np.rot90(picture(), -1).astype(np.float32)).mean() < 5
    assert image.encoded.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("rgba.png", "RGBA"),
        ("grey_alpha.png", "LA"),
        ("palette.png", "P"),
        ("cmyk.jpg", "CMYK"),
        ("a.bmp", "RGB"),
        ("a.tif", "RGB"),
        ("lossy.webp", "RGB"),
    ],
)
def test_other_kinds_become_png(tmp_path, name, mode):
    image = images.read_encoded(save(tmp_path / name, mode=mode))
    assert image.encoded.startswith(b"\x89PNG") and image.encoded[24:26] == bytes([8, 2])
    expected = np.asarray(Image.fromarray(picture()).convert(mode).convert("RGB"), np.float32)
    assert np.abs(decoded(image) - expected).mean() < 15


def test_transparent_palette(tmp_path):
    image = images.read_encoded(save(tmp_path / "a.png", mode="P", transparency=0))
    assert decoded(image).shape == (HEIGHT, WIDTH, 3)


def test_sixteen_bits(tmp_path):
    for pixels in (picture(), picture()[..., 0]):
        path = str(tmp_path / "a.png")
        cv2.imwrite(path, pixels.astype(np.uint16) * 257)
        image = images.read_encoded(path)
        assert image.encoded[24] == 8
        result = decoded(image)
        np.testing.assert_array_equal(result, pixels[..., ::-1] if pixels.ndim == 3 else np.stack([pixels] * 3, -1))


def test_one_bit(tmp_path):
    result = decoded(images.read_encoded(save(tmp_path / "a.png", mode="1")))
    assert set(np.unique(result)) <= {0, 255}


@pytest.mark.parametrize(
    "name", ["a.jpg", "progressive.jpg", "rotated.jpg", "a.png", "rgba.png", "a.bmp", "a.tif", "a.webp"]
)
@pytest.mark.parametrize("part", [0.5, 0.97])
def test_truncated(tmp_path, name, part):
    options = {"progressive": True} if name.startswith("progressive") else {}
    if name.startswith("rotated"):
        options["exif"] = orientation(6)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    path = save(tmp_path / name, noise, "RGBA" if name.startswith("rgba") else None, **options)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError, match=r"(damaged|truncated).*remove it") as error:
        images.read_encoded(path)
    assert path in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_unreadable(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image: it is .*remove it"):
        images.read_encoded(str(tmp_path / "a.jpg"))


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.jpg"):
        images.read_encoded(str(tmp_path / "a.jpg"))


def test_list_images(tmp_path):
    for name in ("b.JPG", "a.png", "._b.JPG", "points.csv"):
        (tmp_path / name).touch()
    assert images.list_images(str(tmp_path)) == ["a.png", "b.JPG"]


@pytest.mark.parametrize("name", ["a.jpg", "b.png"])
def test_images_are_decoded_as_in_evaluation(name, tmp_path, rng):
    path = save(tmp_path / name, rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    expected = tf.io.decode_image(pathlib.Path(path).read_bytes(), channels=3)
    np.testing.assert_array_equal(images.read_pixels(path), expected)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff"])
def test_images_are_turned_upright(name, tmp_path):
    pixels = np.full((40, 30, 3), 60, np.uint8)
    pixels[:20, :15, 0] = 220
    exif = Image.Exif()
    exif[0x0112] = 6  # The stored pixels are to be turned clockwise.
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    image = images.read_pixels(tmp_path / name)
    assert image.shape == (30, 40, 3)
    assert np.abs(image - np.rot90(pixels, -1).astype(float)).mean() < 5


def test_a_picture_too_large_to_decode(tmp_path):
    header = struct.pack(">II5B", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "a.png").write_bytes(headers.PNG_START + content)
    with pytest.raises(ValueError, match=r"a.png cannot be read as an image: it has 100000 x 100000 pixels, more"):
        images.read_pixels(tmp_path / "a.png")


def test_find_images(tmp_path):
    for name in ("b/c.jpg", "a/c.jpg", "a/x.PNG", "a/notes.txt", "a/inner.jpg/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders = [str(tmp_path / name) for name in "ab"]
    found = images.find_images([*folders, f"{tmp_path}/a/../b/c.jpg"])
    assert [os.path.relpath(path, tmp_path) for path in found] == ["a/c.jpg", "a/x.PNG", "b/c.jpg"]
    with pytest.raises(ValueError, match=r"\\udcff.jpg' is not a name in UTF-8.* rename it"):
        (tmp_path / "a" / "\udcff.jpg").touch()
        images.find_images(folders)
