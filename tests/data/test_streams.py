import dataclasses

import absl.flags
import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcount.data.config import DataConfig, DensityConfig
from tfcount.data.streams.evaluation import whole_images
from tfcount.data.streams.labeled import labeled
from tfcount.data.streams.pairs import paired
from tfcount.data.streams.training_data import TrainingData
from tfcount.records.folder import Records


@pytest.fixture
def training(crowds):
    records = Records.open(crowds, "train")
    return TrainingData(records, DataConfig(crop=64), DensityConfig(), stride=8, batch_size=4, seed=0)


def batches(training, count):
    return [{name: value.numpy() for name, value in batch.items()} for batch in labeled(training).take(count)]


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


def test_whole_images(training):
    """Sides are the multiples of 32 nearest to 96 x 128, which they are; nobody is lost at the border."""
    training = dataclasses.replace(training, data=DataConfig(crop=0, scale_min=1, scale_max=1), batch_size=1)
    for batch in batches(training, 12):
        assert batch["image"].shape == (1, 96, 128, 3) and batch["image"].dtype == np.uint8
        assert batch["density"].shape == (1, 12, 16, 1)
        np.testing.assert_allclose(batch["density"].sum((1, 2, 3)), batch["count"], rtol=1e-4)
    total = sum(batch["count"][0] for batch in batches(training, 12))
    assert total == sum(row.points for row in training.records.rows)


def test_whole_images_of_any_scale_have_cells_without_rest(training):
    training = dataclasses.replace(training, data=DataConfig(crop=0, scale_min=0.4, scale_max=2.0), batch_size=1)
    shapes = {batch["image"].shape[1:3] for batch in batches(training, 12)}
    assert len(shapes) > 3 and all(side % 32 == 0 and side > 0 for shape in shapes for side in shape)


def test_division_shares_out_a_reduced_image(training):
    """Images of 96 x 128 are reduced to 64 pixels on their shorter side, and to 64 x 64 as multiples of 64."""
    data = DataConfig(crop=0, division=2, long_side=1000, short_side=64, scale_min=1, scale_max=1, color=0, grey=0)
    training = dataclasses.replace(training, data=data, batch_size=4)
    parts = batches(training, 12)
    assert all(batch["image"].shape == (4, 32, 32, 3) and batch["density"].shape == (4, 4, 4, 1) for batch in parts)
    for batch in parts:
        np.testing.assert_allclose(batch["density"].sum((1, 2, 3)), batch["count"], atol=1e-3)
        inside = batch["points"][batch["point_mask"] > 0]
        assert np.all((inside >= 0) & (inside <= 32))
        np.testing.assert_array_equal(batch["span"], [[0, 0.5], [0, 0.5], [0.5, 1], [0.5, 1]])
    assert sum(batch["count"].sum() for batch in parts) == sum(row.points for row in training.records.rows)
    # The parts, put together, are the image.
    whole = dataclasses.replace(training, data=dataclasses.replace(data, division=1), batch_size=1)
    whole = dataclasses.replace(whole, data=dataclasses.replace(whole.data, long_side=64, short_side=48))
    divided = dataclasses.replace(training, data=dataclasses.replace(whole.data, division=2))
    for one, four in zip(batches(whole, 2), batches(divided, 2), strict=True):
        top, bottom = (np.concatenate(four["image"][index : index + 2], 1) for index in (0, 2))
        np.testing.assert_array_equal(np.concatenate([top, bottom]), one["image"][0])


def test_whole_images_come_one_a_step(training):
    with pytest.raises(ValueError, match="--train_batch_size must be 1, the number of parts of an image"):
        labeled(dataclasses.replace(training, data=DataConfig(crop=0)))


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
    seen = {example["id"].numpy().decode() for example in whole_images(held_out)}
    assert seen == {row.id for row in held_out.rows}
    assert seen.isdisjoint(row.id for row in kept.rows)
    assert kept == records.hold_out(0.25, seed=0)[0] != records.hold_out(0.25, seed=1)[0]
    assert records.hold_out(0, seed=0)[0].complete


def test_nothing_left_to_train_on(crowds):
    with pytest.raises(ValueError, match="--data_validation_fraction=0.99 leaves no image"):
        Records.open(crowds, "train").hold_out(0.99, seed=0)


def test_evaluation_reads_whole_images(crowds):
    examples = list(whole_images(Records.open(crowds, "test")))
    assert len(examples) == 4
    for example in examples:
        assert example["image"].shape == (96, 128, 3)
        assert float(example["count"]) == len(example["points"])


def test_batch_larger_than_the_data_set(training):
    with pytest.raises(
        ValueError, match="--train_batch_size=13 is larger than the number of labeled training images, 12"
    ):
        labeled(dataclasses.replace(training, batch_size=13))


