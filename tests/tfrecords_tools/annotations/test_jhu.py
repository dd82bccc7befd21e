import numpy as np
import pytest

from tests.tfrecords_tools.annotations.image_files import save_image
from tfrecords_tools.annotations import jhu


def save_jhu(root, heads="1.5 2 4 6 1 0\n24 16 2 2 2 1\n", count=2):
    for number, split in enumerate(("train", "val", "test")):
        save_image(root / split / "images" / f"000{number}.jpg", seed=number)
        (root / split / "gt").mkdir()
        (root / split / "gt" / f"000{number}.txt").write_text(heads)
        (root / split / "image_labels.txt").write_text(f"000{number},{count},water park,{number},1\n")
    return root


def test_jhu(tmp_path):
    splits = jhu.read(str(save_jhu(tmp_path)))
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["0000"],
        "val": ["0001"],
        "test": ["0002"],
    }
    image = splits["test"][0].load().image
    assert image.attributes == {"scene": "water park", "weather": "rain", "distractor": True}
    np.testing.assert_array_equal(image.points, [[1.5, 2], [24, 16]])
    np.testing.assert_array_equal(image.boxes, [[-0.5, -1, 3.5, 5], [23, 15, 25, 17]])


@pytest.mark.parametrize(("heads", "number"), [("", 0), ("3 4 1 1 1 0", 1)])
def test_jhu_with_few_people(tmp_path, heads, number):
    image = jhu.read(str(save_jhu(tmp_path, heads, number)))["train"][0].load().image
    assert image.points.shape == (number, 2) and image.boxes.shape == (number, 4) and image.labels == "points"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "train/image_labels.txt",
            None,
            "train must hold the folders `images` and `gt` and the file `image_labels.txt`",
        ),
        ("val/gt/0001.txt", None, r"0001\.jpg has no annotation .*0001\.txt"),
        ("val/images/0001.jpg", None, r"0001\.txt has no image"),
        ("val/image_labels.txt", "0009,2,street,0,0\n", r"image_labels\.txt has no line of the image 0001"),
        ("val/image_labels.txt", "0001,2,street\n", r"image_labels\.txt, line 1: '0001,2,street' must be"),
        ("val/image_labels.txt", "0001,two,street,1,0\n", r"line 1: '0001,two,street,1,0' must be"),
        ("val/image_labels.txt", "0001,2,street,1,7\n", r"line 1: .*whether it distracts \(0 or 1\)"),
        ("val/image_labels.txt", "0001,2,a,1,0\n0001,2,b,1,0\n", r"line 2: '0001' has another line, which differs"),
        ("val/image_labels.txt", '"' + "a" * 200000, r"image_labels\.txt is not a table of labels \(field larger"),
        ("val/image_labels.txt", b"0001,2,caf\xe9,1,0\n", r"image_labels\.txt is not encoded as UTF-8"),
        ("val/image_labels.txt", "\n0001,2,street,4,0\n", r"line 2: '0001,2,street,4,0' must be .*weather \(0 to 3\)"),
    ],
)
def test_jhu_that_does_not_fit(tmp_path, file, content, message):
    path = save_jhu(tmp_path) / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        jhu.read(str(tmp_path))


@pytest.mark.parametrize("line", ["1 2 3 4 5", "1 2 3 4 5 6 7", "1 2 3 4 five 6", "1 2 3 4 5 1_0"])
def test_jhu_annotations_that_do_not_fit(tmp_path, line):
    path = tmp_path / "0001.txt"
    path.write_text(f"1 2 3 4 5 6\n{line}\n")
    with pytest.raises(ValueError, match=rf"0001\.txt, line 2: '{line}' must be x, y, width.*Copy it again"):
        jhu.read_heads(str(path))


def test_fingerprint_follows_the_attributes(tmp_path):
    before = jhu.read(str(save_jhu(tmp_path)))["train"][0].fingerprint()
    (tmp_path / "train" / "image_labels.txt").write_text("0000,2,street,0,0\n")
    assert jhu.read(str(tmp_path))["train"][0].fingerprint() != before


def test_jhu_long_lines_are_short_in_errors(tmp_path):
    (tmp_path / "0001.txt").write_text("9" * 100000)
    with pytest.raises(ValueError, match=r"0001\.txt, line 1: '9+\.\.\. must be") as caught:
        jhu.read_heads(str(tmp_path / "0001.txt"))
    assert len(str(caught.value)) < 400


def test_jhu_states_how_many_there_are(tmp_path):
    source = jhu.read(str(save_jhu(tmp_path / "a", count=3)))["train"][0]
    loaded = source.load()
    # The points are what is counted.
    assert (loaded.image.count, len(loaded.image.points)) == (None, 2)
    assert loaded.warnings == (
        (
            "state another number of points than they have, which is taken",
            f"{source.annotation_path}: 3, and 2 points",
            1,
        ),
    )
    source = jhu.read(str(save_jhu(tmp_path / "b", heads="", count=3)))["train"][0]
    with pytest.raises(ValueError, match=r"0000\.txt holds no points, and 3 are stated. Copy it again"):
        source.load()
