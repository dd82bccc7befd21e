import csv
import os
import signal
import subprocess
import sys

import pytest
import tensorflow as tf

from tests.tfrecords_tools.writing.crowds import Crowd, crowds, write
from tfcount.records import schema, temporary
from tfcount.records.folder import INDEX, MANIFEST, IndexRow, read_index, read_manifest


def records(folder, split):
    manifest = read_manifest(folder)
    paths = [os.path.join(folder, shard["path"]) for shard in manifest["splits"][split]["shards"]]
    return [schema.parse_image(record) for record in tf.data.TFRecordDataset(paths)]


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


def test_goes_on_after_a_kill(tmp_path):
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    command = "import sys; from tests.tfrecords_tools.writing import crowds; crowds.write_killed(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", command, out], env={**os.environ, "PYTHONPATH": os.getcwd()}, capture_output=True
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
    assert os.listdir(tmp_path / "out.partial") == [temporary.MARKER]
