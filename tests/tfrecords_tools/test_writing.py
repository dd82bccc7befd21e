import csv
import dataclasses
import errno
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcount.records import schema
from tfcount.records.folder import INDEX, MANIFEST, IndexRow, read_index, read_manifest
from tfcount.records.labels import RankingPair, read_pairs, write_pairs
from tfrecords_tools import writing


@dataclasses.dataclass
class Crowd:
    """An image of noise with `people` points; `trouble` is what happens when it is loaded."""

    id: str
    seed: int
    people: int = 2
    trouble: str = ""

    def fingerprint(self):
        return f"{self.seed} {self.people}"

    def load(self):
        if self.trouble == "damaged":
            raise ValueError(f"{self.id}.jpg is damaged. Remove it.")
        if self.trouble == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.trouble == "interrupt":
            raise KeyboardInterrupt
        if self.trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        pixels = np.random.default_rng(self.seed).integers(0, 256, (8, 6, 3), np.uint8)
        image = cv2.imencode(".png", pixels)[1].tobytes()
        points = np.full((self.people, 2), 1.5, np.float32)
        return writing.Loaded(schema.AnnotatedImage(self.id, image, 8, 6, points), 1, 3)


def crowds(number, start=0, **changes):
    return [Crowd(f"img {start + n}", start + n, **changes) for n in range(number)]


def records(folder, split):
    manifest = read_manifest(folder)
    paths = [os.path.join(folder, shard["path"]) for shard in manifest["splits"][split]["shards"]]
    return [schema.parse_image(record) for record in tf.data.TFRecordDataset(paths)]


def write(folder, splits, **options):
    return writing.write_dataset(str(folder), "noise", splits, {"seed": 1}, **options)


def write_killed(folder):
    sources = crowds(30)
    # Somewhere behind the first of four shards, so that one is finished.
    order = [source for shard in writing._plan("train", sources) for source in shard.sources]
    order[15].trouble = "kill"
    write(folder, {"train": sources})


def test_clip_points():
    # One point inside, two on the edges, three up to a pixel outside, three further, two not finite.
    points = [
        *[[3, 4], [0, 0], [6, 8]],
        *[[-1, 4], [7, 9], [6.5, -0.25]],
        *[[-1.01, 4], [3, 9.01], [100, 100]],
        *[[np.nan, 4], [3, np.inf]],
    ]
    kept, clipped, dropped = writing.clip_points(points, height=8, width=6)
    assert (clipped, dropped) == (3, 5)
    np.testing.assert_array_equal(kept, np.float32([[3, 4], [0, 0], [6, 8], [0, 4], [6, 8], [6, 0]]))
    assert kept.dtype == np.float32


def test_clip_points_shapes():
    for empty in ([], np.zeros((0, 0)), np.zeros((0, 2))):
        kept, *numbers = writing.clip_points(empty, 8, 6)
        assert kept.shape == (0, 2) and numbers == [0, 0]
    with pytest.raises(ValueError, match=r"\(n, 2\).*\(2, 3\)"):
        writing.clip_points(np.ones((2, 3)), 8, 6)


def test_folder(tmp_path):
    splits = {"train": crowds(20), "test": [Crowd("same", 5), Crowd("empty", 99, people=0)]}
    manifest = write(tmp_path / "out", splits)
    folder = str(tmp_path / "out")

    assert manifest == read_manifest(folder)
    assert manifest["dataset"] == "noise" and manifest["source"] == {"seed": 1}
    train, test = manifest["splits"]["train"], manifest["splits"]["test"]
    assert [train[name] for name in ("images", "points", "points_clipped", "points_dropped")] == [20, 40, 20, 60]
    assert [test[name] for name in ("images", "points")] == [2, 2]
    assert [shard["records"] for shard in train["shards"]] == [6, 7, 7]
    assert train["shards"][0]["path"] == "train-00000-of-00003.tfrecord"
    assert manifest["duplicates"] == [["test/same", "train/img 5"]]

    rows = read_index(folder, "train")
    assert [row.id for row in rows] == [record["id"].numpy().decode() for record in records(folder, "train")]
    assert sorted(row.id for row in rows) == sorted(crowd.id for crowd in splits["train"])
    assert [row.id for row in rows] != sorted(row.id for row in rows)
    assert rows[0]._replace(id="") == ("train", "", 8, 6, "points", 2, 2.0, "train-00000-of-00003.tfrecord")
    with open(tmp_path / "out" / INDEX, newline="") as file:
        assert next(csv.reader(file)) == list(IndexRow._fields)

    shards = [shard["path"] for split in (train, test) for shard in split["shards"]]
    assert sorted(os.listdir(folder)) == sorted([*shards, MANIFEST, INDEX])
    assert os.listdir(tmp_path) == ["out"]


def test_order_is_the_same_for_any_order_of_sources(tmp_path):
    first = write(tmp_path / "a", {"train": crowds(12)})
    second = write(tmp_path / "b", {"train": crowds(12)[::-1]})
    assert first == second


