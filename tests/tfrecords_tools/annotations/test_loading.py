import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tests.records.test_images import HEIGHT, WIDTH, picture, save
from tfcount.records import schema
from tfrecords_tools.annotations import loading


def test_load_points_clips(tmp_path):
    loaded = loading.load_points("a", save(tmp_path / "a.png"), [[-0.5, 3], [WIDTH, HEIGHT], [500, 5], [np.nan, 1]])
    np.testing.assert_array_equal(loaded.image.points, [[0, 3], [WIDTH, HEIGHT]])
    assert (loaded.points_clipped, loaded.points_dropped) == (1, 2)


def test_fingerprint_changes_with_the_file(tmp_path):
    path = save(tmp_path / "a.png")
    before = loading.fingerprint_files(path)
    assert before == loading.fingerprint_files(path)
    buffer = io.BytesIO()
    Image.fromarray(picture()[:20]).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert before != loading.fingerprint_files(path)


def test_clip_points():
    # One point inside, two on the edges, three up to a pixel outside, three further, two not finite.
    points = [
        *[[3, 4], [0, 0], [6, 8]],
        *[[-1, 4], [7, 9], [6.5, -0.25]],
        *[[-1.01, 4], [3, 9.01], [100, 100]],
        *[[np.nan, 4], [3, np.inf]],
    ]
    kept, clipped, dropped = loading.clip_points(points, height=8, width=6)
    assert (clipped, dropped) == (3, 5)
    np.testing.assert_array_equal(kept, np.float32([[3, 4], [0, 0], [6, 8], [0, 4], [6, 8], [6, 0]]))
    assert kept.dtype == np.float32


def test_clip_points_shapes():
    for empty in ([], np.zeros((0, 0)), np.zeros((0, 2))):
        kept, *numbers = loading.clip_points(empty, 8, 6)
        assert kept.shape == (0, 2) and numbers == [0, 0]
    with pytest.raises(ValueError, match=r"\(n, 2\).*\(2, 3\)"):
        loading.clip_points(np.ones((2, 3)), 8, 6)


def test_points_that_are_dropped_stay_in_the_count(tmp_path):
    path = save(tmp_path / "a.png")
    loaded = loading.load_points("a", path, [[3, 3], [4, 4], [5, 5], [500, 5], [np.nan, 1]])
    assert (loaded.image.count, len(loaded.image.points), loaded.points_dropped) == (5, 3, 2)
    record = schema.parse_image(loaded.image.serialize())
    assert (record["count"].numpy(), record["points"].shape[0]) == (5, 3)
    ((text, detail, number),) = loaded.warnings
    assert text.format(number=number, points=99) == "have points outside: 2 of 99 are dropped, and stay in the counts"
    assert detail == f"{path}, 2 of 5"
    # Where nothing is dropped, records stay as they were.
    loaded = loading.load_points("a", path, [[3, 3], [-0.5, 4]])
    assert loaded.image.count is None and not loaded.warnings


@dataclasses.dataclass
class Located:
    """An image with points."""

    path: str
    points: list
    id: str = "a"

    def fingerprint(self):
        return "fingerprint"

    def load(self):
        return loading.load_points(self.id, self.path, self.points)


def load(path, points, outside):
    return loading.BoundedImage(Located(path, points), outside).load()


def test_points_outside_are_clipped(tmp_path):
    path = save(tmp_path / "a.png")
    loaded = load(path, [[3, 3], [500, 5], [4, -70], [5, 5], [np.inf, 2], [6, 6]], "clip")
    np.testing.assert_array_equal(loaded.image.points, [[3, 3], [WIDTH, 5], [4, 0], [5, 5], [6, 6]])
    assert (loaded.points_clipped, loaded.points_dropped, loaded.image.count) == (2, 1, 6)
    told = [warning.text.format(number=warning.number, points=6) for warning in loaded.warnings]
    assert told == [
        "have points outside: 1 of 6 are dropped, and stay in the counts",
        "have points outside: 2 of 6 are moved to the edge",
    ]
    # One head outside may be an accident: as "drop" it would leave an image that looks empty.
    loaded = load(path, [[500, 5]], "clip")
    np.testing.assert_array_equal(loaded.image.points, [[WIDTH, 5]])
    assert loaded.image.count is None
    # What was said of one image is not said of the next.
    with pytest.raises(ValueError, match="1 of its 1 points lie outside"):
        loading.load_points("a", path, [[500, 5]])


def test_points_outside_are_refused(tmp_path):
    path = save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"a\.png is .*, and 1 of its 3 points lie outside, the first at \(500, 5\). Corr"
    ):
        load(path, [[3, 3], [500, 5], [4, 4]], "error")
    assert load(path, [[3, 3], [-1, 5]], "error").points_clipped == 1


def test_fingerprint_follows_what_becomes_of_points():
    prints = {loading.BoundedImage(Located("", []), outside).fingerprint() for outside in loading.POINTS_OUTSIDE}
    assert len(prints) == 3


@pytest.mark.parametrize("outside", loading.POINTS_OUTSIDE)
def test_swapped_coordinates(tmp_path, outside):
    path = save(tmp_path / "a.png")
    # In the lower part of an image that is higher than wide.
    assert HEIGHT * 0.9 > WIDTH + 1
    points = np.random.default_rng(0).uniform([0, HEIGHT * 0.9], [WIDTH, HEIGHT], (500, 2))[:, ::-1]
    swapped = "" if outside == "error" else "Are x and y swapped. "
    with pytest.raises(ValueError, match=rf"500 of its 500 points lie outside, the first at \(.*\)\. {swapped}Correct"):
        load(path, points, outside)


@pytest.mark.parametrize(
    ("points", "remedy"),
    [
        ([[500, 5]], r", or give --points_outside=clip\.$"),
        ([[500, 5], [np.nan, 3]], r", or give --points_outside=clip\.$"),
        ([[500, 5], [3, 600], [700, 800]], r"with the image\.$"),
        ([[1, 1], [2, 2], [500, 5], [3, 600], [700, 800]], r"with the image\.$"),
    ],
)
def test_most_points_outside(tmp_path, points, remedy):
    with pytest.raises(
        ValueError, match=r"a\.png is .* points lie outside, the first at \(500, 5\). Correct.*" + remedy
    ):
        loading.load_points("a", save(tmp_path / "a.png"), points)


def test_relative_coordinates(tmp_path):
    path = save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is .*all of its 3 points lie in the first of them. Are they shares"):
        loading.load_points("a", path, [[0, 0.5], [1, 1], [0.2, 0.3]])
    loading.load_points("a", path, [[0, 0.5], [1, 1]])
    loading.load_points("a", path, [[0, 0.5], [1, 1], [0.2, 1.5]])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_boxes_are_finite(tmp_path, value):
    with pytest.raises(ValueError, match=r"a\.png has a box in its annotation that is not finite: correct it"):
        loading.load_points("a", save(tmp_path / "a.png"), [[3, 3]], [[1, 1, value, 4]])
