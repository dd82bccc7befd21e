"""Manifest, index, and records at given positions; streams read all of them in `test_streams`."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfcount.records import schema
from tfcount.records.folder import Records, read_index
from tfcount.records.manifest import FORMAT_VERSION, MANIFEST, read_manifest


def ids_at(records, positions):
    dataset = records.at(tf.data.Dataset.from_tensor_slices(np.array(positions, np.int64)))
    return [schema.parse_image(serialized)["id"].numpy().decode() for serialized in dataset]


def test_at(crowds):
    records = Records.open(crowds, "train")
    positions = [3, 0, 11, 3]
    assert ids_at(records, positions) == [records.rows[position].id for position in positions]


def test_at_of_some_images(crowds):
    records = Records.open(crowds, "train")
    some = records.select({row.id for row in records.rows[1::2]})
    assert ids_at(some, range(len(some.rows))) == [row.id for row in records.rows[1::2]]


@pytest.mark.parametrize("change", [lambda content: content[:-100], lambda content: content * 2])
def test_a_shard_that_does_not_fit_the_index(crowds, tmp_path, change):
    folder = shutil.copytree(crowds, tmp_path / "records")
    shard = next(folder.glob("train-*"))
    records = Records.open(str(folder), "train")
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(tf.errors.DataLossError, match=rf"{shard.name} holds \d+ records, and the index says \d+"):
        ids_at(records, [0])
    with pytest.raises(ValueError, match=rf"{shard.name} is damaged: the file has \d+ bytes, and manifest.json says"):
        Records.open(str(folder), "train")


def test_a_shard_that_is_cut_while_it_is_read(crowds, tmp_path):
    folder = shutil.copytree(crowds, tmp_path / "records")
    records = Records.open(str(folder), "train")
    dataset = iter(records.at(tf.data.Dataset.from_tensor_slices(np.arange(1)).repeat()))
    next(dataset)
    pathlib.Path(folder, records.rows[0].shard).write_bytes(b"")
    with pytest.raises(tf.errors.OpError, match="does not hold the images that the index says"):
        for _ in range(100):
            next(dataset)


def test_manifest_errors(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"tfrecords_tools\.build --dataset=NAME .*, whose --help lists the names"
    ):
        read_manifest(str(tmp_path))
    path = tmp_path / MANIFEST
    path.write_text("{")
    with pytest.raises(ValueError, match="not a manifest"):
        read_manifest(str(tmp_path))
    path.write_text('{"format_version": 99}')
    with pytest.raises(ValueError, match="version 99"):
        read_manifest(str(tmp_path))
    train = {"images": 0, "points": 0, "points_clipped": 0, "points_dropped": 0, "shards": []}
    content = {"format_version": FORMAT_VERSION, "dataset": "x", "splits": {"train": train}}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"no split 'test'.*train"):
        read_index(str(tmp_path), "test")
