import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount import callbacks, experiment, flags
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data.streams import DataConfig
from tfcount.losses.density_l2 import DensityL2Loss
from tfcount.methods import supervised
from tfcount.models import build_counter

ROOT = pathlib.Path(__file__).parent.parent


def config(crowds, **train):
    values = {
        "steps": 6,
        "batch_size": 4,
        "warmup_steps": 2,
        "learning_rate": 1e-4,
        "validation_interval": 2,
        "ema": 0.5,
    }
    return ExperimentConfig(
        counter="mcnn",
        data=DataConfig(dir=crowds, crop=64, validation_fraction=0.25),
        train=TrainConfig(**{**values, **train}),
    )


@pytest.fixture(scope="module")
def run(crowds, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "strategy", tf.distribute.get_strategy)
        assert experiment.train(config(crowds), folder) == 0
    return folder


def weights(folder, name=experiment.LAST):
    counter, _ = experiment.load_counter(folder)
    counter.load_weights(os.path.join(folder, name))
    return counter.get_weights()


def read(folder, name):
    return json.loads(pathlib.Path(folder, name).read_text())


class TestRun:
    def test_files(self, run):
        names = {"run.flags", "train.log", "run.json", "labels.json", "best.weights.h5", "last.weights.h5"}
        assert names | {"checkpoints", "tensorboard"} == set(os.listdir(run))

    def test_flags_read_back(self, run, crowds):
        assert flags.from_file(os.path.join(run, "run.flags")) == config(crowds)

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
        same = all(np.array_equal(a, b) for a, b in zip(weights(run), weights(run, experiment.BEST), strict=True))
        assert same == (best is entries[-1])

    def test_tensorboard(self, run):
        tags = set()
        (path,) = pathlib.Path(run, "tensorboard").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags |= {value.tag for value in event.summary.value}
        assert {"training/loss", "training/density", "training/learning_rate", "training/images_per_second"} <= tags
        assert {"validation/mae", "validation/rmse", "validation/0"} <= tags

    def test_a_second_run_in_the_folder_is_refused(self, run, crowds):
        with pytest.raises(FileExistsError, match="holds a run already: add --resume"):
            experiment.train(config(crowds), run)

    def test_resume_with_other_flags_is_refused(self, run, crowds):
        with pytest.raises(ValueError, match=r"other flags: there \['--train_steps=6'\], here \['--train_steps=7'\]"):
            experiment.train(config(crowds, steps=7), run, resume=True)

    def test_resume_of_a_complete_run_does_nothing(self, run, crowds):
        before = weights(run)
        assert experiment.train(config(crowds), run, resume=True) == 0
        for one, other in zip(weights(run), before, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_equals_unbroken(run, crowds, tmp_path, stopping, capsys, number):
    """The signal comes in the middle of an epoch; weights, averages and order of the data go on as if nothing was."""
    folder = str(tmp_path / "run")
    with stopping(3, number):
        assert experiment.train(config(crowds), folder) == 128 + number
    assert f"Stopped by {number.name} after step 3 of 6" in capsys.readouterr().err
    assert read(folder, "run.json")["steps"] == 3
    assert experiment.train(config(crowds), folder, resume=True) == 0
    for name in (experiment.LAST, experiment.BEST):
        for one, other in zip(weights(folder, name), weights(run, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert read(folder, "run.json")["steps"] == 6
    # Step 3 was not validated, and validation came at the steps at which it comes without a stop.
    validations = [entry for entry in read(folder, "run.json")["validation"] if "val_mae" in entry]
    for entry, expected in zip(validations, read(run, "run.json")["validation"], strict=True):
        assert entry["step"] == expected["step"]
        np.testing.assert_allclose(entry["val_mae"], expected["val_mae"], rtol=1e-4)


def test_a_signal_at_the_end_of_an_interval_keeps_its_validation(crowds, tmp_path, stopping):
    folder = str(tmp_path / "run")
    with stopping(4, signal.SIGTERM):
        assert experiment.train(config(crowds), folder) == 128 + signal.SIGTERM
    assert experiment.train(config(crowds), folder, resume=True) == 0
    entries = read(folder, "run.json")["validation"]
    assert [entry["step"] for entry in entries] == [2, 4, 6]
    assert all("val_mae" in entry for entry in entries)


def test_resume_with_other_records_is_refused(crowds, tmp_path):
    records = str(shutil.copytree(crowds, tmp_path / "records"))
    assert experiment.train(config(records, steps=2), str(tmp_path / "run")) == 0
    manifest = read(records, "manifest.json")
    manifest["splits"]["train"]["shards"][0]["sha256"] = "0" * 64
    pathlib.Path(records, "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="--resume: the records in .* are not those that the run in .* was started"):
        experiment.train(config(records, steps=2), str(tmp_path / "run"), resume=True)


def test_without_held_out_images(crowds, tmp_path):
    whole = config(crowds, steps=2)
    whole = dataclasses.replace(whole, data=dataclasses.replace(whole.data, validation_fraction=0.0))
    assert experiment.train(whole, str(tmp_path / "run")) == 0
    assert not (tmp_path / "run" / "best.weights.h5").exists()
    counter, read_back = experiment.load_counter(str(tmp_path / "run"))
    assert read_back == whole and counter.name == "mcnn"


def test_the_validated_weights_are_the_averaged_ones(crowds, tmp_path):
    experiment.train(config(crowds, steps=2, ema=0.9), str(tmp_path / "averaged"))
    experiment.train(config(crowds, steps=2, ema=0.0), str(tmp_path / "plain"))
    averaged, plain = weights(str(tmp_path / "averaged")), weights(str(tmp_path / "plain"))
    assert any(not np.allclose(a, b, rtol=1e-7, atol=0) for a, b in zip(averaged, plain, strict=True))


def test_learning_rate_that_explodes(crowds, tmp_path):
    explosive = config(crowds, learning_rate=1e39, warmup_steps=0, ema=0.0, steps=20, weight_decay=0.0)
    with pytest.raises(FloatingPointError, match=r"The density is not finite at step \d+; .*--train_learning_rate"):
        experiment.train(explosive, str(tmp_path / "run"))


class TestTwoDevices:
    @pytest.fixture
    def both(self, two_replicas, monkeypatch):
        monkeypatch.setattr(experiment, "strategy", lambda: two_replicas)

    def test_a_run_is_like_that_on_one(self, both, run, crowds, tmp_path):
        folder = str(tmp_path / "run")
        assert experiment.train(config(crowds), folder) == 0
        assert read(folder, "run.json")["hardware"]["replicas"] == 2
        for one, other in zip(weights(folder), weights(run), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)

    def test_batch_that_cannot_be_shared_out(self, both, crowds, tmp_path):
        with pytest.raises(ValueError, match="--train_batch_size=3 must be a multiple of the number of devices, 2"):
            experiment.train(config(crowds, batch_size=3), str(tmp_path / "run"))


def test_sixteen_bits_with_loss_scaling_average_the_weights(crowds, tmp_path):
    """Infinite gradients make loss scaling skip steps, which count as steps taken all the same."""
    folder = str(tmp_path / "run")
    assert experiment.train(config(crowds, precision="mixed_float16", ema=0.9), folder) == 0
    assert read(folder, "run.json")["steps"] == 6
    method = supervised.build(supervised.Config(), build_counter("mcnn"), DensityL2Loss)
    optimizer = experiment.build_optimizer(TrainConfig(precision="mixed_float16", ema=0.9))
    optimizer.build(method.trainable_variables)
    method.compile(optimizer=optimizer)
    inner = optimizer.inner_optimizer
    inner.iterations.assign(1)
    for average in inner._model_variables_moving_average:
        average.assign(average * 0 + 7)
    before = method.trainable_variables[0].numpy()
    with callbacks.averaged_weights(method):
        assert np.all(method.trainable_variables[0].numpy() == 7)
    np.testing.assert_array_equal(method.trainable_variables[0].numpy(), before)


@pytest.mark.parametrize("train", [{"batch_size": 50}, {"weight_decay": 0.0, "batch_size": 11}])
def test_a_failed_start_leaves_no_run(crowds, tmp_path, train):
    with pytest.raises(ValueError, match="--train_batch_size=.* is larger than the number of labeled training images"):
        experiment.train(config(crowds, **train), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_checkpoints_of_another_run_are_not_continued(run, crowds, tmp_path):
    shutil.copytree(os.path.join(run, "checkpoints"), tmp_path / "run" / "checkpoints")
    with pytest.raises(FileExistsError, match="holds a run already"):
        experiment.train(config(crowds), str(tmp_path / "run"))


def test_without_git(crowds, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert experiment.train(config(crowds, steps=1), str(tmp_path / "run")) == 0
    assert read(str(tmp_path / "run"), "run.json")["commit"] is None


def test_nothing_to_resume(crowds, tmp_path):
    with pytest.raises(FileNotFoundError, match="--resume: .* holds no run"):
        experiment.train(config(crowds), str(tmp_path / "run"), resume=True)


def test_failing_before_training_leaves_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="No records in"):
        experiment.train(config(str(tmp_path)), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_encoder_weights_for_a_counter_without_encoder(crowds):
    wrong = dataclasses.replace(config(crowds), encoder=EncoderConfig(weights="file.h5"))
    with pytest.raises(ValueError, match="--encoder_weights=file.h5: counter 'mcnn' has no encoder"):
        experiment.counter_options(wrong)


def test_no_run_to_load(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        experiment.load_counter(str(tmp_path))


def test_weights_of_another_counter(run, tmp_path):
    (tmp_path / "run.flags").write_text("--counter=csrnet\n--encoder_weights=none\n")
    (tmp_path / "last.weights.h5").write_bytes(pathlib.Path(run, "last.weights.h5").read_bytes())
    with pytest.raises(ValueError, match="last.weights.h5 does not hold the weights of counter 'csrnet'"):
        experiment.load_counter(str(tmp_path))


@pytest.mark.slow
def test_it_learns(crowds, tmp_path):
    """The error on the test images falls below half of what always answering the mean gives."""
    from tfcount import evaluation
    from tfcount.data import streams
    from tfcount.records.folder import Records

    longer = config(crowds, steps=600, batch_size=8, learning_rate=1e-3, validation_interval=600, ema=0.98)
    longer = dataclasses.replace(longer, density=dataclasses.replace(longer.density, loss="block_count"))
    experiment.train(longer, str(tmp_path / "run"))
    counter, _ = experiment.load_counter(str(tmp_path / "run"))
    train, test = Records.open(crowds, "train"), Records.open(crowds, "test")
    results = evaluation.evaluate(evaluation.density_function(counter), counter.stride, streams.evaluation(test))
    truth = [result.ground_truth for result in results]
    baseline = evaluation.mean_count_mae([row.count for row in train.rows], truth)
    assert evaluation.summarize(results)["mae"] < baseline / 2


def test_a_killed_command_goes_on(crowds, tmp_path):
    """SIGTERM to the real command: it says how to go on, and --resume does."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "tfcount.train", f"--data_dir={crowds}", f"--model_dir={folder}", "--counter=mcnn"]
    command += ["--data_crop=32", "--train_batch_size=2", "--train_steps=100000", "--train_validation_interval=5"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "last.weights.h5").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "Go on with the same command and --resume." in errors
    assert "Traceback" not in errors
    assert read(folder, "run.json")["steps"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_features_are_encoded(crowds, tmp_path, number):
    command = [sys.executable, "-m", "tfcount.train", f"--data_dir={crowds}", f"--model_dir={tmp_path / 'run'}"]
    command += ["--encoder_weights=none", "--noencoder_trainable", "--cache_features", "--train_batch_size=2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "features" / "0.npy").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "features").exists()


def test_killed_at_once_and_resumed_equals_unbroken_to_the_bit(crowds, tmp_path):
    """SIGKILL leaves no time to save: the steps since the last checkpoint are taken again, and give the same."""

    def start(folder, *more):
        command = [sys.executable, "-m", "tfcount.train", f"--data_dir={crowds}", f"--model_dir={folder}"]
        command += [
            "--counter=compact",
            "--data_crop=32",
            "--train_batch_size=2",
            "--train_steps=60",
            "--train_ema=0.9",
        ]
        command += ["--train_validation_interval=5", "--data_validation_fraction=0.2", "--deterministic", *more]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    unbroken, killed = str(tmp_path / "unbroken"), str(tmp_path / "killed")
    process = start(unbroken)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    process = start(killed)
    while not os.path.exists(os.path.join(killed, "run.json")) or read(killed, "run.json")["steps"] < 15:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    process = start(killed, "--resume")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Resuming after" in errors
    # The losses of each interval and the errors on the held-out images, as written: every digit of them.
    assert read(killed, "run.json")["validation"] == read(unbroken, "run.json")["validation"]
    for name in (experiment.BEST, experiment.LAST):
        for one, other in zip(weights(killed, name), weights(unbroken, name), strict=True):
            np.testing.assert_array_equal(one, other)


class TestDamagedCheckpoints:
    @pytest.fixture
    def stopped(self, run, tmp_path):
        """The run at step 4, with checkpoints of steps 4 and 6."""
        folder = tmp_path / "run"
        shutil.copytree(run, folder)
        return folder

    def truncate(self, path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def test_the_one_before_is_taken(self, stopped, crowds, run, capsys):
        self.truncate(stopped / "checkpoints" / "ckpt-6.data-00000-of-00001")
        assert experiment.train(config(crowds), str(stopped), resume=True) == 0
        messages = capsys.readouterr().err
        assert "ckpt-6 is damaged" in messages and "Resuming after 4 of 6 steps" in messages
        for one, other in zip(weights(str(stopped)), weights(run), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert [entry["step"] for entry in read(stopped, "run.json")["validation"]] == [2, 4, 6]

    def test_none_is_whole(self, stopped, crowds):
        for step in (4, 6):
            self.truncate(stopped / "checkpoints" / f"ckpt-{step}.data-00000-of-00001")
        with pytest.raises(ValueError, match="No checkpoint in .* can be read: start again in another --model_dir"):
            experiment.train(config(crowds), str(stopped), resume=True)

    def test_without_the_list_of_checkpoints_the_newest_is_found(self, stopped, crowds, capsys):
        (stopped / "checkpoints" / "checkpoint").unlink()
        (stopped / "checkpoints" / "ckpt-6.index").unlink()
        assert experiment.train(config(crowds), str(stopped), resume=True) == 0
        assert "Resuming after 4 of 6 steps" in capsys.readouterr().err

    def test_a_run_whose_checkpoints_are_gone_is_not_overwritten(self, stopped, crowds):
        shutil.rmtree(stopped / "checkpoints")
        before = (stopped / "best.weights.h5").read_bytes()
        with pytest.raises(ValueError, match="checkpoints of the run are gone from .* --initial_weights="):
            experiment.train(config(crowds), str(stopped), resume=True)
        assert (stopped / "best.weights.h5").read_bytes() == before

    def test_half_written_checkpoint_beside_whole_ones(self, stopped, crowds):
        """What is left of a checkpoint that was being written is not listed, and not looked at."""
        (stopped / "checkpoints" / "ckpt-7.data-00000-of-00001.tempstate123").write_bytes(b"half")
        assert experiment.train(config(crowds), str(stopped), resume=True) == 0


class TestInitialWeights:
    def test_of_a_run_or_a_file(self, run, crowds, tmp_path):
        for name, source in (("run", run), ("file", os.path.join(run, experiment.BEST))):
            # A learning rate of zero keeps what training started with.
            start = dataclasses.replace(config(crowds, steps=1, learning_rate=0.0), initial_weights=source)
            assert experiment.train(start, str(tmp_path / name)) == 0
            for one, other in zip(weights(str(tmp_path / name)), weights(run, experiment.BEST), strict=True):
                np.testing.assert_array_equal(one, other)
            labels = read(str(tmp_path / name), "labels.json")
            assert labels.pop("initial_weights") == read(run, "labels.json") == labels

    def test_a_run_goes_on_where_they_are_gone(self, run, crowds, tmp_path):
        source = str(shutil.copy(os.path.join(run, experiment.LAST), tmp_path / "start.weights.h5"))
        start = dataclasses.replace(config(crowds, steps=4), initial_weights=source)
        assert experiment.train(start, str(tmp_path / "run")) == 0
        os.remove(source)
        assert experiment.train(start, str(tmp_path / "run"), resume=True) == 0

    @pytest.mark.parametrize(
        "source, error, message",
        [
            ("missing", FileNotFoundError, "'missing' is neither the folder of a run nor a .weights.h5 file"),
            (".", FileNotFoundError, "holds no weights yet"),
            (__file__, ValueError, "test_experiment.py does not hold the weights of counter 'mcnn'"),
        ],
    )
    def test_no_weights(self, crowds, tmp_path, source, error, message):
        with pytest.raises(error, match=message):
            experiment.train(dataclasses.replace(config(crowds), initial_weights=source), str(tmp_path / "run"))
        assert not (tmp_path / "run").exists()


class TestFrozenEncoder:
    @staticmethod
    def frozen(crowds, cache, **train):
        plain = config(crowds, **{"ema": 0.0, "learning_rate": 1e-3, **train})
        encoder = EncoderConfig(weights="none", trainable=False)
        return dataclasses.replace(plain, counter="resnet50", encoder=encoder, cache_features=cache)

    @pytest.mark.parametrize("cache", [False, True])
    def test_only_the_rest_learns(self, crowds, tmp_path, cache):
        whole = self.frozen(crowds, cache)
        folder = str(tmp_path / "run")
        assert experiment.train(whole, folder) == 0
        assert "features" not in os.listdir(folder)
        keras.utils.set_random_seed(whole.seed)
        start = build_counter("resnet50", encoder_weights="none")
        counter, _ = experiment.load_counter(folder)
        for one, other in zip(counter.encoder.get_weights(), start.encoder.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert any(np.any(a != b) for a, b in zip(counter.head.get_weights(), start.head.get_weights(), strict=True))

    def test_on_two_devices(self, two_replicas, monkeypatch, crowds, tmp_path):
        monkeypatch.setattr(experiment, "strategy", lambda: two_replicas)
        assert experiment.train(self.frozen(crowds, True, steps=2), str(tmp_path / "run")) == 0

    def test_resumed(self, crowds, tmp_path, stopping):
        whole, folder = self.frozen(crowds, True), str(tmp_path / "run")
        with stopping(3, signal.SIGTERM):
            assert experiment.train(whole, folder) == 128 + signal.SIGTERM
        assert experiment.train(whole, folder, resume=True) == 0
        unbroken = str(tmp_path / "unbroken")
        experiment.train(whole, unbroken)
        for one, other in zip(weights(folder), weights(unbroken), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)

    def test_without_an_encoder(self, crowds):
        wrong = dataclasses.replace(config(crowds), encoder=EncoderConfig(trainable=False))
        with pytest.raises(ValueError, match="--encoder_trainable=false: counter 'mcnn' has no encoder"):
            experiment.counter_options(wrong)

    def test_features_that_change_cannot_be_kept(self, crowds):
        with pytest.raises(ValueError, match="--cache_features needs --encoder_trainable=false"):
            dataclasses.replace(config(crowds), cache_features=True)

    def test_crops_that_cells_do_not_fill(self, crowds):
        whole = self.frozen(crowds, True)
        with pytest.raises(
            ValueError, match="--cache_features needs --data_crop to be a positive multiple of 32. Received: 50"
        ):
            dataclasses.replace(whole, data=dataclasses.replace(whole.data, crop=50))
