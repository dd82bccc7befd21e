import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.records import tiny
from tests.running import read, run_training, small_config, weights
from tfcount import assembly, distribution, flags, intervals, runs
from tfcount.config import EncoderConfig, TrainConfig
from tfcount.losses.density_l2 import DensityL2Loss
from tfcount.methods import supervised
from tfcount.models import build_counter
from tfcount.runs import Run

ROOT = pathlib.Path(__file__).parent.parent


class TestRun:
    def test_files(self, run):
        names = {"run.flags", "train.log", "run.json", "labels.json", "best.weights.h5", "last.weights.h5"}
        names |= {"best.calibration.json", "last.calibration.json", "checkpoints", "tensorboard"}
        assert names == set(os.listdir(run))

    def test_flags_read_back(self, run, crowds):
        assert flags.from_file(os.path.join(run, "run.flags")) == small_config(crowds)

    def test_run_json(self, run):
        content = read(run, "run.json")
        assert content["steps"] == 6 and content["seed"] == 0
        assert content["training_minutes"] > 0
        assert content["versions"]["tensorflow"] == tf.__version__
        assert [entry["step"] for entry in content["validation"]] == [2, 4, 6]
        assert all(entry["val_rmse"] >= entry["val_mae"] > 0 for entry in content["validation"])

    def test_labels_include_those_of_validation(self, run, crowds):
        labels = read(run, "labels.json")
        manifest = read(crowds, "manifest.json")
        assert labels["images"] == 12 and labels["validation"]["images"] == 3
        assert labels["dots"] == manifest["splits"]["train"]["points"]

    def test_best_weights_have_the_lowest_mae(self, run):
        entries = read(run, "run.json")["validation"]
        best = min(entries, key=lambda entry: entry["val_mae"])
        same = all(np.array_equal(a, b) for a, b in zip(weights(run), weights(run, runs.BEST), strict=True))
        assert same == (best is entries[-1])

    def test_tensorboard(self, run):
        tags, losses = set(), []
        (path,) = pathlib.Path(run, "tensorboard").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags |= {value.tag for value in event.summary.value}
            found = [value.tensor for value in event.summary.value if value.tag == "training/loss"]
            losses += [(event.step, float(tf.make_ndarray(tensor))) for tensor in found]
        # A point of the curve where an interval ends, too, and none twice.
        entries = read(run, "run.json")["validation"]
        assert [step for step, _ in losses] == [entry["step"] for entry in entries]
        assert [loss for _, loss in losses] == pytest.approx([entry["loss"] for entry in entries], rel=1e-4)
        assert {"training/loss", "training/density", "training/learning_rate", "training/images_per_second"} <= tags
        assert {"validation/mae", "validation/rmse", "validation/0"} <= tags

    def test_the_end_tells_what_was_reached_and_what_is_next(self, run):
        """And the command that it names is one."""
        (line,) = [line for line in pathlib.Path(run, "train.log").read_text().splitlines() if "Done" in line]
        best = min(read(run, "run.json")["validation"], key=lambda entry: entry["val_mae"])
        assert re.search(
            rf"Done: 6 steps in .* minutes, best validation MAE {best['val_mae']:.1f} at step {best['step']}\.", line
        )
        assert line.endswith(f" Next: python -m tfcount.evaluate --model_dir={run}")

    def test_a_second_run_in_the_folder_is_refused(self, run, crowds):
        with pytest.raises(FileExistsError, match="holds a run already: add --resume"):
            run_training(small_config(crowds), run)

    def test_resume_with_other_flags_is_refused(self, run, crowds):
        with pytest.raises(ValueError, match=r"other flags: there \['--train_steps=6'\], here \['--train_steps=7'\]"):
            run_training(small_config(crowds, steps=7), run, resume=True)

    def test_resume_of_a_complete_run_does_nothing(self, run, crowds, tmp_path):
        run = str(shutil.copytree(run, tmp_path / "run"))
        before = weights(run)
        # As if by another version of the code.
        notes = read(run, "run.json") | {"commit": "before"}
        pathlib.Path(run, "run.json").write_text(json.dumps(notes))
        assert run_training(small_config(crowds), run, resume=True) == 0
        assert read(run, "run.json")["commit"] == "before"
        for one, other in zip(weights(run), before, strict=True):
            np.testing.assert_array_equal(one, other)


