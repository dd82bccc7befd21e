import csv
import dataclasses
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from absl import flags

from tests.records import tiny
from tfcount.records import schema
from tfcount.records.folder import read_index
from tfcount.records.labels import CountLabel, PairLabel, PointsLabel, RegionsLabel, write_labels
from tfcount.records.manifest import INDEX, MANIFEST
from tfrecords_tools import show
from tfrecords_tools.writing.dataset import write_dataset
from tfrecords_tools.writing.plan import LoadedImage


@dataclasses.dataclass
class Grey:
    """A grey image with two points, whose record may differ from the truth in `changes`."""

    id: str
    changes: dict = dataclasses.field(default_factory=dict)

    def fingerprint(self):
        return self.id

    def load(self):
        image = cv2.imencode(".png", np.full((20, 30, 3), 128, np.uint8))[1].tobytes()
        record = schema.AnnotatedImage(self.id, image, 20, 30, np.float32([[3, 4], [30, 20]]))
        return LoadedImage(dataclasses.replace(record, **self.changes), 0, 0)


def call(*arguments):
    """Runs the command in this process and returns its exit code."""
    values = flags.FlagValues()
    show.define_flags(values)
    return show.main(values(["show", *map(str, arguments)]), values)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "records"
    sources = [Grey(f"IMG_{n}") for n in range(1, 7)]
    counted = Grey("counted", {"labels": schema.COUNT, "count": 7.0, "points": np.zeros((0, 2), np.float32)})
    write_dataset(str(folder), "grey", {"train": sources, "test": [counted]}, {})
    return folder


@pytest.fixture
def records(built, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(built, tmp_path / "records")


def shard(folder):
    return next(path for path in folder.iterdir() if path.name.startswith("train-"))


def test_draws(built, tmp_path):
    out = tmp_path / "x.png"
    assert call(built, "--id=IMG_1", f"--out={out}") == 0
    picture = cv2.imread(str(out))
    # Enlarged 18 times, with the caption below.
    assert picture.shape[0] > 20 * 18 and picture.shape[1] == 30 * 18
    np.testing.assert_array_equal(picture[4 * 18, 3 * 18], (0, 0, 255))
    np.testing.assert_array_equal(picture[10 * 18, 15 * 18], (128, 128, 128))
    assert (picture[20 * 18 :] < 128).any()
    assert call(built, "--id=counted", "--split=test", f"--out={tmp_path / 'y.jpg'}") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--id=IMG_11", "--out=x.png"], r"no image 'IMG_11'. Close ones: IMG_1,"),
        (["--id=qqq", "--out=x.png"], "no image 'qqq'."),
        (["--id=IMG_1", "--split=val", "--out=x.png"], "no split 'val'"),
        (["--id=IMG_1", "--out=x.doc"], "--out must end in .png or .jpg. Received: 'x.doc'"),
        (["--id=IMG_1"], "give either --id and --out, or --check"),
        (["--id=IMG_1", "--out=x.png", "--check"], "give either --id and --out, or --check"),
        ([], "give either"),
        (["more", "--check"], "give one folder of records"),
    ],
)
def test_errors(built, capsys, arguments, message):
    assert call(built, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and message in error and error.count("\n") == 1


def test_no_records(tmp_path, capsys):
    assert call(tmp_path, "--check") == 1
    assert "tfrecords_tools.build" in capsys.readouterr().err


def test_check_finds_nothing(built, capsys):
    assert call(built, "--check") == 0
    assert capsys.readouterr().out == "7 records are fine.\n"


def test_check_finds_a_flipped_bit(records, capsys):
    path = shard(records)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert call(records, "--check") == 1
    lines = capsys.readouterr().out.splitlines()
    damaged = read_index(str(records), "train")[3].id
    assert lines[0] == f"{path.name}: the sha256 of the file is not that of the manifest"
    assert lines[1].startswith(f"{path.name}: {damaged}: the record is damaged")
    assert lines[2] == "4 records are fine, the rest is not."
    assert call(records, f"--id={damaged}", "--out=x.png") == 1
    assert f"{path.name} cannot be read" in capsys.readouterr().err


def test_check_finds_a_changed_index(records, capsys):
    index = records / INDEX
    index.write_bytes(index.read_bytes().replace(b",2,2,train", b",2,3,train", 1))
    assert call(records, "--check") == 1
    assert "index.csv is damaged: the sha256 of the file is not that of the manifest" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["link", "folder"])
def test_check_refuses_what_is_no_file(records, capsys, change):
    path = shard(records)
    path.unlink()
    path.symlink_to("/dev/zero") if change == "link" else path.mkdir()
    assert call(records, "--check") == 1
    assert f"{path} is " in capsys.readouterr().out


