"""Learning to rank: what a person says, and the losses by hand."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount.data.config import DataConfig, DensityConfig
from tfcount.data.streams.training_data import TrainingData
from tfcount.labeling.order import reduction
from tfcount.methods import ranking
from tfcount.methods.ranking import Config, Ranking
from tfcount.models import build_counter
from tfcount.records.folder import Records
from tfcount.records.labels import PairLabel, write_labels

FEW = Config(anchors=4)


@pytest.fixture(scope="module")
def records(crowds):
    return Records.open(crowds, "train")


def counts_of(records):
    return np.array([row.count for row in records.rows])


class TestFacts:
    def test_pairs_are_those_that_a_glance_tells(self, records):
        facts = ranking.collect_facts(FEW, records, seed=0)
        counts = counts_of(records)
        assert np.all(counts[facts.pairs[:, 0]] > 2 * counts[facts.pairs[:, 1]])
        assert facts.asked == len(reduction(facts.pairs, len(counts))) < len(facts.pairs)
        assert len(facts.counted) == 0

    def test_anchors_reach_from_few_to_many(self, records):
        """As far as pairs tell: images with less than half as many people, and less than twice as many, are alike."""
        facts = ranking.collect_facts(FEW, records, seed=0)
        counts, everyone = np.sort(counts_of(records)[facts.anchors]), counts_of(records)
        assert len(counts) == 4 and counts[0] <= 2 * everyone.min() + 1 and 2 * counts[-1] >= everyone.max()

    def test_counts_that_teach(self, records):
        for supervision, number in (("none", 0), ("anchors", 4), ("all", 12)):
            facts = ranking.collect_facts(dataclasses.replace(FEW, supervision=supervision), records, seed=0)
            assert len(facts.counted) == number
            if supervision == "anchors":
                np.testing.assert_array_equal(facts.counted, facts.anchors)

    def test_what_follows_from_the_answers_is_known_too(self, records):
        facts = ranking.collect_facts(dataclasses.replace(FEW, asked=12), records, seed=0)
        assert facts.asked == 12 <= len(facts.pairs)
        other = ranking.collect_facts(dataclasses.replace(FEW, asked=12), records, seed=1)
        assert facts.pairs.tolist() != other.pairs.tolist()

    def test_nothing_to_tell_apart(self, records):
        some = records.select({row.id for row in records.rows if row.count})
        with pytest.raises(ValueError, match=r"No two of the \d+ training images .* --ranking_ratio=1000000.0"):
            ranking.collect_facts(Config(ratio=1e6), some, seed=0)
        with pytest.raises(
            ValueError, match="--ranking_anchors=50 is larger than the number of training images in pairs"
        ):
            ranking.collect_facts(Config(), records, seed=0)


class TestLabelsOfRecords:
    @pytest.fixture
    def folder(self, crowds, tmp_path):
        return str(shutil.copytree(crowds, tmp_path / "records"))

    def answer(self, folder, pairs, ids):
        """Keeps for pairs of positions that the first image shows more."""
        labels = [PairLabel(ids[one], ids[other], "greater", "human") for one, other in pairs]
        write_labels(folder, "train", PairLabel, labels)

    def test_what_people_said(self, folder):
        records = Records.open(folder, "train")
        ids = [row.id for row in records.rows]
        self.answer(folder, [(0, 1), (1, 2), (2, 3), (0, 1)], ids)
        options = Config(labels="records", anchors=4)
        facts = ranking.collect_facts(options, records, seed=0)
        assert facts.asked == 3 and set(map(tuple, facts.pairs.tolist())) == {
            *[(0, 1), (0, 2), (0, 3)],
            *[(1, 2), (1, 3), (2, 3)],
        }
        # By their counts, and whether or not somebody compared them.
        counts = counts_of(records)
        assert len(facts.anchors) == 4 and {counts.min(), counts.max()} <= set(counts[facts.anchors])
        everyone = ranking.collect_facts(Config(labels="records", anchors=50, supervision="anchors"), records, seed=0)
        assert everyone.anchors.tolist() == everyone.counted.tolist() == list(range(12))
        # Held-out images take their pairs along.
        kept = records.select(set(ids) - {ids[1]})
        assert ranking.collect_facts(Config(labels="records", anchors=2), kept, seed=0).asked == 1

    def test_nothing_said_or_nonsense(self, folder):
        records = Records.open(folder, "train")
        options = Config(labels="records", anchors=4)
        with pytest.raises(ValueError, match="keep no labels of pairs of training images. Label some with"):
            ranking.collect_facts(options, records, seed=0)
        self.answer(folder, [(0, 1), (1, 2), (2, 0)], [row.id for row in records.rows])
        with pytest.raises(ValueError, match="Labels contradict each other"):
            ranking.collect_facts(options, records, seed=0)

    def test_answers_are_counted(self, folder):
        """To find images alike takes a glance, too, and an answer that was given twice is one."""
        records = Records.open(folder, "train")
        ids = [row.id for row in records.rows]
        labels = [(0, 1, "greater"), (1, 0, "less"), (2, 3, "close")]
        write_labels(folder, "train", PairLabel, [PairLabel(ids[a], ids[b], told, "human") for a, b, told in labels])
        facts = ranking.collect_facts(Config(labels="records"), records, seed=0)
        assert facts.asked == 2 and facts.pairs.tolist() == [[0, 1]]

    @pytest.mark.parametrize("counts, message", [([], "of 0 training images"), ([7, 7], "All 2 .* show 7 people")])
    def test_anchors_that_give_no_line(self, folder, counts, message):
        records = Records.open(folder, "train")
        self.answer(folder, [(0, 1)], [row.id for row in records.rows])
        known_counts = counts + [float("nan")] * (len(records.rows) - len(counts))
        rows = [row._replace(count=count) for row, count in zip(records.rows, known_counts, strict=True)]
        with pytest.raises(ValueError, match=message):
            ranking.collect_facts(Config(labels="records"), dataclasses.replace(records, rows=tuple(rows)), seed=0)

    def test_baselines_need_no_pairs(self, folder):
        records = Records.open(folder, "train")
        facts = ranking.collect_facts(Config(labels="records", pairs=False, supervision="all"), records, seed=0)
        assert len(facts.counted) == 12 and len(facts.anchors) == facts.asked == 0


def test_potentials_leave_out_the_padding():
    """Images of 20 x 30 and 8 x 9 pixels in a batch of 24 x 32: 3 x 4 and 1 x 2 cells."""
    maps = tf.constant(np.arange(24, dtype="float32").reshape(2, 3, 4, 1))
    values = ranking.potentials(maps, tf.constant([[20, 30], [8, 9]]), stride=8)
    np.testing.assert_allclose(values, [66, 12 + 13])


def test_counters_that_pool_over_the_image_are_refused():
    with pytest.raises(ValueError, match="--counter=spn would see the padding everywhere"):
        Ranking(build_counter("spn", encoder_name="compact"), Config())


class Fixed(keras.layers.Layer):
    """A counter in whose place the maps are given."""

    stride, pools_image = 8, False

    def leave_out_activation(self):
        pass

    def call(self, images, training=None):
        return images


def batch(values, more, counted=(0, 0, 0), count=(0, 0, 0)):
    return {
        "image": tf.constant(values, tf.float32, shape=(3, 1, 1, 1)),
        "size": tf.constant([[8, 8]] * 3),
        "more": tf.constant(more, tf.float32),
        "counted": tf.constant(counted, tf.float32),
        "count": tf.constant(count, tf.float32),
    }


def test_losses_by_hand():
    """Potentials 10, 8, -1. Known: 0 > 1 (in order, by less than twice: 0 of the hinge), 1 > 2 (easy: left out), 2 > 0
    (0.5 + 11 = 11.5); counts 12 of the first and -1 of the last, which is not to be used."""
    method = Ranking(Fixed(), Config(supervision="anchors", alpha=0.1))
    more = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    parts = method.compute_losses(batch([10, 8, -1], more, [1, 0, 0], [12, 0, -1]), training=True)
    values, weights = (part.numpy().reshape(3, 3) for part in parts["ranking"])
    np.testing.assert_array_equal(weights, [[0, 1, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(values[[0, 2], [1, 0]], [0, 11.5])
    values, weights = parts["count"]
    np.testing.assert_allclose((values * weights).numpy(), [0.2, 0, 0], rtol=1e-6)


def test_parts_follow_from_what_is_known():
    assert set(Ranking(Fixed(), Config()).compute_losses(batch([1, 2, 3], np.eye(3)), True)) == {"ranking"}
    baseline = Config(pairs=False, supervision="all")
    assert set(Ranking(Fixed(), baseline).compute_losses(batch([1, 2, 3], np.eye(3)), True)) == {"count"}


def test_windows_lie_inside_of_their_images(rng):
    """Images of 20 x 30 and 9 x 40 pixels, 1 where there is no padding: windows of 4 x 15."""
    sizes = np.array([[20, 30], [9, 40]])
    images = np.zeros((2, 24, 40, 3), np.uint8)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:height, :width] = rng.integers(1, 256, (height, width, 3))
    drawn = [ranking.random_windows(images, tf.constant(sizes, tf.int32), [0, step]).numpy() for step in range(20)]
    assert all(windows.shape == (2, 4, 15, 3) and windows.min() > 0 for windows in drawn)
    assert len({windows.tobytes() for windows in drawn}) > 10
    tiny = ranking.random_windows(images[:, :1, :1], tf.ones([2, 2], tf.int32), [0, 0])
    np.testing.assert_array_equal(tiny, images[:, :1, :1])


def test_containment_by_hand():
    """Maps are the images, of one value: a window of 1 x 1 of an image of 2 x 2 shows a quarter. Below 0 that is more:
    -1 stands above -4 by 3."""

    class Mean(Fixed):
        stride = 1

        def call(self, images, training=None):
            return images[..., :1]

    method = Ranking(Mean(), Config(containment=0.5))
    images = np.float32([2, -1])[:, None, None, None] * np.ones((2, 2, 2, 3), "float32")
    one = {"image": tf.constant(images), "size": tf.constant([[2, 2]] * 2), "more": tf.zeros([2, 2])}
    parts = method.compute_losses(one, training=True)
    np.testing.assert_allclose(parts["containment"], [0, 0.5 * 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.5}, "--ranking_ratio must be at least 1. Received: 0.5"),
        ({"margin": -1.0}, "--ranking_margin must be at least 0"),
        ({"alpha": float("nan")}, "--ranking_alpha must be at least 0. Received: nan"),
        ({"containment": -1.0}, "--ranking_containment must be at least 0. Received: -1.0"),
        ({"anchors": 1}, "--ranking_anchors must be at least 2"),
        ({"labels": "guess"}, "--ranking_labels must be one of .* Received: 'guess'"),
        ({"supervision": "some"}, "--ranking_supervision must be one of .* Received: 'some'"),
        ({"pairs": False}, "--noranking_pairs leaves nothing to learn from"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_crops_are_refused(records):
    data = TrainingData(records, DataConfig(crop=64), DensityConfig(), 8, 4, 0)
    with pytest.raises(ValueError, match="--method=ranking compares whole images: set --data_crop=0"):
        ranking.plan(FEW, data.records, data.seed).stream(data)


def test_two_replicas_train_like_one(two_replicas, records):
    """Both with the pairs that form inside of two replicas."""
    data = TrainingData(records, DataConfig(crop=0, long_side=64, short_side=64), DensityConfig(), 8, 8, 0, replicas=2)
    options = dataclasses.replace(FEW, supervision="anchors")
    batches = list(ranking.plan(options, data.records, data.seed).stream(data).take(2))
    weights = []
    for scope in (None, two_replicas):
        keras.utils.set_random_seed(0)
        with tf.distribute.get_strategy().scope() if scope is None else scope.scope():
            method = ranking.build(options, build_counter("mcnn"), None)
            method.compile(optimizer=keras.optimizers.SGD(1e-7), jit_compile=False)
        if scope is None:
            # One replica that sees the pairs of two.
            for one in batches:
                more = np.zeros((8, 8), "float32")
                more[:4, :4], more[4:, 4:] = one["more"][:4], one["more"][4:]
                method.train_step({**one, "more": tf.constant(more)})
        else:
            stream = tf.data.Dataset.from_generator(
                lambda: iter(batches),
                output_signature=ranking.plan(options, data.records, data.seed).stream(data).element_spec,
            )
            method.fit(stream, epochs=1, shuffle=False, verbose=0)
        weights.append([variable.numpy() for variable in method.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
