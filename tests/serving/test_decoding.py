"""The same pixels and the same counts of a file whichever way it comes in, or a reason, and no process that ends."""

import io
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import tfcount
from tests.records.files import READ, REFUSED, encode, picture
from tfcount.inference import Calibration, CountingModel
from tfcount.models import build_counter
from tfcount.records import headers, images
from tfcount.serving import decoding, savedmodel

SERVED = tuple(name for name in READ if name.endswith((".jpg", ".png")))


@pytest.fixture(scope="module")
def counter():
    keras.utils.set_random_seed(0)
    return build_counter("compact")


@pytest.fixture(scope="module")
def folder(counter, tmp_path_factory):
    return savedmodel.export(counter, str(tmp_path_factory.mktemp("savedmodels")))


@pytest.fixture(scope="module")
def model(folder):
    return tfcount.load(folder)


@pytest.fixture(scope="module")
def served(folder):
    """The answers of `serving_default` to one batch of all files."""
    files = {**READ, **{name: content for name, (content, _) in REFUSED.items()}}
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    answer = signature(image_bytes=tf.constant(list(files.values())))
    rows = zip(*(answer[key].numpy() for key in ("count", "extrapolated", "error")), strict=True)
    return dict(zip(files, rows, strict=True))


@pytest.mark.parametrize("name", READ)
def test_files_are_counted_alike(name, model, counter, served, tmp_path):
    path = tmp_path / name
    path.write_bytes(READ[name])
    count = model.count(path)
    assert count > 0
    assert model.count(images.read_pixels(path)) == count
    assert CountingModel.of_counter(counter).count(path) == pytest.approx(count, rel=1e-5)
    # What a record holds of it is counted as the file.
    record = images.read_encoded(str(path))
    assert model.count(images.decode_image(record.encoded).numpy()) == count
    found, extrapolated, error = served[name]
    if name in SERVED:
        assert error == b"" and not extrapolated
        assert found == np.float32(count)
    else:
        assert np.isnan(found) and b"convert it to JPEG or PNG" in error


@pytest.mark.parametrize("name", REFUSED)
def test_files_are_refused_by_name(name, model, served, tmp_path):
    content, words = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    for read in (images.read_pixels, model.count, lambda path: images.read_encoded(str(path))):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an image: it .*{words}"):
            read(path)
    found, extrapolated, error = served[name]
    assert np.isnan(found) and not extrapolated
    assert re.match(rf"The image .*{words}.*\.$", error.decode())


@pytest.mark.parametrize("name", ["rgb.jpg", "turned_6.jpg", "rgb.png", "turned.png", "twelve_said.png", "alpha.png"])
def test_headers_are_read_alike_inside_and_outside_of_graphs(name, rng):
    """Also where bytes are damaged: what one refuses, the other does."""
    for index in range(60):
        content = bytearray(READ[name])
        for place in rng.integers(0, min(len(content), 700), index % 4):
            content[place] = rng.integers(0, 256)
        content = bytes(content[: rng.integers(20, len(content)) if index % 5 == 4 else None])
        outside = headers.read_header(content)
        inside = decoding._read_header(tf.constant(content), tf.constant(200, tf.float64))
        assert inside.reason.numpy().decode() == outside.reason.replace(", PNG, BMP, TIFF or WebP", " or PNG")
        if outside.kind in (headers.JPEG, headers.PNG):
            found = inside.height, inside.width, inside.depth, inside.significant, max(1, int(inside.orientation))
            expected = outside.height, outside.width, outside.depth, outside.significant, outside.orientation
            assert tuple(map(int, found)) == expected


@pytest.fixture(scope="module")
def small(counter, tmp_path_factory):
    """A SavedModel of small tiles and a small limit."""
    counter.tile, tile = 64, counter.tile
    try:
        return savedmodel.export(counter, str(tmp_path_factory.mktemp("savedmodels")), max_megapixels=0.2)
    finally:
        counter.tile = tile


def test_large_images_are_counted_in_the_same_tiles(counter, small, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode("JPEG", np.tile(picture(), (6, 7, 1)), orientation=8))
    count = tfcount.load(small).count(path)
    signatures = tf.saved_model.load(small).signatures
    answer = signatures["serving_default"](image_bytes=tf.constant([path.read_bytes()]))
    assert float(answer["count"][0]) == np.float32(count)
    assert count == pytest.approx(CountingModel.of_counter(counter).count(path), rel=1e-4)
    density = signatures["density"](image=tf.constant(images.read_pixels(path)[None]))
    assert float(density["count"][0]) == np.float32(count)


def test_the_limit_of_an_export_is_that_of_its_graph_and_of_load(small, run, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode("PNG", np.zeros((400, 600, 3), np.uint8)))
    signature = tf.saved_model.load(small).signatures["serving_default"]
    answer = signature(image_bytes=tf.constant([path.read_bytes(), READ["rgb.png"]]))
    assert answer["error"].numpy().tolist() == [b"The image has 600 x 400 pixels, more than 0.2 megapixels.", b""]
    for model in (tfcount.load(small), tfcount.load(run, max_megapixels=0.2)):
        with pytest.raises(ValueError, match=r"a.png .* has 600 x 400 pixels, more than 0.2 megapixels"):
            model.calibrated(Calibration()).count(path)
    assert tfcount.load(small, max_megapixels=1).count(path) >= 0
    for limit in (0, -1, 501, float("nan")):
        with pytest.raises(ValueError, match=r"max_megapixels must be above 0 and at most 500"):
            tfcount.load(small, max_megapixels=limit)


def test_counts_that_are_not_finite_are_errors(tmp_path):
    counter = build_counter("mcnn")
    counter.set_weights([np.full(weight.shape, 1e30, np.float32) for weight in counter.get_weights()])
    folder = savedmodel.export(counter, str(tmp_path))
    for model in (CountingModel.of_counter(counter), tfcount.load(folder)):
        for count in (model.count, model.predict):
            with pytest.raises(FloatingPointError, match="is not finite: the weights of the counter are broken"):
                count(picture())
    signatures = tf.saved_model.load(folder).signatures
    answer = signatures["serving_default"](image_bytes=tf.constant([READ["rgb.png"]]))
    assert np.isnan(answer["count"][0]) and b"the weights of the counter are broken" in answer["error"].numpy()[0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the weights of the counter are broken"):
        signatures["density"](image=tf.constant(picture()[None]))


def test_versions_are_numbers(folder, tmp_path):
    for name in ("00000123", "99", "9²", "older"):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "99" / "saved_model.pb").unlink()
    (tmp_path / "9²" / "saved_model.pb").unlink()
    assert tfcount.load(tmp_path).stride == 8


def test_the_decoding_of_files_that_are_stored_turned():
    """Against Pillow, which knows EXIF."""
    for value in range(1, 9):
        content = encode("PNG", orientation=value)
        image, reason = decoding.decode_checked(content, 200.0)
        assert reason == b""
        np.testing.assert_array_equal(image, ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
