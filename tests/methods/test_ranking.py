"""Learning to rank: what is known, the losses by hand, and runs on rendered crowds."""

import csv
import dataclasses
import json
import shutil
import signal

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcount
from tests.test_commands import command
from tfcount import evaluation, experiment, serving
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data.streams import DataConfig, DensityConfig, TrainingData
from tfcount.data.streams import evaluation as evaluation_stream
from tfcount.labeling.order import reduction
from tfcount.methods import ranking
from tfcount.methods.ranking import Config, Ranking
from tfcount.models import build_counter
from tfcount.models.anchors import Anchors
from tfcount.records import images, schema
from tfcount.records.folder import Records
from tfcount.records.labels import PairLabel, write_labels

FEW = Config(anchors=4)


@pytest.fixture(scope="module")
def records(crowds):
    return Records.open(crowds, "train")


def counts_of(records):
    return np.array([row.count for row in records.rows])


class TestKnown:
    def test_pairs_are_those_that_a_glance_tells(self, records):
        facts = ranking.known(FEW, records, seed=0)
        counts = counts_of(records)
        assert np.all(counts[facts.pairs[:, 0]] > 2 * counts[facts.pairs[:, 1]])
        assert facts.asked == len(reduction(facts.pairs, len(counts))) < len(facts.pairs)
        assert len(facts.counted) == 0

    def test_anchors_reach_from_few_to_many(self, records):
        """As far as pairs tell: images with less than half as many people, and less than twice as many, are alike."""
        facts = ranking.known(FEW, records, seed=0)
        counts, everyone = np.sort(counts_of(records)[facts.anchors]), counts_of(records)
        assert len(counts) == 4 and counts[0] <= 2 * everyone.min() + 1 and 2 * counts[-1] >= everyone.max()

    def test_counts_that_teach(self, records):
        for supervision, number in (("none", 0), ("anchors", 4), ("all", 12)):
            facts = ranking.known(dataclasses.replace(FEW, supervision=supervision), records, seed=0)
            assert len(facts.counted) == number
            if supervision == "anchors":
                np.testing.assert_array_equal(facts.counted, facts.anchors)

    def test_what_follows_from_the_answers_is_known_too(self, records):
        facts = ranking.known(dataclasses.replace(FEW, asked=12), records, seed=0)
        assert facts.asked == 12 <= len(facts.pairs)
        other = ranking.known(dataclasses.replace(FEW, asked=12), records, seed=1)
        assert facts.pairs.tolist() != other.pairs.tolist()

    def test_nothing_to_tell_apart(self, records):
        some = records.select({row.id for row in records.rows if row.count})
        with pytest.raises(ValueError, match=r"No two of the \d+ training images .* --ranking_ratio=1000000.0"):
            ranking.known(Config(ratio=1e6), some, seed=0)
        with pytest.raises(
            ValueError, match="--ranking_anchors=50 is larger than the number of training images in pairs"
        ):
            ranking.known(Config(), records, seed=0)


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
        facts = ranking.known(options, records, seed=0)
        assert facts.asked == 3 and set(map(tuple, facts.pairs.tolist())) == {
            *[(0, 1), (0, 2), (0, 3)],
            *[(1, 2), (1, 3), (2, 3)],
        }
        # By their counts, and whether or not somebody compared them.
        counts = counts_of(records)
        assert len(facts.anchors) == 4 and {counts.min(), counts.max()} <= set(counts[facts.anchors])
        everyone = ranking.known(Config(labels="records", anchors=50, supervision="anchors"), records, seed=0)
        assert everyone.anchors.tolist() == everyone.counted.tolist() == list(range(12))
        # Held-out images take their pairs along.
        kept = records.select(set(ids) - {ids[1]})
        assert ranking.known(Config(labels="records", anchors=2), kept, seed=0).asked == 1

    def test_nothing_said_or_nonsense(self, folder):
        records = Records.open(folder, "train")
        options = Config(labels="records", anchors=4)
        with pytest.raises(ValueError, match="keep no labels of pairs of training images. Label some with"):
            ranking.known(options, records, seed=0)
        self.answer(folder, [(0, 1), (1, 2), (2, 0)], [row.id for row in records.rows])
        with pytest.raises(ValueError, match="Labels contradict each other"):
            ranking.known(options, records, seed=0)

    def test_answers_are_counted(self, folder):
        """To find images alike takes a glance, too, and an answer that was given twice is one."""
        records = Records.open(folder, "train")
        ids = [row.id for row in records.rows]
        labels = [(0, 1, "greater"), (1, 0, "less"), (2, 3, "close")]
        write_labels(folder, "train", PairLabel, [PairLabel(ids[a], ids[b], told, "human") for a, b, told in labels])
        facts = ranking.known(Config(labels="records"), records, seed=0)
        assert facts.asked == 2 and facts.pairs.tolist() == [[0, 1]]

    @pytest.mark.parametrize("counts, message", [([], "of 0 training images"), ([7, 7], "All 2 .* show 7 people")])
    def test_anchors_that_give_no_line(self, folder, counts, message):
        records = Records.open(folder, "train")
        self.answer(folder, [(0, 1)], [row.id for row in records.rows])
        known_counts = counts + [float("nan")] * (len(records.rows) - len(counts))
        rows = [row._replace(count=count) for row, count in zip(records.rows, known_counts, strict=True)]
        with pytest.raises(ValueError, match=message):
            ranking.known(Config(labels="records"), dataclasses.replace(records, rows=tuple(rows)), seed=0)

    def test_baselines_need_no_pairs(self, folder):
        records = Records.open(folder, "train")
        facts = ranking.known(Config(labels="records", pairs=False, supervision="all"), records, seed=0)
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
        ranking.train_dataset(FEW, data)


