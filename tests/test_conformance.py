"""What every component must do, asked of every loss, layer and method; of counters, `models/test_counters` asks it."""

import dataclasses
import functools
import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcount
from tests.losses.test_density_losses import truth
from tests.running import read, run_training
from tfcount import distribution
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.layers.bilinear_doubling import BilinearDoubling
from tfcount.layers.multipolar_centers import MultipolarCenters
from tfcount.layers.pyramid_pooling import PyramidPooling
from tfcount.layers.standardized_convolution import StandardizedConvolution
from tfcount.losses import DENSITY_LOSSES
from tfcount.losses.annotations import DensityTargetLoss
from tfcount.losses.ranking_hinge import RankingHingeLoss
from tfcount.methods import METHODS
from tfcount.methods.method import MethodConfig, Plan
from tfcount.methods.ranking import Config as RankingConfig
from tfcount.records.folder import Records
from tfcount.runs import Run
from tfcount.serving import savedmodel

# What a small experiment of each method has besides the defaults.
EXPERIMENTS = {
    "l2sm": {"counter": "l2sm"},
    "ranking": {
        "data": {"crop": 0},
        "options": RankingConfig(anchors=4, supervision="anchors"),
        "train": {"optimizer": "adam", "learning_rate": 1e-3, "steps": 8, "validation_interval": 4},
    },
    "supervised": {},
}

# Whose own tests ask more of two replicas: methods/test_l2sm and methods/test_ranking.
REPLICAS_ELSEWHERE = {"l2sm", "ranking"}