def test_no_records(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m tfrecords_tools.build"):
        Records.open(str(tmp_path), "train")


def test_no_such_split(crowds):
    with pytest.raises(ValueError, match=r"no split 'val'; they have \['test', 'train'\]"):
        Records.open(crowds, "val")


@pytest.mark.parametrize(
    "values, message",
    [
        ({"crop": -1}, "--data_crop must be at least 0. Received: -1"),
        ({"long_side": -5}, "--data_long_side must be at least 0"),
        ({"division": 0}, "--data_division must be at least 1"),
        ({"division": 2}, "--data_division cuts whole images: it needs --data_crop=0"),
        ({"scale_min": 2.0}, "--data_scale_min must be positive and at most --data_scale_max"),
        ({"grey": 1.5}, "--data_grey must be between 0 and 1. Received: 1.5"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**values)


class TestRanked:
    """Whole images of 96 x 128 pixels; image i shows more than image i + 1."""

    PAIRS = np.stack([np.arange(11), np.arange(1, 12)], 1)
    NOBODY = np.zeros(0, np.int64)

    def batches(self, training, number, pairs=PAIRS, counted=NOBODY):
        dataset = paired(training, pairs, counted)
        return [{name: value.numpy() for name, value in batch.items()} for batch in dataset.take(number)]

    def test_couples_are_pairs(self, training):
        for batch in self.batches(training, 10):
            assert batch["image"].shape == (4, 96, 128, 3) and batch["image"].dtype == np.uint8
            assert batch["size"].tolist() == [[96, 128]] * 4
            assert len(set(batch["position"])) == 4
            one, other = batch["position"][:, None], batch["position"]
            np.testing.assert_array_equal(batch["more"], other - one == 1)
            assert batch["more"][[0, 2], [1, 3]].all()
            assert not batch["counted"].any() and not batch["count"].any()

    def test_pairs_form_inside_of_a_replica(self, training):
        for batch in self.batches(dataclasses.replace(training, replicas=2), 10):
            for part in (slice(0, 2), slice(2, 4)):
                one, other = batch["position"][part, None], batch["position"][part]
                np.testing.assert_array_equal(batch["more"][part], other - one == 1)

    def test_some_couples_have_counts(self, training):
        counted = np.array([2, 5, 8])
        training = dataclasses.replace(training, batch_size=8)
        for batch in self.batches(training, 5, counted=counted):
            assert set(batch["position"][6:]) <= set(counted.tolist())
            np.testing.assert_array_equal(batch["counted"], np.isin(batch["position"], counted))
            counts = np.array([training.records.rows[position].count for position in batch["position"]])
            np.testing.assert_array_equal(batch["count"], counts * batch["counted"])

    def test_all_images_have_counts_and_no_pair_is_known(self, training):
        counted = np.array([2, 5, 8, 9, 11])
        seen = set()
        for batch in self.batches(training, 20, np.zeros((0, 2), np.int64), counted):
            seen |= set(batch["position"].tolist())
        assert seen == set(counted.tolist())

    def test_one_image_is_in_all_pairs(self, training):
        pairs = np.stack([np.full(5, 3), [0, 1, 2, 4, 5]], 1)
        for batch in self.batches(training, 5, pairs):
            assert 3 in batch["position"][:2] and len(set(batch["position"])) == 4

    def test_images_of_several_sizes_are_padded(self, training, tmp_path):
        from tfrecords_tools import build

        for name, sides in (("a", (40, 90)), ("b", (70, 30)), ("c", (20, 20)), ("d", (10, 10))):
            (tmp_path / "in").mkdir(exist_ok=True)
            cv2.imwrite(f"{tmp_path}/in/{name}.png", np.full((*sides, 3), 200, np.uint8))
        (tmp_path / "in" / "points.csv").write_text("image,x,y\na.png,1,1\nb.png,,\nc.png,2,2\nd.png,,\n")
        values = absl.flags.FlagValues()
        build.define_flags(values)
        build.main(values(["build", "--dataset=folder", f"--input={tmp_path}/in", f"--output={tmp_path}/out"]), values)
        records = Records.open(f"{tmp_path}/out", "train")
        data = DataConfig(long_side=45, color=0, grey=0)
        training = dataclasses.replace(training, records=records, data=data)
        (batch,) = self.batches(training, 1, np.array([[0, 1], [2, 3]]))
        sides = {"a.png": [20, 45], "b.png": [45, 19], "c.png": [20, 20], "d.png": [10, 10]}
        for image, size, position in zip(batch["image"], batch["size"], batch["position"], strict=True):
            assert size.tolist() == sides[records.rows[position].id]
            inside = image[: size[0], : size[1]]
            assert np.all(inside == 200) and image.sum(dtype=np.int64) == inside.sum(dtype=np.int64)

    def test_it_is_a_function_of_the_seed_and_the_step(self, training):
        first = self.batches(training, 4)
        tf.random.set_seed(3)
        assert_equal(first, self.batches(training, 4))
        assert_equal(first[2:], self.batches(dataclasses.replace(training, start_step=2), 2))
        other = self.batches(dataclasses.replace(training, seed=1), 4)
        assert any(not np.array_equal(a["position"], b["position"]) for a, b in zip(first, other, strict=True))

    def test_batches_that_cannot_be_made(self, training):
        counted = np.arange(12)
        for size, pairs, counts in ((3, self.PAIRS, self.NOBODY), (2, self.PAIRS, counted)):
            with pytest.raises(ValueError, match=f"must be even on each device, and at least 4 .* Received: {size}"):
                paired(dataclasses.replace(training, batch_size=size), pairs, counts)
        with pytest.raises(ValueError, match="--train_batch_size=4 is larger than the number of training images that"):
            paired(training, self.PAIRS[:2], self.NOBODY)
