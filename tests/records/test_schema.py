import json

import numpy as np
import pytest
import tensorflow as tf

from tfcount.records import schema


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


def test_errors_name_the_values():
    with pytest.raises(ValueError, match=r"image 'a'.*'dots'"):
        schema.AnnotatedImage("a", b"", 1, 1, labels="dots").serialize()
    with pytest.raises(ValueError, match=r"'a'.*needs a `count`"):
        schema.AnnotatedImage("a", b"", 1, 1, labels=schema.COUNT).serialize()
