import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfcount.data import schema


def parsed(record):
    return {name: value.numpy() for name, value in schema.parse_image(record.serialize()).items()}


def test_image_round_trip():
    record = schema.AnnotatedImage(
        "Größe 1.jpg",
        b"\x89PNG",
        2,
        3,
        np.array([[0.0, 2.0], [3.0, 0.5]], np.float32),
        schema.REGIONS,
        count=7.5,
        regions=np.array([[0, 0, 1, 2]], np.float32),
        boxes=np.array([[0, 0, 1, 1], [1, 1, 3, 2]], np.float32),
        roi=b"mask",
        perspective=np.arange(6, dtype=np.float32).reshape(2, 3),
        attributes={"weather": "rain"},
    )
    result = parsed(record)
    assert result["id"].decode() == record.id
    assert (result["image"], result["roi"], result["labels"]) == (b"\x89PNG", b"mask", b"regions")
    assert (result["height"], result["width"], result["count"]) == (2, 3, 7.5)
    assert result["height"].dtype == np.int32
    for name in ("points", "regions", "boxes", "perspective"):
        np.testing.assert_array_equal(result[name], getattr(record, name))
    assert json.loads(result["attributes"]) == record.attributes


def test_image_without_points():
    result = parsed(schema.AnnotatedImage("a", b"", 4, 5))
    assert result["points"].shape == (0, 2)
    assert result["regions"].shape == result["boxes"].shape == (0, 4)
    assert result["perspective"].shape == (0, 0)
    assert result["count"] == 0


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        (schema.POINTS, None, 2),
        (schema.POINTS, 3.0, 3),
        (schema.COUNT, 9.0, 9),
        (schema.NONE, None, np.nan),
        (schema.REGIONS, None, np.nan),
    ],
)
def test_count(labels, count, expected):
    record = schema.AnnotatedImage("a", b"", 4, 5, np.ones((2, 2), np.float32), labels, count)
    np.testing.assert_equal(parsed(record)["count"], np.float32(expected))


def test_parses_in_a_graph():
    records = [schema.AnnotatedImage(str(n), b"", 4, 5, np.ones((n, 2), np.float32)).serialize() for n in range(3)]
    dataset = tf.data.Dataset.from_tensor_slices(records).map(schema.parse_image)
    assert [len(record["points"]) for record in dataset.as_numpy_iterator()] == [0, 1, 2]


def test_pair_round_trip():
    pair = schema.RankingPair("a.jpg", "b.jpg", "greater", "human")
    result = {name: value.numpy().decode() for name, value in schema.parse_pair(pair.serialize()).items()}
    assert schema.RankingPair(**result) == pair


def test_errors_name_the_values():
    with pytest.raises(ValueError, match=r"image 'a'.*'dots'"):
        schema.AnnotatedImage("a", b"", 1, 1, labels="dots").serialize()
    with pytest.raises(ValueError, match=r"'a'.*needs a `count`"):
        schema.AnnotatedImage("a", b"", 1, 1, labels=schema.COUNT).serialize()
    with pytest.raises(ValueError, match="'more'"):
        schema.RankingPair("a", "b", "more", "human").serialize()


def test_manifest_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tfrecords_tools\.build"):
        schema.read_manifest(str(tmp_path))
    path = tmp_path / schema.MANIFEST
    path.write_text("{")
    with pytest.raises(ValueError, match="not a manifest"):
        schema.read_manifest(str(tmp_path))
    path.write_text('{"format_version": 99}')
    with pytest.raises(ValueError, match="version 99"):
        schema.read_manifest(str(tmp_path))
    path.write_text(json.dumps({"format_version": schema.FORMAT_VERSION, "splits": {"train": {}}}))
    with pytest.raises(ValueError, match=r"no split 'test'.*train"):
        schema.read_index(str(tmp_path), "test")


class TestPairs:
    PAIRS = (
        schema.RankingPair("train_00001", "train_00002", "greater", "human"),
        schema.RankingPair("train_00003", "train_00002", "close", "human"),
    )

    @pytest.fixture
    def folder(self, crowds, tmp_path):
        return str(shutil.copytree(crowds, tmp_path / "records"))

    def test_they_lie_beside_the_images(self, folder):
        before = schema.fingerprint(folder, "train")
        assert schema.read_pairs(folder, "train") == []
        schema.write_pairs(folder, "train", self.PAIRS)
        assert schema.read_pairs(folder, "train") == list(self.PAIRS)
        # The images are the same: a run that was stopped goes on.
        assert schema.fingerprint(folder, "train") == before
        assert schema.read_pairs(folder, "test") == []

    def test_they_are_replaced(self, folder):
        files = set(os.listdir(folder))
        schema.write_pairs(folder, "train", self.PAIRS)
        schema.write_pairs(folder, "train", self.PAIRS[1:])
        assert schema.read_pairs(folder, "train") == list(self.PAIRS[1:])
        assert len(set(os.listdir(folder)) - files) == 1
        schema.write_pairs(folder, "train", self.PAIRS[1:])
        assert schema.read_pairs(folder, "train") == list(self.PAIRS[1:])
        schema.write_pairs(folder, "train", [])
        assert schema.read_pairs(folder, "train") == [] and set(os.listdir(folder)) == files

    def test_of_images_that_are_not_there(self, folder):
        pair = schema.RankingPair("train_00001", "nobody", "greater", "human")
        with pytest.raises(ValueError, match="Split 'train' of the records in .* has no image 'nobody'"):
            schema.write_pairs(folder, "train", [pair])
        with pytest.raises(ValueError, match="have no split 'val'"):
            schema.read_pairs(folder, "val")

    @pytest.mark.parametrize("content", [None, b"", b"no records at all"])
    def test_a_damaged_file(self, folder, content):
        schema.write_pairs(folder, "train", self.PAIRS)
        (path,) = pathlib.Path(folder).glob("train-pairs-*")
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ValueError, match="train-pairs-.* (cannot be read|holds 0 pairs)"):
            schema.read_pairs(folder, "train")
