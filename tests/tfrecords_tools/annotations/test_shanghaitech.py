import os

import numpy as np
import pytest
import scipy.io

from tests.tfrecords_tools.annotations.image_files import HEIGHT, WIDTH, save_image
from tfrecords_tools.annotations import shanghaitech


def save_mat(path, points, number=None):
    """Writes points as MATLAB's `image_info{1,1}.location` and `.number`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    info = np.empty((1, 1), object)
    info[0, 0] = {
        "location": np.asarray(points, np.float64),
        "number": float(len(points) if number is None else number),
    }
    scipy.io.savemat(path, {"image_info": info})


def save_shanghaitech(root, annotations="ground_truth", number=2):
    for split in ("train", "test"):
        for n in range(1, number + 1):
            base = f"{root}/{split}_data"
            save_image(f"{base}/images/IMG_{n}.jpg", seed=n)
            save_mat(f"{base}/{annotations}/GT_IMG_{n}.mat", [[1.5, 2.0], [24, 16], [-0.5, 3]][: n + 1])


@pytest.mark.parametrize("annotations", ["ground_truth", "ground-truth"])
@pytest.mark.parametrize("part", ["part_A", "part_A_final", "ShanghaiTech/part_A_final", ""])
def test_shanghaitech(tmp_path, annotations, part):
    save_shanghaitech(tmp_path / part, annotations)
    splits = shanghaitech.read(str(tmp_path), "A")
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["IMG_1", "IMG_2"],
        "test": ["IMG_1", "IMG_2"],
    }
    loaded = splits["train"][1].load()
    np.testing.assert_array_equal(loaded.image.points, np.float32([[1.5, 2], [24, 16], [0, 3]]))
    assert (loaded.points_clipped, loaded.points_dropped) == (1, 0)
    assert (loaded.image.height, loaded.image.width, loaded.image.labels) == (HEIGHT, WIDTH, "points")


def test_shanghaitech_needs_its_part(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        shanghaitech.read(str(tmp_path / "nowhere"), "A")
    save_shanghaitech(tmp_path / "part_B")
    with pytest.raises(FileNotFoundError, match=r"part A is not in .*part_A_final"):
        shanghaitech.read(str(tmp_path), "A")
    with pytest.raises(ValueError, match="another part"):
        shanghaitech.read(str(tmp_path / "part_B"), "A")
    save_shanghaitech(tmp_path / "part_A")
    save_shanghaitech(tmp_path / "part_A_final")
    with pytest.raises(ValueError, match="several times"):
        shanghaitech.read(str(tmp_path), "A")


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (np.zeros((0, 2)), 0),
        (np.zeros((0, 0)), 0),
        (np.zeros((1, 0)), 0),
        ([[3.0, 4.0]], 1),
        (np.array([3.0, 4.0]), 1),
        ([[3.0, 4.0], [5.0, 6.0]], 2),
    ],
)
def test_shanghaitech_shapes(tmp_path, points, expected):
    path = str(tmp_path / "GT_IMG_1.mat")
    save_mat(path, points)
    result = shanghaitech.read_heads(path).points
    assert result.shape == (expected, 2)
    if expected:
        np.testing.assert_array_equal(result[0], [3, 4])


def test_shanghaitech_drops_nan(tmp_path):
    save_shanghaitech(tmp_path)
    save_mat(f"{tmp_path}/train_data/ground_truth/GT_IMG_1.mat", [[np.nan, 1], [2, 2], [99, 99], [2, 2]])
    loaded = shanghaitech.read(str(tmp_path), "A")["train"][0].load()
    # Equal points may be two people, or a double click: nothing tells, so both stay.
    np.testing.assert_array_equal(loaded.image.points, [[2, 2], [2, 2]])
    assert (loaded.points_clipped, loaded.points_dropped) == (0, 2)


@pytest.mark.parametrize(
    "content",
    [
        {"points": [1]},
        {"image_info": np.ones((3, 3))},
        {"image_info": {"location": np.ones((4, 3))}},
        b"",
        b"text" * 99,
    ],
)
def test_shanghaitech_names_a_bad_annotation(tmp_path, content):
    path = tmp_path / "GT_IMG_1.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        scipy.io.savemat(path, content)
    with pytest.raises(ValueError, match=r"GT_IMG_1\.mat"):
        shanghaitech.read_heads(str(path))


def test_shanghaitech_truncated_annotation(tmp_path):
    path = tmp_path / "GT_IMG_1.mat"
    save_mat(path, np.random.default_rng(0).uniform(0, 9, (200, 2)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"GT_IMG_1\.mat is not an annotation"):
        shanghaitech.read_heads(str(path))


def test_shanghaitech_missing_files(tmp_path):
    save_shanghaitech(tmp_path)
    annotation = tmp_path / "train_data/ground_truth/GT_IMG_1.mat"
    os.rename(annotation, tmp_path / "kept.mat")
    with pytest.raises(FileNotFoundError, match=r"IMG_1\.jpg has no annotation .*GT_IMG_1\.mat"):
        shanghaitech.read(str(tmp_path), "A")
    os.rename(tmp_path / "kept.mat", annotation)
    os.remove(tmp_path / "test_data/images/IMG_2.jpg")
    with pytest.raises(FileNotFoundError, match=r"GT_IMG_2\.mat has no image"):
        shanghaitech.read(str(tmp_path), "A")
    os.rename(tmp_path / "train_data/images", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="must hold the folders"):
        shanghaitech.read(str(tmp_path), "A")


def test_shanghaitech_states_how_many_there_are(tmp_path):
    save_shanghaitech(tmp_path)
    annotation = f"{tmp_path}/train_data/ground_truth/GT_IMG_1.mat"
    source = shanghaitech.read(str(tmp_path), "A")["train"][0]
    assert not source.load().warnings
    save_mat(annotation, [[1, 2]], 7)
    assert [warning.detail for warning in source.load().warnings] == [f"{annotation}: 7, and 1 points"]
    save_mat(annotation, np.zeros((0, 2)), 7)
    with pytest.raises(ValueError, match=r"GT_IMG_1\.mat holds no points, and 7 are stated"):
        source.load()


def test_shanghaitech_without_images(tmp_path):
    save_shanghaitech(tmp_path)
    for number in (1, 2):
        os.remove(tmp_path / f"test_data/images/IMG_{number}.jpg")
        os.remove(tmp_path / f"test_data/ground_truth/GT_IMG_{number}.mat")
    with pytest.raises(FileNotFoundError, match=r"test_data/images holds no images"):
        shanghaitech.read(str(tmp_path), "A")