LAYERS = {
    "bilinear_doubling": lambda: BilinearDoubling(),
    "multipolar_centers": lambda: MultipolarCenters(3, 0.5),
    "pyramid_pooling": lambda: PyramidPooling(4),
    "standardized_convolution": lambda: StandardizedConvolution(4, 3, strides=2, gain=0.3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_made_again_of_json(name):
    layer = LAYERS[name]()
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()


@functools.cache
def default(name):
    """The loss with its own settings, one for all tests: some compile themselves."""
    return DENSITY_LOSSES[name]()


@pytest.mark.parametrize("name", DENSITY_LOSSES)
class TestEveryDensityLoss:
    def test_one_value_an_example(self, name, rng):
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1)).astype("float32")
        loss = default(name)
        values = loss.call(y_true, y_pred)
        assert values.shape == (3,) and np.all(np.isfinite(values))
        one = loss.call({key: value[1:2] for key, value in y_true.items()}, y_pred[1:2])
        np.testing.assert_allclose(values[1], one[0], rtol=1e-3)

    def test_padding_is_free_and_may_be_anything(self, name, rng):
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1)).astype("float32")
        loss = default(name)
        padded = {
            "points": np.pad(y_true["points"], [[0, 0], [0, 4], [0, 0]], constant_values=np.nan),
            "point_mask": np.pad(y_true["point_mask"], [[0, 0], [0, 4]]),
        }
        np.testing.assert_allclose(loss.call(padded, y_pred), loss.call(y_true, y_pred), rtol=1e-3)

    def test_empty_images_and_empty_maps_have_finite_gradients(self, name, rng):
        y_true = truth(rng)
        y_true["point_mask"][1] = 0
        loss = default(name)
        for density in (rng.random((3, 8, 6, 1)), np.zeros((3, 8, 6, 1)), np.full((3, 8, 6, 1), 50.0)):
            y_pred = tf.constant(density, tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(y_pred)
                values = loss.call(y_true, y_pred)
            gradient = tape.gradient(values, y_pred).numpy()
            assert np.all(np.isfinite(values)) and np.all(np.isfinite(gradient))
            # Nobody there: less density is better, and none costs nothing.
            if density.any():
                assert values[1] > 0 and np.all(gradient[1] > 0)
            else:
                assert float(values[1]) == pytest.approx(0, abs=1e-6)

    def test_eager_equals_graph(self, name, rng):
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1)).astype("float32")
        loss = default(name)
        points = {"points": tf.TensorSpec([None, None, 2]), "point_mask": tf.TensorSpec([None, None])}
        graph = tf.function(loss.call, input_signature=[points, tf.TensorSpec([None, None, None, 1])])
        np.testing.assert_allclose(graph(y_true, y_pred), loss.call(y_true, y_pred), rtol=1e-4)

    def test_json_round_trip(self, name, rng):
        loss = DENSITY_LOSSES[name](stride=4)
        copy = type(loss).from_config(json.loads(json.dumps(loss.get_config())))
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1)).astype("float32")
        np.testing.assert_array_equal(copy.call(y_true, y_pred), loss.call(y_true, y_pred))

    def test_trains_in_plain_keras(self, name, rng):
        """The losses are of use without anything else of tfcount; `compile` takes one tensor for each output."""
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((64, 48, 3)), keras.layers.Conv2D(1, 8, 8, activation="relu")])
        model.compile(optimizer=keras.optimizers.Adam(0.01), loss=default(name))
        y_true = truth(rng)
        images = np.zeros((3, 64, 48, 3), "float32")
        for image, points in zip(images, y_true["points"].astype(int), strict=True):
            image[points[:, 1] // 8 * 8, points[:, 0] // 8 * 8] = 1.0
        tensor = np.concatenate([y_true["points"], y_true["point_mask"][..., None]], -1)
        before = model.evaluate(images, tensor, verbose=0)
        # One epoch of many steps: epochs of one take longer for what lies between them.
        repeated = (np.tile(values, (120, *[1] * (values.ndim - 1))) for values in (images, tensor))
        model.fit(*repeated, batch_size=3, shuffle=False, verbose=0)
        assert model.evaluate(images, tensor, verbose=0) < 0.7 * before

    def test_is_saved_with_a_model(self, name, tmp_path):
        model = keras.Sequential([keras.Input((64, 48, 3)), keras.layers.Conv2D(1, 8, 8)])
        model.compile(loss=DENSITY_LOSSES[name](stride=4))
        model.save(tmp_path / "model.keras")
        assert keras.models.load_model(tmp_path / "model.keras").loss.stride == 4

    def test_other_floats(self, name, rng):
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1))
        expected = default(name).call(y_true, np.float32(y_pred))
        np.testing.assert_allclose(default(name).call(y_true, y_pred), expected, rtol=1e-3)
        half = default(name).call(y_true, tf.cast(y_pred, tf.bfloat16))
        np.testing.assert_allclose(half, expected, rtol=0.05)

    @pytest.mark.parametrize("broken", ["density", "points"])
    def test_what_is_not_finite_stops(self, name, broken, rng):
        y_true, y_pred = truth(rng), rng.random((3, 8, 6, 1)).astype("float32")
        if broken == "points":
            y_true["points"][0, 0, 0] = np.nan
        else:
            y_pred[1, 2, 3] = np.inf
        with pytest.raises(tf.errors.InvalidArgumentError, match="a point is not finite|the density is not finite"):
            default(name).call(y_true, y_pred)

    def test_other_kinds_of_truth_are_refused(self, name, rng):
        y_pred = rng.random((3, 8, 6, 1)).astype("float32")
        with pytest.raises(ValueError, match=r"`y_true` must have `points` and `point_mask`. Received: \['heads'\]"):
            default(name).call({"heads": np.zeros((3, 2, 2))}, y_pred)
        with pytest.raises(ValueError, match=r"a tensor \(batch, m, 3\) of x, y and mask. Received: shape \(3, 2, 2\)"):
            default(name).call(np.zeros((3, 2, 2)), y_pred)

    def test_other_kinds_of_density_are_refused(self, name, rng):
        for shape in ((3, 8, 6), (3, 8, 6, 3)):
            with pytest.raises(
                ValueError, match=r"`y_pred` must be a density \(batch, h, w, 1\). Received: shape \(3, "
            ):
                default(name).call(truth(rng), np.zeros(shape, "float32"))

    @pytest.mark.parametrize("images", [1, 2, 4])
    def test_truth_of_other_images_is_refused(self, name, images, rng):
        """One image, or one density, would be compared with all: shapes broadcast, and nothing is said."""
        y_pred, y_true = rng.random((3, 8, 6, 1)).astype("float32"), truth(rng)
        other = {key: np.resize(value, (images, *value.shape[1:])) for key, value in y_true.items()}
        tensor = np.concatenate([other["points"], other["point_mask"][..., None]], -1)
        wrong = [other, tensor, {**y_true, "points": other["points"]}, {**y_true, "point_mask": other["point_mask"]}]
        wrong += [{**y_true, "span": np.tile([[0.0, 1.0]], (images, 1))}, {**y_true, "side": np.ones(images)}]
        if isinstance(default(name), DensityTargetLoss):
            wrong += [np.zeros((images, 8, 6, 1)), {"density": np.zeros((images, 8, 6, 1))}, np.zeros((3, 1, 1, 1))]
        for one in wrong:
            with pytest.raises(ValueError, match=r"must be of (as many images|shape|the shape) .* Received: shape"):
                default(name).call(one, y_pred)
        specs = {"points": tf.TensorSpec([None, None, 2]), "point_mask": tf.TensorSpec([None, None])}
        graph = tf.function(default(name).call, input_signature=[specs, tf.TensorSpec([None, None, None, 1])])
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be of as many images as `y_pred`"):
            graph(other, y_pred)