def test_without_held_out_images(crowds, tmp_path):
    """Nor a test split: then nothing can be evaluated, and the counter be used."""
    data = str(shutil.copytree(crowds, tmp_path / "train_only"))
    tiny.forget_checksums(data)
    manifest = read(data, "manifest.json")
    del manifest["splits"]["test"]
    pathlib.Path(data, "manifest.json").write_text(json.dumps(manifest))
    index = pathlib.Path(data, "index.csv")
    index.write_text("".join(line for line in index.open() if not line.startswith("test,")))
    whole = small_config(data, steps=2)
    whole = dataclasses.replace(whole, data=dataclasses.replace(whole.data, validation_fraction=0.0))
    assert run_training(whole, str(tmp_path / "run")) == 0
    assert not (tmp_path / "run" / "best.weights.h5").exists()
    run = Run(str(tmp_path / "run"))
    assert run.config() == whole and run.load_counter()[0].name == "mcnn"
    log = (tmp_path / "run" / "train.log").read_text()
    assert "best validation" not in log
    assert f" Next: python -m tfcount.export --model_dir={run.folder} --output=savedmodels/run\n" in log


def test_the_validated_weights_are_the_averaged_ones(crowds, tmp_path):
    run_training(small_config(crowds, steps=2, ema=0.9), str(tmp_path / "averaged"))
    run_training(small_config(crowds, steps=2, ema=0.0), str(tmp_path / "plain"))
    averaged, plain = weights(str(tmp_path / "averaged")), weights(str(tmp_path / "plain"))
    assert any(not np.allclose(a, b, rtol=1e-7, atol=0) for a, b in zip(averaged, plain, strict=True))


def test_learning_rate_that_explodes(crowds, tmp_path):
    explosive = small_config(crowds, learning_rate=1e39, warmup_steps=0, ema=0.0, steps=20, weight_decay=0.0)
    with pytest.raises(FloatingPointError, match=r"The density is not finite at step \d+; .*--train_learning_rate"):
        run_training(explosive, str(tmp_path / "run"))


class TestTwoDevices:
    @pytest.fixture
    def both(self, two_replicas, monkeypatch):
        monkeypatch.setattr(distribution, "strategy", lambda: two_replicas)

    def test_a_run_is_like_that_on_one(self, both, run, crowds, tmp_path):
        folder = str(tmp_path / "run")
        assert run_training(small_config(crowds), folder) == 0
        assert read(folder, "run.json")["hardware"]["replicas"] == 2
        for one, other in zip(weights(folder), weights(run), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)

    def test_batch_that_cannot_be_shared_out(self, both, crowds, tmp_path):
        with pytest.raises(ValueError, match="--train_batch_size=3 must be a multiple of the number of devices, 2"):
            run_training(small_config(crowds, batch_size=3), str(tmp_path / "run"))


def test_sixteen_bits_with_loss_scaling_average_the_weights(crowds, tmp_path):
    """Infinite gradients make loss scaling skip steps, which count as steps taken all the same."""
    folder = str(tmp_path / "run")
    assert run_training(small_config(crowds, precision="mixed_float16", ema=0.9), folder) == 0
    assert read(folder, "run.json")["steps"] == 6
    method = supervised.build(supervised.Config(), build_counter("mcnn"), DensityL2Loss)
    optimizer = assembly.build_optimizer(TrainConfig(precision="mixed_float16", ema=0.9))
    optimizer.build(method.trainable_variables)
    method.compile(optimizer=optimizer)
    inner = optimizer.inner_optimizer
    inner.iterations.assign(1)
    for average in inner._model_variables_moving_average:
        average.assign(average * 0 + 7)
    before = method.trainable_variables[0].numpy()
    with intervals.averaged_weights(method):
        assert np.all(method.trainable_variables[0].numpy() == 7)
    np.testing.assert_array_equal(method.trainable_variables[0].numpy(), before)


