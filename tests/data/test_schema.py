import json

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
