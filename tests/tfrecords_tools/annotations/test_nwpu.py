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
        ("val.txt", "0001 1 2\n0001 1 2\n", r"val\.txt, line 2 names the image 0001, which line 1 names, too"),
        (
            "val.txt",
            "../../secret 1 2\n",
            r"val\.txt, line 1: '\.\./\.\./secret' must be the name of an image, without",
        ),
        ("val.txt", "/etc/secret 1 2\n", r"val\.txt, line 1: '/etc/secret' must be the name of an image, without fol"),
        ("val.txt", "a\\b 1 2\n", r"val\.txt, line 1: .* must be the name of an image, without folders"),
        ("val.txt", "a\0b 1 2\n", r"val\.txt, line 1: .* must be the name of an image, without folders"),
        ("val.txt", "caf\udce9 1 2\n", r"val\.txt is not encoded as UTF-8"),
        ("val.txt", "\n", r"val\.txt names no image"),
        ("val.txt", f"0001 1 {'9' * 9999}\n", r"val\.txt, line 1: '0001 1 9+\.\.\. must be"),
        ("val.txt", "0000 1 2\n", r"val\.txt names the image 0000, which .*train\.txt names, too"),
    ],
)
def test_nwpu_that_does_not_fit(tmp_path, file, content, message):
    path = save_nwpu(tmp_path) / file
    path.unlink() if content is None else path.write_bytes(content.encode(errors="surrogateescape"))
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
        ('{"points": [[1, 2]], "boxes": [[1, 2, 3, 4]], "points": []}', "the key 'points' stands there twice"),
        ('{"points": [[1, null]], "boxes": [[1, 2, 3, 4]]}', "is not an annotation.*2 numbers"),
        ('{"points": [], "boxes": [], "human_num": "2"}', "is not an annotation.*human_num must be a number"),
        ("[" * 99999, "is not a JSON file"),
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


def test_nwpu_states_how_many_there_are(tmp_path):
    path = save_nwpu(tmp_path) / "jsons" / "0000.json"
    path.write_text(path.read_text().replace('"human_num": 2', '"human_num": 5'))
    (warning,) = nwpu.read(str(tmp_path))["train"][0].load().warnings
    assert warning.detail == f"{path}: 5, and 2 points"
    path.write_text('{"human_num": 5, "points": [], "boxes": []}')
    with pytest.raises(ValueError, match=r"0000\.json holds no points, and 5 are stated"):
        nwpu.read(str(tmp_path))["train"][0].load()


def test_nwpu_images_stay_in_the_folder(tmp_path):
    root = save_nwpu(tmp_path / "data")
    save_image(tmp_path / "secret.jpg")
    (root / "images" / "0001.jpg").unlink()
    (root / "images" / "0001.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match=r"0001\.jpg is a link out of .*data, to .*secret\.jpg"):
        nwpu.read(str(root))
    # The folder of images may be a link, as that of the data set.
    (root / "images" / "0001.jpg").unlink()
    save_image(root / "images" / "0001.jpg")
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    assert nwpu.read(str(root))["val"][0].load()
