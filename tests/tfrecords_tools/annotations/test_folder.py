import json
import unicodedata

import pytest

from tests.tfrecords_tools.annotations.image_files import save_image
from tfrecords_tools.annotations import folder


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
        ("p.csv", "image,count\na.jpg,-1\n", "`count` must be a number of at least 0 and finite. Received: '-1'"),
        ("p.csv", "image,count\na.jpg,nan\n", "`count` must be a number"),
        ("p.csv", "image,count\na.jpg,1\na.jpg,2\n", r"line 3: 'a\.jpg' has a count already"),
        (
            "p.csv",
            "image,count\na.jpg,1e39\n",
            "line 2: `count` must be a number of at least 0 and finite. Received: '1e39'",
        ),
        ("p.csv", "image,x,y,x\na.jpg,1,2,3\n", "header 'image,x,y,x'"),
        ("p.csv", "image,x,y\na.jpg,1_0,2\n", "line 2: .*1_0.* must be numbers"),
        (
            "p.json",
            '{"a.jpg": [[1, 2], [3, 4], [5, 6]], "b.jpg": [], "a.jpg": []}',
            "the key 'a.jpg' stands there twice",
        ),
        (
            "p.json",
            '{"\u00e9.jpg": [[1, 2]], "e\u0301.jpg": []}',
            r"p\.json: '\\xe9\.jpg' stands there twice, in other char",
        ),
        ("p.json", {"a.jpg": [[True, None]]}, "must be a list of pairs"),
        ("p.json", {"a.jpg": [["1", "2"]]}, "must be a list of pairs"),
        ("p.json", "[" * 99999, r"p\.json is not a JSON file"),
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


def test_folder_with_two_images_that_read_the_same(tmp_path):
    names = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    save_folder(tmp_path, names, f"image,x,y\n{names[0]},1,2\n{names[1]},,\n")
    with pytest.raises(ValueError, match="which read the same: rename or remove one"):
        folder.read(str(tmp_path))


def test_folder_with_huge_numbers(tmp_path):
    save_folder(tmp_path, ["a.jpg"], f'{{"a.jpg": [[1, 2], [3, 4], [{"9" * 5000}, 5]]}}', "points.json")
    loaded = folder.read(str(tmp_path))["train"][0].load()
    assert (loaded.points_dropped, loaded.image.count, loaded.image.points.tolist()) == (1, 3, [[1, 2], [3, 4]])
