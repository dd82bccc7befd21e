import io

import numpy as np
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