def test_unknown_count_is_nan(tmp_path):
    class Unlabeled(Crowd):
        def load(self):
            loaded = super().load()
            return loaded._replace(image=dataclasses.replace(loaded.image, labels=schema.NONE))

    write(tmp_path / "out", {"train": [Unlabeled("a", 1, people=0)]})
    assert ",none,0,nan," in (tmp_path / "out" / INDEX).read_text()
    assert np.isnan(read_index(str(tmp_path / "out"), "train")[0].count)


def test_existing_output(tmp_path):
    out = tmp_path / "out"
    write(out, {"train": crowds(2)})
    with pytest.raises(FileExistsError, match=r"out exists.*--overwrite"):
        write(out, {"train": crowds(3)})
    assert len(read_index(str(out), "train")) == 2
    with pytest.raises(ValueError, match="is damaged"):
        write(out, {"train": crowds(3, trouble="damaged")}, overwrite=True)
    assert len(read_index(str(out), "train")) == 2
    write(out, {"train": crowds(3)}, overwrite=True)
    assert len(read_index(str(out), "train")) == 3
    assert os.listdir(tmp_path) == ["out"]


def test_overwriting_keeps_what_people_said_of_pairs(tmp_path, capsys):
    out = tmp_path / "out"
    write(out, {"train": crowds(3)})
    ids = sorted(row.id for row in read_index(str(out), "train"))
    pairs = [RankingPair(ids[one], ids[other], "greater", "human") for one, other in ((0, 1), (1, 2))]
    write_pairs(str(out), "train", pairs)
    write(out, {"train": crowds(4)}, overwrite=True)
    assert read_pairs(str(out), "train") == pairs
    assert "labels of pairs" not in capsys.readouterr().err
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_pairs(str(out), "train") == pairs[:1]
    assert "1 of 2 labels of pairs are lost: split 'train' lacks their images." in capsys.readouterr().err
    (next(out.glob("train-pairs-*"))).unlink()
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_pairs(str(out), "train") == []
    assert "Warning: labels of pairs that the replaced records may hold are lost: " in capsys.readouterr().err


def test_overwrite_spares_other_folders(tmp_path):
    (tmp_path / "thesis.txt").write_text("text")
    with pytest.raises(FileExistsError, match="something else than records"):
        write(tmp_path, {"train": crowds(1)}, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "no images"),
        ({"train": []}, "no images"),
        ({"train": crowds(1), "test": []}, "'test' has no images"),
        ({"train": crowds(2) + crowds(1)}, r"'train'.*\['img 0'\]"),
    ],
)
def test_splits_that_cannot_be_written(tmp_path, splits, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", splits)
    assert not os.listdir(tmp_path)


def test_goes_on_after_a_kill(tmp_path):
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    command = "import sys, test_writing; test_writing.write_killed(sys.argv[1])"
    path = os.pathsep.join([os.path.dirname(__file__), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", command, out], env={**os.environ, "PYTHONPATH": path}, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert (partial / "train-00002-of-00004.tfrecord.writing").exists()
    kept = (partial / "train-00000-of-00004.tfrecord").stat().st_mtime_ns

    write(out, {"train": crowds(30)})
    assert (out / "train-00000-of-00004.tfrecord").stat().st_mtime_ns == kept
    assert len(records(str(out), "train")) == 30
    assert os.listdir(tmp_path) == ["out"]
    write(tmp_path / "in one go", {"train": crowds(30)})
    assert read_manifest(str(out)) == read_manifest(str(tmp_path / "in one go"))


def test_changed_sources_are_written_again(tmp_path):
    with pytest.raises(ValueError, match="is damaged"):
        write(tmp_path / "out", {"train": crowds(4), "z": crowds(1, trouble="damaged")})
    kept = tmp_path / "out.partial" / "train-00000-of-00001.tfrecord"
    assert kept.exists()
    manifest = write(tmp_path / "out", {"train": crowds(4, people=7), "z": crowds(1)})
    assert manifest["splits"]["train"]["points"] == 28


@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [
        ("damaged", ValueError, r"img 3\.jpg is damaged\. Remove it\."),
        ("full", OSError, r"out.partial is full. Free space"),
        ("interrupt", KeyboardInterrupt, r"out.partial keeps the finished shards: the same command goes on"),
    ],
)
def test_trouble(tmp_path, trouble, error, message):
    with pytest.raises(error, match=message):
        write(tmp_path / "out", {"train": [*crowds(3), Crowd("img 3", 3, trouble=trouble)]})
    assert os.listdir(tmp_path) == ["out.partial"]
    assert not os.listdir(tmp_path / "out.partial")


def test_trouble_in_a_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "FEWEST_IMAGES_FOR_WORKERS", 1)
    sources = [*crowds(40), Crowd("bad", 99, trouble="damaged")]
    with pytest.raises(ValueError, match=r"bad\.jpg is damaged"):
        write(tmp_path / "out", {"train": sources})
    assert os.listdir(tmp_path) == ["out.partial"]
    assert not any(name.endswith(".writing") for name in os.listdir(tmp_path / "out.partial"))
