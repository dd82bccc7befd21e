"""The one way from an image to a count and points."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from tfcount.inference import Calibration, CountingModel
from tfcount.ops.anchor_line import AnchorLine


def ones(images):
    """Says one person in each cell of 8 pixels."""
    return np.ones((1, -(-images.shape[1] // 8), -(-images.shape[2] // 8), 1), np.float32)


def peak(images):
    """Says one person in the fourth cell of the third row."""
    density = 0 * ones(images)
    density[0, 2, 3] = 1
    return density


IMAGE = np.zeros((96, 128, 3), np.uint8)


def test_reduced_images(rng):
    image = rng.integers(0, 256, IMAGE.shape, dtype=np.uint8)
    model = CountingModel(peak, 8, Calibration(limits=(64, 0)))
    assert model.reduce(image).shape == (48, 64, 3) and model.reduce(image).dtype == np.uint8
    found = model.predict(image)
    assert found.size == (48, 64) and found.density.shape == (6, 8)
    np.testing.assert_allclose(found.zoom, [0.5, 0.5])
    # In pixels of the image as it came.
    np.testing.assert_allclose(found.points, [[2 * 8 * 3.5, 2 * 8 * 2.5]])
    np.testing.assert_array_equal(CountingModel(peak, 8, Calibration(limits=(500, 0))).reduce(image), image)
    assert CountingModel(peak, 8).predict(image).points.tolist() == [[28, 20]]


def test_count_locate_and_predict_agree():
    model = CountingModel(peak, 8, Calibration(threshold=0.5))
    found = model.predict(IMAGE)
    assert found.count == found.potential == model.count(IMAGE) == 1 and not found.extrapolated
    points, scores = model.locate(IMAGE)
    np.testing.assert_array_equal(points, found.points)
    assert scores.tolist() == found.scores.tolist() == [1]
    assert len(model.calibrated(Calibration(threshold=1.0)).predict(IMAGE).points) == 0
    assert len(model.predict(IMAGE, threshold=2.0).points) == 0


def test_maps_that_only_rank_are_counted_by_the_line():
    line = AnchorLine(slope=2.0, intercept=-90.0, lowest=300, highest=400, images=2)
    found = CountingModel(ones, 8, Calibration(line, ranks=True)).predict(IMAGE)
    assert found.potential == 192 and found.count == 294 and found.extrapolated
    assert found.points is None and len(found.scores) == 0
    with pytest.raises(
        ValueError, match="trained to rank images: its map does not show where people are. `count` tells"
    ):
        CountingModel(ones, 8, Calibration(line, ranks=True)).locate(IMAGE)


def test_several_images(tmp_path):
    """Of different sizes, as files and as arrays; one image is a number, as before."""
    path, small = tmp_path / "a.png", IMAGE[:40, :64]
    cv2.imwrite(str(path), IMAGE)
    model = CountingModel(ones, 8, Calibration(AnchorLine(slope=0.5)))
    counts = model.count([path, str(path), small])
    assert counts.shape == (3,) and counts.dtype == np.float64 and counts.tolist() == [96, 96, 20]
    assert isinstance(model.count(small), float) and model.count((small,)).tolist() == [20]
    assert model.count([]).shape == (0,) and model.predict([]) == []
    found = model.predict([small, IMAGE], threshold=2.0)
    assert [one.count for one in found] == [20, 96] and [one.density.shape for one in found] == [(5, 8), (12, 16)]
    assert all(len(one.points) == 0 for one in found) and len(model.predict([small])[0].points) > 0


@pytest.mark.parametrize("name", ["density", "locate"])
def test_what_takes_one_image_says_so(name):
    with pytest.raises(ValueError, match="only `count` and `predict` take several. Received: a list of 2"):
        getattr(CountingModel(ones, 8), name)([IMAGE, IMAGE[:8]])


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(),
        Calibration(threshold=0.25, limits=(640, 480)),
        Calibration(AnchorLine(1.5, -3.0, 2.0, 90.0, 7, 1.25), limits=(0, 100), ranks=True),
        Calibration(AnchorLine(1.2, 0.0, images=10, error=2.5)),
    ],
)
def test_calibrations_are_read_as_they_were_written(calibration, tmp_path):
    path = str(tmp_path / "a.json")
    calibration.write(path)
    assert Calibration.read(path, "Nothing.") == calibration
    with open(path) as file:
        assert (json.load(file)["line"] is None) == (calibration.line == AnchorLine())


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"line": {}, "threshold": 1, "limits": [0, 0], "ranks": 1, "x": 2']
)
def test_damaged_calibrations(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"a.json is (damaged|no calibration) .*Train again"):
        Calibration.read(str(path), "Train again.")


def test_calibrations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Calibration().ranks = True
