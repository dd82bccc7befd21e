import json

import numpy as np
import pytest

from tests.tfrecords_tools.annotations.image_files import save_image
from tfrecords_tools.annotations import nwpu


def save_nwpu(root, points=((1.5, 2), (24, 16)), boxes=((1, 1, 3, 4), (26, 18, 22, 14))):
    """An image a split; the test image has no annotation."""
    root.mkdir(exist_ok=True)
    (root / "jsons").mkdir()
    for number, split in enumerate(("train", "val", "test")):
        save_image(root / "images" / f"000{number}.jpg", seed=number)
        (root / f"{split}.txt").write_text(f"000{number} 1 {number}\n")
        if split != "test":
            annotation = {"img_id": f"000{number}.jpg", "human_num": len(points), "points": points, "boxes": boxes}
            (root / "jsons" / f"000{number}.json").write_text(json.dumps(annotation))
    return root


def test_nwpu(tmp_path):
    splits = nwpu.read(str(save_nwpu(tmp_path)))
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["0000"],
        "val": ["0001"],
        "test": ["0002"],
    }
    image = splits["val"][0].load().image
    assert (image.labels, image.attributes) == ("points", {"luminance": 1, "density": 1})
    np.testing.assert_array_equal(image.points, [[1.5, 2], [24, 16]])
    # The corners of the second box were given in the other order.
    np.testing.assert_array_equal(image.boxes, [[1, 1, 3, 4], [22, 14, 26, 18]])
    image = splits["test"][0].load().image
    assert (image.labels, len(image.points), image.boxes) == ("none", 0, None)


def test_nwpu_drops_a_box_with_its_point(tmp_path):
    points = [[99, 2], [3, 4], [np.nan, 1], [5, 6]]
    boxes = [[90, 0, 110, 9], [2, 3, 4, 5], [0, 0, 1, 1], [4, 5, 6, 7]]
    loaded = nwpu.read(str(save_nwpu(tmp_path, points, boxes)))["train"][0].load()
    assert loaded.points_dropped == 2
    np.testing.assert_array_equal(loaded.image.points, [[3, 4], [5, 6]])
    np.testing.assert_array_equal(loaded.image.boxes, [[2, 3, 4, 5], [4, 5, 6, 7]])


def test_nwpu_without_people(tmp_path):
    image = nwpu.read(str(save_nwpu(tmp_path, [], [])))["train"][0].load().image
    assert image.labels == "points" and image.points.shape == (0, 2) and image.boxes.shape == (0, 4)


def test_nwpu_without_its_test_images(tmp_path):
    (save_nwpu(tmp_path) / "test.txt").unlink()
    assert list(nwpu.read(str(tmp_path))) == ["train", "val"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.txt", None, r"train\.txt is missing"),
        ("jsons/0001.json", None, r"0001\.jpg has no annotation .*0001\.json"),
        ("images/0002.jpg", None, r"test\.txt, line 1, names an image that is missing: .*0002\.jpg"),
        ("val.txt", "0001 1\n", r"val\.txt, line 1: '0001 1' must be an image, its level"),
        ("val.txt", "\n0001 dark 2\n", r"val\.txt, line 2: '0001 dark 2' must be"),
        ("val.txt", "0000 1 2\n", r"val\.txt names the image 0000, which .*train\.txt names, too"),
    ],
)
def test_nwpu_that_does_not_fit(tmp_path, file, content, message):
    path = save_nwpu(tmp_path) / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        nwpu.read(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file"),
        ("[]", "is not an annotation of NWPU-Crowd"),
        ('{"points": []}', "is not an annotation.*boxes"),
        ('{"points": [[1, 2, 3]], "boxes": []}', "is not an annotation"),
        ('{"points": [["a", 2]], "boxes": [[1, 2, 3, 4]]}', "is not an annotation"),
        ('{"points": [[1, 2]], "boxes": []}', "holds 1 points and 0 boxes"),
    ],
)
def test_nwpu_annotations_that_do_not_fit(tmp_path, content, message):
    path = tmp_path / "0001.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"0001\.json.*{message}.*Copy it again"):
        nwpu.read_heads(str(path))


def test_nwpu_needs_its_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold the folders.*lacks 'images'"):
        nwpu.read(str(tmp_path))