@pytest.mark.parametrize("train", [{"batch_size": 50}, {"weight_decay": 0.0, "batch_size": 11}])
def test_a_failed_start_leaves_no_run(crowds, tmp_path, train):
    with pytest.raises(ValueError, match="--train_batch_size=.* is larger than the number of labeled training images"):
        run_training(small_config(crowds, **train), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_without_git(crowds, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert run_training(small_config(crowds, steps=1), str(tmp_path / "run")) == 0
    assert read(str(tmp_path / "run"), "run.json")["commit"] is None


def test_failing_before_training_leaves_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="No records in"):
        run_training(small_config(str(tmp_path)), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_it_learns(crowds, tmp_path):
    """The error on the test images falls below half of what always answering the mean gives."""
    from tfcount import evaluation
    from tfcount.data.streams.evaluation import whole_images
    from tfcount.records.folder import Records

    longer = small_config(crowds, steps=600, batch_size=8, learning_rate=1e-3, validation_interval=600, ema=0.98)
    longer = dataclasses.replace(longer, density=dataclasses.replace(longer.density, loss="block_count"))
    run_training(longer, str(tmp_path / "run"))
    train, test = Records.open(crowds, "train"), Records.open(crowds, "test")
    results = evaluation.evaluate(Run(str(tmp_path / "run")).load(), whole_images(test))
    truth = [result.ground_truth for result in results]
    baseline = evaluation.mean_count_mae([row.count for row in train.rows], truth)
    assert evaluation.summarize(results)["mae"] < baseline / 2


class TestInitialWeights:
    def test_of_a_run_or_a_file(self, run, crowds, tmp_path):
        for name, source in (("run", run), ("file", os.path.join(run, runs.BEST))):
            # A learning rate of zero keeps what training started with.
            start = dataclasses.replace(small_config(crowds, steps=1, learning_rate=0.0), initial_weights=source)
            assert run_training(start, str(tmp_path / name)) == 0
            for one, other in zip(weights(str(tmp_path / name)), weights(run, runs.BEST), strict=True):
                np.testing.assert_array_equal(one, other)
            labels = read(str(tmp_path / name), "labels.json")
            assert labels.pop("initial_weights") == read(run, "labels.json") == labels

    def test_a_run_goes_on_where_they_are_gone(self, run, crowds, tmp_path):
        source = str(shutil.copy(os.path.join(run, runs.LAST), tmp_path / "start.weights.h5"))
        start = dataclasses.replace(small_config(crowds, steps=4), initial_weights=source)
        assert run_training(start, str(tmp_path / "run")) == 0
        os.remove(source)
        assert run_training(start, str(tmp_path / "run"), resume=True) == 0

    @pytest.mark.parametrize(
        "source, error, message",
        [
            ("missing", FileNotFoundError, "'missing' is neither the folder of a run nor a .weights.h5 file"),
            (".", FileNotFoundError, "--initial_weights=. holds no run: give the folder of one, or a file"),
            (__file__, ValueError, "test_training.py does not hold the weights of counter 'mcnn'"),
        ],
    )
    def test_no_weights(self, crowds, tmp_path, source, error, message):
        with pytest.raises(error, match=message):
            run_training(dataclasses.replace(small_config(crowds), initial_weights=source), str(tmp_path / "run"))
        assert not (tmp_path / "run").exists()


class TestFrozenEncoder:
    @staticmethod
    def frozen(crowds, cache, **train):
        plain = small_config(crowds, **{"ema": 0.0, "learning_rate": 1e-3, **train})
        encoder = EncoderConfig(weights="none", trainable=False)
        return dataclasses.replace(plain, counter="resnet50", encoder=encoder, cache_features=cache)

    @pytest.mark.parametrize("cache", [False, True])
    def test_only_the_rest_learns(self, crowds, tmp_path, cache):
        whole = self.frozen(crowds, cache)
        folder = str(tmp_path / "run")
        assert run_training(whole, folder) == 0
        assert "features" not in os.listdir(folder)
        keras.utils.set_random_seed(whole.seed)
        start = build_counter("resnet50", encoder_weights="none")
        counter, _ = Run(folder).load_counter()
        for one, other in zip(counter.encoder.get_weights(), start.encoder.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert any(np.any(a != b) for a, b in zip(counter.head.get_weights(), start.head.get_weights(), strict=True))

    def test_on_two_devices(self, two_replicas, monkeypatch, crowds, tmp_path):
        monkeypatch.setattr(distribution, "strategy", lambda: two_replicas)
        assert run_training(self.frozen(crowds, True, steps=2), str(tmp_path / "run")) == 0

    def test_resumed(self, crowds, tmp_path, stopping):
        whole, folder = self.frozen(crowds, True), str(tmp_path / "run")
        with stopping(3, signal.SIGTERM):
            assert run_training(whole, folder) == 128 + signal.SIGTERM
        assert run_training(whole, folder, resume=True) == 0
        unbroken = str(tmp_path / "unbroken")
        run_training(whole, unbroken)
        for one, other in zip(weights(folder), weights(unbroken), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)

    def test_without_an_encoder(self, crowds):
        wrong = dataclasses.replace(small_config(crowds), encoder=EncoderConfig(trainable=False))
        with pytest.raises(ValueError, match="--encoder_trainable=false: counter 'mcnn' has no encoder"):
            assembly.build_counter(wrong)

    def test_features_that_change_cannot_be_kept(self, crowds):
        with pytest.raises(ValueError, match="--cache_features needs --encoder_trainable=false"):
            dataclasses.replace(small_config(crowds), cache_features=True)

    def test_crops_that_cells_do_not_fill(self, crowds):
        whole = self.frozen(crowds, True)
        with pytest.raises(
            ValueError, match="--cache_features needs --data_crop to be a positive multiple of 32. Received: 50"
        ):
            dataclasses.replace(whole, data=dataclasses.replace(whole.data, crop=50))