def test_two_replicas_train_like_one(two_replicas, records):
    """Both with the pairs that form inside of two replicas."""
    data = TrainingData(records, DataConfig(crop=0, long_side=64, short_side=64), DensityConfig(), 8, 8, 0, replicas=2)
    options = dataclasses.replace(FEW, supervision="anchors")
    batches = list(ranking.train_dataset(options, data).take(2))
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
                lambda: iter(batches), output_signature=ranking.train_dataset(options, data).element_spec
            )
            method.fit(stream, epochs=1, shuffle=False, verbose=0)
        weights.append([variable.numpy() for variable in method.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def config(crowds, steps=6, **options):
    return ExperimentConfig(
        method="ranking",
        counter="compact",
        data=DataConfig(dir=crowds, crop=0, validation_fraction=0.0, color=0.0, grey=0.0, long_side=112),
        train=TrainConfig(
            steps=steps,
            batch_size=8,
            learning_rate=3e-3,
            warmup_steps=2,
            ema=0.5,
            validation_interval=max(3, steps // 2),
        ),
        options=dataclasses.replace(FEW, **options),
    )


@pytest.fixture(scope="module")
def run(crowds, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("ranking") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "strategy", tf.distribute.get_strategy)
        assert experiment.train(config(crowds, steps=60, supervision="anchors", containment=0.1), folder) == 0
    return folder


class TestRun:
    def test_it_learns_the_order(self, run, crowds):
        counter, read = experiment.load_counter(run)
        stream = evaluation_stream(Records.open(crowds, "train"), read.data)
        results = evaluation.evaluate(evaluation.density_function(counter), 8, stream, anchors=counter.anchors)
        summary = evaluation.summarize(results)
        assert summary["ranking_accuracy"] > 0.95
        assert summary["game"] is None and summary["sparsity"] is None
        assert counter.anchors.images == 4 and counter.anchors.slope > 0
        # Images of a run are counted as its evaluation counts them, which reduces them.
        record = next(iter(Records.open(crowds, "train").serialized()))
        image = images.decode_image(schema.parse_image(record)["image"]).numpy()
        assert max(image.shape) > 112
        assert tfcount.load(run).count(image) == pytest.approx(results[0].predicted, rel=1e-5)

    def test_anchors_are_kept(self, run):
        entry = experiment.read_run(run)["validation"][-1]
        counter, _ = experiment.load_counter(run)
        line = {name.removeprefix("anchors_"): value for name, value in entry.items() if name.startswith("anchors_")}
        assert Anchors(**line) == counter.anchors
        with open(f"{run}/labels.json") as file:
            labels = json.load(file)
        assert labels["counts"] == 4 and labels["dots"] == 0 and labels["pairs"] > 0
        assert labels["validation"]["images"] == 0

    def test_the_exported_counter_counts_alike(self, run, rng, tmp_path):
        counter, _ = experiment.load_counter(run)
        serving.export(counter, str(tmp_path), experiment.read_threshold(run))
        image = rng.integers(0, 256, (40, 72, 3), dtype=np.uint8)
        here, there = tfcount.load(run), tfcount.load(tmp_path)
        assert there.anchors == here.anchors
        assert there.count(image) == pytest.approx(here.count(image), rel=1e-4, abs=1e-3)
        module = tf.saved_model.load(f"{tmp_path}/1")
        encoded = tf.io.encode_png(image)[None]
        assert here.threshold == there.threshold == np.inf and len(there.locate(image)[0]) == 0
        assert np.sum(module.density(image[None])["point_mask"]) == 0
        expected = here.count(image)
        for served in (module.count(encoded), module.density(image[None])):
            assert float(served["count"][0]) == pytest.approx(expected, rel=1e-4, abs=1e-3)
            assert bool(served["extrapolated"][0]) == here.anchors.extrapolates(expected)

    def test_commands_do_not_take_the_map_for_a_density(self, run, tmp_path, rng):
        printed = command("tfcount.evaluate", f"--model_dir={run}", f"--output={tmp_path}").stdout
        assert "BEYOND" in printed and "GAME" not in printed
        with open(tmp_path / "evaluation.json") as file:
            assert 0 <= json.load(file)["extrapolated"] <= 4
        errors = command("tfcount.evaluate", f"--model_dir={run}", "--localization", code=1).stderr
        assert "--localization needs a density, and the map of" in errors
        path = tmp_path / "picture.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
        command("tfcount.predict", f"--savedmodel={run}", f"--output={tmp_path}", path)
        with open(tmp_path / "points.json") as file:
            assert json.load(file) == {str(path): []}

    @pytest.mark.parametrize("lowest, highest, beyond", [(0.0, 10.0, True), (10.0, 30.0, False), (30.0, 90.0, True)])
    def test_counts_beyond_the_anchors_are_told(self, rng, tmp_path, lowest, highest, beyond):
        counter = build_counter("compact")
        image = rng.integers(0, 256, (1, 40, 72, 3), dtype=np.uint8)
        counter.anchors = Anchors(slope=1e-9, intercept=20.0, lowest=lowest, highest=highest, images=2)
        serving.export(counter, str(tmp_path))
        signature = tf.saved_model.load(f"{tmp_path}/1").signatures["density"]
        served = signature(image=tf.constant(np.repeat(image, 2, 0)))
        np.testing.assert_allclose(served["count"], [20, 20], rtol=1e-4)
        assert served["extrapolated"].numpy().tolist() == [beyond, beyond]

    @pytest.mark.parametrize("step", [3, 4])
    def test_resumed(self, crowds, tmp_path, stopping, step):
        """At the end of an interval, or inside one: a stopped run has its anchors, and goes on as if nothing was."""
        whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
        assert experiment.train(config(crowds), whole) == 0
        with stopping(step, signal.SIGTERM):
            assert experiment.train(config(crowds), parts) == 128 + signal.SIGTERM
        assert experiment.read_run(parts)["steps"] == step
        assert experiment.load_counter(parts)[0].anchors.images == 4
        assert experiment.train(config(crowds), parts, resume=True) == 0
        counters = [experiment.load_counter(folder)[0] for folder in (whole, parts)]
        for one, other in zip(*(counter.get_weights() for counter in counters), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert counters[0].anchors.slope == pytest.approx(counters[1].anchors.slope, rel=1e-3)
        # Weights without what was noted of them must not count by another line.
        notes = experiment.read_run(parts)
        with open(f"{parts}/run.json", "w") as file:
            json.dump(notes | {"validation": []}, file)
        with pytest.raises(ValueError, match="cannot count: .*run.json does not tell the line through its anchors"):
            experiment.load_counter(parts)

    def test_a_baseline_of_counts(self, crowds, tmp_path):
        folder = str(tmp_path / "run")
        assert experiment.train(config(crowds, pairs=False, supervision="all"), folder) == 0
        counter, _ = experiment.load_counter(folder)
        assert counter.anchors == Anchors()
        with open(f"{folder}/labels.json") as file:
            labels = json.load(file)
        assert (labels["counts"], labels["pairs"]) == (12, 0)


def test_from_some_counts_and_some_glances(crowds, tmp_path):
    """Somebody's own pictures: half of them counted, none dotted, pairs labeled, a counter trained."""
    pictures, data, questions = tmp_path / "pictures", str(tmp_path / "data"), tmp_path / "questions.csv"
    pictures.mkdir()
    everything = Records.open(crowds, "train")
    counts, lines = {}, ["image,count"]
    for index, (record, row) in enumerate(zip(everything.serialized(), everything.rows, strict=True)):
        name = f"{row.id}.png"
        image = images.decode_image(schema.parse_image(record)["image"]).numpy()
        cv2.imwrite(str(pictures / name), image[..., ::-1])
        counts[name] = row.count
        lines.append(f"{name},{row.count:g}" if index % 2 else f"{name},")
    (pictures / "counts.csv").write_text("\n".join(lines))
    command("tfrecords_tools.build", "--dataset=folder", f"--input={pictures}", f"--output={data}")
    command("tfcount.select_labels", f"--data_dir={data}", "--number=12", f"--output={questions}")
    with open(questions, newline="") as file:
        asked = [row[:2] for row in csv.reader(file)][1:]
    with open(questions, "w", newline="") as file:
        rows = [(one, other, "greater" if counts[one] > counts[other] else "less") for one, other in asked]
        csv.writer(file).writerows([("image_a", "image_b", "relation"), *rows])
    more = tmp_path / "more.csv"
    printed = command(
        "tfcount.select_labels", f"--data_dir={data}", f"--answers={questions}", f"--output={more}"
    ).stdout
    assert "Kept 12 new labels" in printed and more.exists()

    plain = config(data, labels="records", supervision="anchors", anchors=50)
    folder = str(tmp_path / "run")
    assert experiment.train(plain, folder) == 0
    with open(f"{folder}/labels.json") as file:
        labels = json.load(file)
    assert (labels["dots"], labels["counts"], labels["pairs"]) == (0, 6, 12)
    assert experiment.load_counter(folder)[0].anchors.images == 6
    # Held-out images of which nothing is known choose no weights.
    rows = Records.open(data, "train")
    seed = next(seed for seed in range(99) if np.isnan(rows.hold_out(0.05, seed)[1].rows[0].count))
    one = dataclasses.replace(plain, data=dataclasses.replace(plain.data, validation_fraction=0.05), seed=seed)
    with pytest.raises(ValueError, match="holds out 1 images of .* and the count of none is known"):
        experiment.train(one, str(tmp_path / "other"))


def test_potentials_that_do_not_grow(crowds, tmp_path, monkeypatch):
    """A run whose anchors give no line says so, and does not count."""
    monkeypatch.setattr(ranking, "ranking_hinge", lambda more, fewer, margin: more - fewer)
    folder = str(tmp_path / "run")
    assert experiment.train(config(crowds, steps=12), folder) == 0
    with pytest.raises(ValueError, match="cannot count: the potentials of its anchors do not grow with their counts"):
        experiment.load_counter(folder)
    with open(f"{folder}/train.log") as file:
        assert "no line through the anchors" in file.read()