def test_pairs_and_their_potentials_are_equally_many():
    for relations, potentials in ((1, (3, 2)), (4, (3, 2)), (3, (3, 1)), (3, (3, 3))):
        with pytest.raises(ValueError, match=r"`y_true` must be of shape \(batch,\) or \(batch, 1\) and `y_pred` of"):
            RankingHingeLoss().call(np.ones(relations, "float32"), np.zeros(potentials, "float32"))


def experiment(name, folder, **train):
    """A small experiment of a method on records."""
    changes = dict(EXPERIMENTS[name])
    data = DataConfig(dir=folder, validation_fraction=0.25, **{"crop": 64, **changes.pop("data", {})})
    # Plain gradient descent: Adam makes of a gradient of nearly zero a step of either sign.
    train = {**changes.pop("train", {}), **train}
    values = {"steps": 2, "batch_size": 4, "warmup_steps": 0, "validation_interval": 1, "ema": 0.5, "optimizer": "sgd"}
    return ExperimentConfig(
        method=name,
        data=data,
        encoder=EncoderConfig(name="compact" if changes.get("counter") == "l2sm" else "vgg16"),
        train=TrainConfig(**{**values, "learning_rate": 1e-5, **train}),
        **{"counter": "compact", **changes},
    )


def test_every_method_has_an_experiment():
    assert EXPERIMENTS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - REPLICAS_ELSEWHERE))
def test_two_replicas_train_like_one(name, crowds, tmp_path, monkeypatch, two_replicas):
    losses = []
    for folder, strategy in (("one", tf.distribute.get_strategy()), ("two", two_replicas)):
        monkeypatch.setattr(distribution, "strategy", lambda strategy=strategy: strategy)
        assert run_training(experiment(name, crowds), str(tmp_path / folder)) == 0
        losses.append([entry["loss"] for entry in Run(str(tmp_path / folder)).notes()["validation"]])
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(METHODS))
class TestEveryMethod:
    @pytest.fixture(scope="class")
    def runs(self, crowds, tmp_path_factory):
        """The runs of the methods, each trained once."""

        @functools.cache
        def run_of(name):
            folder = str(tmp_path_factory.mktemp("conformance") / name)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(distribution, "strategy", tf.distribute.get_strategy)
                assert run_training(experiment(name, crowds), folder) == 0
            return folder

        return run_of

    def test_its_plan_and_its_options(self, name, crowds):
        method = METHODS[name]
        assert issubclass(method.Config, MethodConfig) and dataclasses.is_dataclass(method.Config)
        records = Records.open(crowds, "train")
        options = experiment(name, crowds).options
        plan = method.plan(options, records, 0)
        assert isinstance(plan, Plan)
        assert plan.label_cost.keys() == {"images", "dots", "counts", "pairs", "columns"}
        assert plan.anchors <= {row.id for row in records.rows}
        again = method.plan(options, records, 0)
        assert (again.label_cost, again.anchors) == (plan.label_cost, plan.anchors)

    def test_a_checkpoint_is_gone_on_from(self, name, runs, crowds, tmp_path):
        """The last one is removed: the run goes on from the one before, to the same losses."""
        folder, last = str(tmp_path / "run"), experiment(name, crowds).train.steps
        shutil.copytree(runs(name), folder)
        for file in os.listdir(f"{folder}/checkpoints"):
            if file.startswith(f"ckpt-{last}."):
                os.remove(f"{folder}/checkpoints/{file}")
        assert run_training(experiment(name, crowds), folder, resume=True) == 0
        expected, found = (Run(path).notes()["validation"][-1] for path in (runs(name), folder))
        assert found["step"] == expected["step"] == last
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)

    def test_what_is_exported_counts_like_the_run(self, name, runs, rng, tmp_path):
        counter, calibration = Run(runs(name)).load_counter()
        here, there = tfcount.load(runs(name)), tfcount.load(savedmodel.export(counter, str(tmp_path), calibration))
        assert there.calibration == here.calibration
        for size in ((40, 72), (96, 64)):
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            one, other = here.predict(image), there.predict(image)
            assert other.count == pytest.approx(one.count, rel=1e-3, abs=1e-3)
            np.testing.assert_allclose(other.density, one.density, rtol=1e-2, atol=1e-4)

    def test_its_cost_is_kept(self, name, runs, crowds):
        labels = read(runs(name), "labels.json")
        assert labels["training"]["images"] > 0
        assert all(labels[key] == labels["training"][key] + labels["validation"][key] for key in labels["training"])
