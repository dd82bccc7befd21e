import io

import numpy as np
import pytest
from PIL import Image

from tests.records.test_images import HEIGHT, WIDTH, picture, save
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
