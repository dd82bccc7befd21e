import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfcount.data.records import Records
from tfcount.data.streams import DataConfig, DensityConfig, TrainingData, evaluation


@pytest.fixture
def training(crowds):
    records = Records.open(crowds, "train")
    return TrainingData(records, DataConfig(crop=64), DensityConfig(), stride=8, batch_size=4, seed=0)


def batches(training, count):
    return [{name: value.numpy() for name, value in batch.items()} for batch in training.labeled().take(count)]


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("kernel", ["fixed", "adaptive"])
def test_batches(training, kernel):
    for batch in batches(dataclasses.replace(training, density=DensityConfig(kernel=kernel)), 4):
        assert batch["image"].shape == (4, 64, 64, 3) and batch["image"].dtype == np.uint8
        assert batch["density"].shape == (4, 8, 8, 1)
        assert batch["points"].shape[1] in (16, 32, 64)
        np.testing.assert_allclose(batch["density"].sum((1, 2, 3)), batch["count"], atol=1e-4)
        np.testing.assert_array_equal(batch["point_mask"].sum(-1), batch["count"])


def test_crop_not_a_multiple_of_the_stride(training):
    training = dataclasses.replace(training, data=DataConfig(crop=60))
    (batch,) = batches(training, 1)
    assert batch["density"].shape == (4, 8, 8, 1)
    np.testing.assert_allclose(batch["density"].sum((1, 2, 3)), batch["count"], atol=1e-4)


def test_equal_seeds_give_equal_batches_whatever_the_global_seed(training):
    tf.random.set_seed(1)
    first = batches(training, 3)
    tf.random.set_seed(2)
    assert_equal(first, batches(training, 3))
    other = batches(dataclasses.replace(training, seed=1), 3)
    assert any(not np.array_equal(a["image"], b["image"]) for a, b in zip(first, other, strict=True))


def test_a_stream_that_starts_later_goes_on_like_the_first(training):
    assert_equal(batches(training, 8)[5:], batches(dataclasses.replace(training, start_step=5), 3))


def test_every_image_once_an_epoch(training):
    ids = [
        tf.io.parse_single_example(record, {"id": tf.io.FixedLenFeature([], tf.string)})["id"].numpy()
        for record in training.records.shuffled(seed=3).take(24)
    ]
    assert len(set(ids[:12])) == len(set(ids[12:])) == 12
    assert ids[:12] != ids[12:]


def test_held_out_images_are_not_trained_on(crowds):
    records = Records.open(crowds, "train")
    kept, held_out = records.hold_out(0.25, seed=0)
    assert len(kept.rows) == 9 and len(held_out.rows) == 3
    seen = {example["id"].numpy().decode() for example in evaluation(held_out)}
    assert seen == {row.id for row in held_out.rows}
    assert seen.isdisjoint(row.id for row in kept.rows)
    assert kept == records.hold_out(0.25, seed=0)[0] != records.hold_out(0.25, seed=1)[0]
    assert records.hold_out(0, seed=0)[0].complete


def test_nothing_left_to_train_on(crowds):
    with pytest.raises(ValueError, match="--data_validation_fraction=0.99 leaves no image"):
        Records.open(crowds, "train").hold_out(0.99, seed=0)


def test_evaluation_reads_whole_images(crowds):
    examples = list(evaluation(Records.open(crowds, "test")))
    assert len(examples) == 4
    for example in examples:
        assert example["image"].shape == (1, 96, 128, 3)
        assert float(example["count"]) == len(example["points"])


def test_batch_larger_than_the_data_set(training):
    with pytest.raises(
        ValueError, match="--train_batch_size=13 is larger than the number of labeled training images, 12"
    ):
        dataclasses.replace(training, batch_size=13).labeled()


def test_no_records(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m tfrecords_tools.build"):
        Records.open(str(tmp_path), "train")


def test_no_such_split(crowds):
    with pytest.raises(ValueError, match=r"no split 'val'; they have \['test', 'train'\]"):
        Records.open(crowds, "val")


@pytest.mark.parametrize(
    "values, message",
    [
        ({"crop": 0}, "--data_crop must be at least 1. Received: 0"),
        ({"scale_min": 2.0}, "--data_scale_min must be positive and at most --data_scale_max"),
        ({"grey": 1.5}, "--data_grey must be between 0 and 1. Received: 1.5"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**values)