def test_check_finds_missing_and_truncated_shards(records, capsys):
    path = shard(records)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert call(records, "--check") == 1
    last = read_index(str(records), "train")[-1].id
    assert f"{path.name}: {last}: the record is damaged" in capsys.readouterr().out
    os.remove(path)
    assert call(records, "--check") == 1
    assert f"{path.name}: the file is missing" in capsys.readouterr().out


def test_check_compares_manifest_and_index(records, capsys):
    tiny.forget_checksums(records)
    manifest = json.loads((records / MANIFEST).read_text())
    manifest["splits"]["train"]["points"] += 1
    (records / MANIFEST).write_text(json.dumps(manifest))
    with open(records / INDEX, newline="") as file:
        lines = list(csv.reader(file))
    lines[1][lines[0].index("height")] = "21"
    lines[2][lines[0].index("count")] = "5"
    lines[4] = list(lines[3])
    with open(records / INDEX, "w", newline="") as file:
        csv.writer(file).writerows(lines)
    assert call(records, "--check") == 1
    out = capsys.readouterr().out
    assert "train: the index has 12 points, the manifest 13" in out
    assert f"{lines[1][1]}: differs from the index" in out
    assert f"{lines[2][1]}: has count 2, and 5 in the index" in out
    assert f"train: several images have the id {lines[3][1]}" in out
    assert "4 records are fine" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.float32([[31, 2]])}, "1 points are outside of the image"),
        ({"points": np.float32([[3, -0.5], [1, 1]])}, "1 points are outside of the image"),
        ({"points": np.float32([[np.nan, 2]])}, "1 points are not finite"),
        ({"height": 21}, "the image is 30 x 20 pixels, and the record says 30 x 21"),
        ({"image": b"no image"}, "the image cannot be decoded"),
    ],
)
def test_check_finds_bad_records(tmp_path, capsys, changes, message):
    write_dataset(str(tmp_path / "out"), "bad", {"train": [Grey("fine"), Grey("bad", changes)]}, {})
    capsys.readouterr()
    assert call(tmp_path / "out", "--check") == 1
    out = capsys.readouterr().out
    assert f"train-00000-of-00001.tfrecord: bad: {message}\n1 records are fine" in out


class TestLabels:
    """Labels that people added are checked, too."""

    @pytest.fixture
    def labeled(self, records):
        folder = str(records)
        write_labels(folder, "train", PairLabel, [PairLabel("IMG_1", "IMG_2", "greater", "human")])
        write_labels(folder, "train", CountLabel, [CountLabel("IMG_3", 7, "human")])
        write_labels(folder, "train", PointsLabel, [PointsLabel("IMG_1", [[0, 0], [30, 20]], "human")])
        write_labels(folder, "train", RegionsLabel, [RegionsLabel("IMG_4", [[0, 0, 30, 20]], [[3, 4]], "human")])
        return records

    def test_fine(self, labeled, capsys):
        assert call(labeled, "--check") == 0
        assert capsys.readouterr().out == "7 records are fine.\n"

    def test_outside_of_the_image(self, labeled, capsys):
        write_labels(str(labeled), "train", PointsLabel, [PointsLabel("IMG_1", [[3, 21]], "human")])
        write_labels(str(labeled), "train", RegionsLabel, [RegionsLabel("IMG_4", [[-1, 0, 9, 9]], [], "human")])
        assert call(labeled, "--check") == 1
        assert capsys.readouterr().out.splitlines()[:2] == [
            "train: a label of IMG_1 has points or regions outside of the image",
            "train: a label of IMG_4 has points or regions outside of the image",
        ]

    @pytest.mark.parametrize("name", ["IMG_1", "IMG_2", "IMG_3", "IMG_4"])
    def test_of_images_that_are_not_there(self, labeled, capsys, name):
        tiny.replace_in_index(labeled, f",{name},", ",other,")
        assert call(labeled, "--check") == 1
        assert f"train: a label names the image {name}, which is not in the index\n" in capsys.readouterr().out

    def test_damage(self, labeled, capsys):
        (path,) = labeled.glob("train-labels-*")
        content = path.read_bytes()
        path.write_bytes(content[:-5])
        assert call(labeled, "--check") == 1
        assert f"{path.name} cannot be read" in capsys.readouterr().out
        path.unlink()
        assert call(labeled, "--check") == 1
        assert f"{path.name} cannot be read" in capsys.readouterr().out

    def test_another_file_of_as_many_labels(self, labeled, capsys):
        (path,) = labeled.glob("train-labels-*")
        content = path.read_bytes()
        write_labels(str(labeled), "train", CountLabel, [CountLabel("IMG_3", 8, "human")])
        (path,) = labeled.glob("train-labels-*")
        path.write_bytes(content)
        assert call(labeled, "--check") == 1
        assert f"{path.name} cannot be read (the sha256 of the file is not that of the" in capsys.readouterr().out
