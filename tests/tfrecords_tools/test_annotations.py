import json
import os
import unicodedata

import cv2
import numpy as np
import pytest
import scipy.io

from tfrecords_tools.annotations import folder, jhu, nwpu, shanghaitech, ucf, vgg_cells

HEIGHT, WIDTH = 16, 24


def save_image(path, seed=0, height=HEIGHT, width=WIDTH):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(path), pixels)


def save_mat(path, points):
    """Writes points as MATLAB's `image_info{1,1}.location` and `.number`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    info = np.empty((1, 1), object)
    info[0, 0] = {"location": np.asarray(points, np.float64), "number": float(len(points))}
    scipy.io.savemat(path, {"image_info": info})


def save_shanghaitech(root, annotations="ground_truth", number=2):
    for split in ("train", "test"):
        for n in range(1, number + 1):
            base = f"{root}/{split}_data"
            save_image(f"{base}/images/IMG_{n}.jpg", seed=n)
            save_mat(f"{base}/{annotations}/GT_IMG_{n}.mat", [[1.5, 2.0], [24, 16], [-0.5, 3]][: n + 1])


# UCF


def save_ucf(folder, names, points=((1.5, 2.0), (24, 16), (-0.5, 3))):
    for seed, name in enumerate(names):
        save_image(folder / f"{name}.jpg", seed=seed)
        scipy.io.savemat(folder / f"{name}_ann.mat", {"annPoints": np.asarray(points, np.float64)})


def test_ucf_qnrf(tmp_path):
    save_ucf(tmp_path / "Train", ["img_0002", "img_0001"])
    save_ucf(tmp_path / "Test", ["img_0001"])
    splits = ucf.read_qnrf(str(tmp_path))
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["img_0001", "img_0002"],
        "test": ["img_0001"],
    }
    loaded = splits["test"][0].load()
    np.testing.assert_array_equal(loaded.image.points, np.float32([[1.5, 2], [24, 16], [0, 3]]))


def test_folds_of_ucf_cc_50_share_out_the_images(tmp_path):
    save_ucf(tmp_path, [str(number) for number in range(1, 13)])
    tests = []
    for fold in range(1, 6):
        splits = ucf.read_cc_50(str(tmp_path), fold)
        names = {split: [source.id for source in sources] for split, sources in splits.items()}
        assert len(names["train"]) + len(names["test"]) == 12 and not set(names["train"]) & set(names["test"])
        tests += names["test"]
    assert tests == [str(number) for number in range(1, 13)]


@pytest.mark.parametrize("points", [[], [[3.0, 4.0]]])
def test_ucf_with_few_people(tmp_path, points):
    save_ucf(tmp_path, ["1"], points)
    assert ucf.read_points(str(tmp_path / "1_ann.mat")).shape == (len(points), 2)


def test_ucf_that_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*Train"):
        ucf.read_qnrf(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="holds no images"):
        ucf.read_cc_50(str(tmp_path), 1)
    save_ucf(tmp_path, ["1", "2"])
    with pytest.raises(FileNotFoundError, match="holds 2 images, fewer than the 5 folds"):
        ucf.read_cc_50(str(tmp_path), 1)
    (tmp_path / "2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="2_ann.mat has no image"):
        ucf.read_cc_50(str(tmp_path), 1)
    (tmp_path / "2_ann.mat").unlink()
    (tmp_path / "1_ann.mat").write_bytes(b"no MATLAB")
    with pytest.raises(ValueError, match=r"1_ann.mat is not an annotation of UCF, which holds `annPoints`"):
        ucf.read_points(str(tmp_path / "1_ann.mat"))
    (tmp_path / "1_ann.mat").unlink()
    with pytest.raises(FileNotFoundError, match="1.jpg has no annotation"):
        ucf.read_cc_50(str(tmp_path), 1)


# NWPU


def save_nwpu(root, points=((1.5, 2), (24, 16)), boxes=((1, 1, 3, 4), (26, 18, 22, 14))):
    """An image a split; the test image has no annotation."""
    root.mkdir(exist_ok=True)
    (root / "jsons").mkdir()
    for number, split in enumerate(("train", "val", "test")):
        save_image(root / "images" / f"000{number}.jpg", seed=number)
        (root / f"{split}.txt").write_text(f"000{number} 1 {number}\n")
        if split != "test":
            annotation = {"img_id": f"000{number}.jpg", "human_num": 2, "points": points, "boxes": boxes}
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
    points = [[99, 2], [3, 4], [np.nan, 1]]
    boxes = [[90, 0, 110, 9], [2, 3, 4, 5], [0, 0, 1, 1]]
    loaded = nwpu.read(str(save_nwpu(tmp_path, points, boxes)))["train"][0].load()
    assert loaded.points_dropped == 2
    np.testing.assert_array_equal(loaded.image.points, [[3, 4]])
    np.testing.assert_array_equal(loaded.image.boxes, [[2, 3, 4, 5]])


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
        ("{", "is not an annotation of NWPU-Crowd"),
        ("[]", "is not an annotation"),
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


# JHU


def save_jhu(root, heads="1.5 2 4 6 1 0\n24 16 2 2 2 1\n"):
    for number, split in enumerate(("train", "val", "test")):
        save_image(root / split / "images" / f"000{number}.jpg", seed=number)
        (root / split / "gt").mkdir()
        (root / split / "gt" / f"000{number}.txt").write_text(heads)
        (root / split / "image_labels.txt").write_text(f"000{number},2,water park,{number},1\n")
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
    image = jhu.read(str(save_jhu(tmp_path, heads)))["train"][0].load().image
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
        ("val/image_labels.txt", "\n0001,2,street,4,0\n", r"line 2: '0001,2,street,4,0' must be .*weather \(0 to 3\)"),
    ],
)
def test_jhu_that_does_not_fit(tmp_path, file, content, message):
    path = save_jhu(tmp_path) / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        jhu.read(str(tmp_path))


@pytest.mark.parametrize("line", ["1 2 3 4 5", "1 2 3 4 5 6 7", "1 2 3 4 five 6"])
def test_jhu_annotations_that_do_not_fit(tmp_path, line):
    path = tmp_path / "0001.txt"
    path.write_text(f"1 2 3 4 5 6\n{line}\n")
    with pytest.raises(ValueError, match=rf"0001\.txt, line 2: '{line}' must be x, y, width.*Copy it again"):
        jhu.read_heads(str(path))


def test_fingerprint_follows_the_attributes(tmp_path):
    before = jhu.read(str(save_jhu(tmp_path)))["train"][0].fingerprint()
    (tmp_path / "train" / "image_labels.txt").write_text("0000,2,street,0,0\n")
    assert jhu.read(str(tmp_path))["train"][0].fingerprint() != before


# ShanghaiTech


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
    result = shanghaitech.read_points(path)
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
        shanghaitech.read_points(str(path))


def test_shanghaitech_truncated_annotation(tmp_path):
    path = tmp_path / "GT_IMG_1.mat"
    save_mat(path, np.random.default_rng(0).uniform(0, 9, (200, 2)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"GT_IMG_1\.mat is not an annotation"):
        shanghaitech.read_points(str(path))


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


# VGG cells


def save_cells(root, numbers=("001", "100", "101")):
    dots = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    dots[3, 5, 2] = dots[3, 6, 2] = 255  # Touching dots.
    dots[15, 23, 2] = 1
    dots[8, 8, 0] = 255  # Blue.
    for number in numbers:
        save_image(f"{root}/{number}cell.png")
        cv2.imwrite(f"{root}/{number}dots.png", dots)


@pytest.mark.parametrize("inner", ["", "cells"])
def test_vgg_cells(tmp_path, inner):
    save_cells(tmp_path / inner)
    splits = vgg_cells.read(str(tmp_path))
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["001", "100"],
        "test": ["101"],
    }
    loaded = splits["train"][0].load()
    np.testing.assert_array_equal(loaded.image.points, [[5.5, 3.5], [6.5, 3.5], [23.5, 15.5]])


def test_vgg_cells_grey_dots_and_none(tmp_path):
    save_cells(tmp_path)
    path = str(tmp_path / "001dots.png")
    dots = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.imwrite(path, dots)
    assert vgg_cells.read(str(tmp_path))["train"][0].load().image.points.shape == (0, 2)
    dots[2, 4] = 255
    cv2.imwrite(path, dots)
    np.testing.assert_array_equal(vgg_cells.read_dots(path)[0], [[4.5, 2.5]])


def test_vgg_cells_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images named like"):
        vgg_cells.read(str(tmp_path))
    save_cells(tmp_path)
    save_image(tmp_path / "001cell.png", height=5)
    with pytest.raises(ValueError, match=r"001dots\.png is 24 x 16 pixels.*001cell\.png 24 x 5"):
        vgg_cells.read(str(tmp_path))["train"][0].load()
    (tmp_path / "001dots.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"001dots\.png cannot be decoded"):
        vgg_cells.read_dots(str(tmp_path / "001dots.png"))
    os.remove(tmp_path / "100dots.png")
    with pytest.raises(FileNotFoundError, match=r"100dots\.png is missing"):
        vgg_cells.read(str(tmp_path))
    save_cells(tmp_path, ["100", "201"])
    with pytest.raises(ValueError, match=r"201cell\.png"):
        vgg_cells.read(str(tmp_path))


# Your own folder


def save_folder(root, names, annotations, file="points.csv", encoding="utf-8"):
    for seed, name in enumerate(names):
        save_image(f"{root}/{name}", seed)
    text = annotations if isinstance(annotations, str) else json.dumps(annotations)
    with open(f"{root}/{file}", "w", encoding=encoding) as stream:
        stream.write(text)


def read_folder(root):
    """Returns id -> points or count of split train."""
    loaded = [source.load().image for source in folder.read(str(root))["train"]]
    return {image.id: image.count if image.labels == "count" else image.points.tolist() for image in loaded}


def test_folder_csv(tmp_path):
    save_folder(tmp_path, ["a.jpg", "b.PNG", "c.jpeg"], "image,x,y\na.jpg,1,2\nb.PNG,,\na.jpg,3.5,4\nc.jpeg,24,16\n")
    assert read_folder(tmp_path) == {"a.jpg": [[1, 2], [3.5, 4]], "b.PNG": [], "c.jpeg": [[24, 16]]}


def test_folder_csv_from_a_spreadsheet(tmp_path):
    save_folder(tmp_path, ["a.jpg"], "X, Image, Y\r\n1, a.jpg, 2\r\n\r\nnan, a.jpg, 1\r\n", encoding="utf-8-sig")
    assert read_folder(tmp_path) == {"a.jpg": [[1, 2]]}
    assert folder.read(str(tmp_path))["train"][0].load().points_dropped == 1


def test_folder_counts(tmp_path):
    save_folder(tmp_path, ["a.jpg", "b.jpg"], "image,count\na.jpg,12\nb.jpg,0\n", "counts.CSV")
    assert read_folder(tmp_path) == {"a.jpg": 12, "b.jpg": 0}


def test_folder_json(tmp_path):
    save_folder(tmp_path, ["a.jpg", "b.jpg"], {"a.jpg": [[1, 2.5]], "b.jpg": []}, "points.json")
    assert read_folder(tmp_path) == {"a.jpg": [[1, 2.5]], "b.jpg": []}


def test_folder_names_with_accents(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Café 群衆.jpg")
    composed = unicodedata.normalize("NFC", decomposed)
    save_folder(tmp_path, [decomposed], f"image,x,y\n{composed},1,2\n")
    assert read_folder(tmp_path) == {composed: [[1, 2]]}


def test_folder_splits(tmp_path):
    for split, number in (("train", 2), ("test", 1)):
        names = [f"{n}.jpg" for n in range(number)]
        save_folder(tmp_path / split, names, {name: [] for name in names}, "points.json")
    assert {split: len(sources) for split, sources in folder.read(str(tmp_path)).items()} == {"train": 2, "test": 1}
    save_image(tmp_path / "loose.jpg")
    with pytest.raises(ValueError, match=r"loose\.jpg is in none of the splits"):
        folder.read(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "annotations", "message"),
    [
        ("p.csv", "image,x,y\na.jpg,1,2\n", r"b\.jpg has no annotation in .*p\.csv.*`b\.jpg,,`"),
        ("p.json", {"a.jpg": []}, r"b\.jpg has no annotation in .*p\.json"),
        ("p.csv", "image,x,y\na.jpg,1,2\nb.jpg,,\nc.jpg,,\n", r"p\.csv names the image 'c\.jpg', which is not in"),
        ("p.csv", "file,x,y\na.jpg,1,2\n", "header 'file,x,y'.*`image,x,y` or `image,count`"),
        ("p.csv", "image;x;y\na.jpg;1;2\n", "header"),
        ("p.csv", "", "header ''"),
        ("p.csv", "image,x,y\na.jpg,1\n", "line 2: must have 3 values"),
        ("p.csv", "image,x,y\na.jpg,1,2,3\n", "line 2: must have 3 values"),
        ("p.csv", "image,x,y\n,1,2\n", "line 2: must have 3 values, the first one an image"),
        ("p.csv", "image,x,y\na.jpg,1,two\n", "line 2: .*two.* must be numbers"),
        ("p.csv", "image,x,y\na.jpg,1,\n", "line 2: `x` and `y` must both be numbers, or both empty"),
        ("p.csv", "image,count\na.jpg,-1\n", "`count` must be a number of at least 0. Received: '-1'"),
        ("p.csv", "image,count\na.jpg,nan\n", "`count` must be a number"),
        ("p.csv", "image,count\na.jpg,1\na.jpg,2\n", r"line 3: 'a\.jpg' has a count already"),
        ("p.json", "{", r"p\.json is not a JSON file"),
        ("p.json", [], r"p\.json does not map images to points"),
        ("p.json", {"a.jpg": [[1, 2, 3]]}, r"points of 'a\.jpg' must be a list of pairs"),
        ("p.json", {"a.jpg": [[1], [2, 3]]}, "must be a list of pairs"),
        ("p.json", {"a.jpg": 5}, "must be a list of pairs"),
        ("p.json", {"a.jpg": [["a", "b"]]}, "must be a list of pairs"),
        ("p.txt", "a.jpg 1 2", "has no annotation file. It must be a CSV file"),
    ],
)
def test_folder_errors(tmp_path, file, annotations, message):
    save_folder(tmp_path, ["a.jpg", "b.jpg"], annotations, file)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        folder.read(str(tmp_path))


def test_folder_with_counts_that_nobody_knows(tmp_path):
    save_folder(tmp_path, ["a.jpg", "b.jpg"], "image,count\na.jpg,7\nb.jpg,\n", "p.csv")
    known, unknown = (source.load().image for source in folder.read(str(tmp_path))["train"])
    assert (known.labels, known.count) == ("count", 7)
    assert (unknown.labels, unknown.count, len(unknown.points)) == ("none", None, 0)


def test_folder_encoding_and_several_files(tmp_path):
    save_folder(tmp_path, ["a.jpg"], "image,x,y\ncafé.jpg,1,2\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"points\.csv is not encoded as UTF-8"):
        folder.read(str(tmp_path))
    (tmp_path / "more.json").write_text("{}")
    with pytest.raises(ValueError, match=r"one annotation file.*more\.json.*points\.csv"):
        folder.read(str(tmp_path))


def test_folder_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        folder.read(str(tmp_path / "nowhere"))
    save_folder(tmp_path, [], "image,x,y\n")
    with pytest.raises(FileNotFoundError, match="holds no images"):
        folder.read(str(tmp_path))


def test_fingerprint_follows_the_annotation(tmp_path):
    save_folder(tmp_path, ["a.jpg"], "image,x,y\na.jpg,1,2\n")
    before = folder.read(str(tmp_path))["train"][0].fingerprint()
    save_folder(tmp_path, [], "image,x,y\na.jpg,1,3\n")
    assert folder.read(str(tmp_path))["train"][0].fingerprint() != before
