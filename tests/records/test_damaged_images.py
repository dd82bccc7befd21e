"""What decoders complain of, what is not read at all, and samples of more than 8 bits."""

import os
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.records.files import READ, chunk, encode, jpeg_header, noise, picture, wide_png, with_hole
from tfcount.records import headers, images
from tfcount.serving.decoding import eight_bits


def save(folder, name, content):
    (folder / name).write_bytes(content)
    return str(folder / name)


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}])
def test_damage_that_only_the_decoder_sees(options, tmp_path, capfd):
    """libjpeg makes an image of it, and tells of the damage on standard error alone."""
    content = bytearray(encode("JPEG", noise(), **options))
    place = len(content) // 2
    content[place : place + 400] = content[place + 1000 : place + 1400][::-1].replace(b"\xff", b"\x11")
    path = save(tmp_path, "a.jpg", bytes(content))
    assert tf.io.decode_image(bytes(content)).shape == (96, 128, 3)
    assert "Corrupt JPEG data" in capfd.readouterr().err
    for read in (images.read_pixels, images.read_encoded):
        with pytest.raises(
            ValueError, match=r"a.jpg cannot be read as an image: it is damaged.*\(Corrupt JPEG data: .*\)"
        ):
            read(path)
    assert capfd.readouterr().err == ""


def test_a_few_bytes_behind_the_last_pixel_are_a_warning_that_names_the_file(tmp_path, capfd):
    content = encode("JPEG")
    path = save(tmp_path, "a.jpg", content[:-2] + bytes([17] * 5) + content[-2:])
    with pytest.warns(UserWarning, match=r"a.jpg: Corrupt JPEG data: [1-5] extraneous bytes before marker 0xd9"):
        pixels = images.read_pixels(path)
    np.testing.assert_array_equal(pixels, tf.io.decode_image(content))
    capfd.readouterr()


def test_what_others_write_meanwhile_is_passed_on(tmp_path, capfd, monkeypatch):
    def decode(header, encoded):
        os.write(2, b"of somebody else\n")
        return picture()

    monkeypatch.setattr(images, "_decode_as", decode)
    images.read_pixels(save(tmp_path, "a.jpg", READ["rgb.jpg"]))
    assert capfd.readouterr().err == "of somebody else\n"


def test_flat_images_are_no_damage(tmp_path):
    """Their compressed pixels are long rows of zeros, if an encoder fits its codes to them."""
    for options in ({}, {"optimize": True}, {"progressive": True}):
        for mode in ("RGB", "L"):
            pixels = np.full((600, 800, 3), 128, np.uint8)
            path = save(tmp_path, "a.jpg", encode("JPEG", pixels, mode, **options))
            assert images.read_pixels(path).shape == (600, 800, 3)


@pytest.mark.parametrize("length", [300, 2_000, 20_000])
def test_holes_are_found_in_the_bytes(length):
    pixels = np.random.default_rng(2).integers(0, 256, (300, 400, 3), np.uint8)
    content = with_hole(encode("JPEG", pixels), length)
    assert headers.read_header(content).reason == headers.DAMAGED


@pytest.mark.parametrize("limit, reason", [(0.003, "has 64 x 48 pixels, more than 0.003 megapixels"), (0.0031, "")])
@pytest.mark.parametrize("name", ["rgb.jpg", "rgb.png", "a.bmp", "a.tif", "a.webp", "large_format.webp"])
def test_the_size_is_in_the_header(name, limit, reason):
    header = headers.read_header(READ[name], limit)
    assert (header.height, header.width, header.reason) == (48, 64, reason)


def test_the_limit_of_builds(tmp_path):
    path = save(tmp_path, "a.png", READ["rgb.png"])
    with images.pixel_limit(0.003):
        for read in (images.read_encoded, lambda path: images.decode_file(READ["rgb.png"], path)):
            with pytest.raises(ValueError, match=r"a.png .* more than 0.003 megapixels.*remove it together"):
                read(path)
        assert images.read_encoded(path, max_megapixels=1).width == 64
    assert images.read_encoded(path).encoded == READ["rgb.png"]
    with (
        pytest.raises(ValueError, match=r"max_megapixels must be above 0 and at most 500.*Received: 0"),
        images.pixel_limit(0),
    ):
        pass


def test_no_limit_lets_pass_what_decoders_cannot_have(tmp_path):
    path = save(tmp_path, "a.jpg", jpeg_header(65_500, 65_500))
    with pytest.raises(ValueError, match=r"more than 500 megapixels"):
        images.read_pixels(path, max_megapixels=headers.MOST_MEGAPIXELS)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(2 << 30)
    (tmp_path / "folder.jpg").mkdir()
    for path, words in (
        (tmp_path / "pipe.jpg", "is no regular file"),
        (tmp_path / "folder.jpg", "is no regular file"),
        ("/dev/zero", "is no regular file"),
        (tmp_path / "sparse.jpg", r"has 2.1 GB, more than image files have"),
    ):
        for read in (images.read_pixels, images.read_encoded):
            with pytest.raises(ValueError, match=words):
                read(path)
    with pytest.raises(FileNotFoundError, match=r"/dev/zero' is no file"):
        images.find_images(["/dev/zero"])


@pytest.mark.parametrize(
    "maximum, significant, shift",
    [
        (65_535, 0, 8),
        (16_384, 0, 8),
        (16_383, 0, 6),
        (4_095, 0, 4),
        (1_000, 0, 2),
        (255, 0, 0),
        (0, 0, 0),
        (1_000, 12, 4),
        (4_096, 12, 8),
        (100, 5, 8),
        (31, 5, 0),
        (1_000, 16, 8),
    ],
)
def test_samples_are_scaled_by_the_bits_in_use(maximum, significant, shift):
    samples = np.array([[0, maximum // 2, maximum]], np.uint16)
    expected = (samples >> shift).astype(np.uint8)
    np.testing.assert_array_equal(images.eight_bits(samples, significant), expected)
    np.testing.assert_array_equal(eight_bits(tf.constant(samples), tf.constant(significant)), expected)


@pytest.mark.parametrize("significant", [None, 12])
def test_twelve_bits_in_a_png_of_sixteen(significant, tmp_path):
    samples = picture().astype(np.uint16)[..., ::-1] << 4
    path = save(tmp_path, "a.png", wide_png(samples, significant))
    np.testing.assert_array_equal(images.read_pixels(path), picture())
    record = images.read_encoded(path)
    np.testing.assert_array_equal(images.decode_image(record.encoded), picture())
    assert record.encoded[24] == 8


def test_endless_parts_are_refused():
    jpeg, png = READ["rgb.jpg"], READ["rgb.png"]
    start = len(headers.PNG_START) + 25
    for content in (
        jpeg[:2] + b"\xff\xfe\0\2" * 3_000 + jpeg[2:],
        png[:start] + chunk(b"teXt", b"") * 60_000 + png[start:],
    ):
        assert headers.read_header(content).reason == headers.DAMAGED


def test_without_a_standard_error(tmp_path, monkeypatch):
    path = save(tmp_path, "a.jpg", READ["rgb.jpg"])
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(os, "dup", lambda _: (_ for _ in ()).throw(OSError()))
    assert images.read_pixels(path).shape == (48, 64, 3)
