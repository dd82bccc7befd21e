import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.running import read, run_training, small_config, weights
from tfcount import runs, training
from tfcount.ops.anchor_line import AnchorLine

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_equals_unbroken(run, crowds, tmp_path, stopping, capsys, number):
    """The signal comes in the middle of an epoch; weights, averages and order of the data go on as if nothing was."""
    folder = str(tmp_path / "run")
    with stopping(3, number):
        assert run_training(small_config(crowds), folder) == 128 + number
    assert f"Stopped by {number.name} after step 3 of 6" in capsys.readouterr().err
    assert read(folder, "run.json")["steps"] == 3
    assert run_training(small_config(crowds), folder, resume=True) == 0
    for name in (runs.LAST, runs.BEST):
        for one, other in zip(weights(folder, name), weights(run, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert read(folder, "run.json")["steps"] == 6
    # Step 3 was not validated, and validation came at the steps at which it comes without a stop.
    validations = [entry for entry in read(folder, "run.json")["validation"] if "val_mae" in entry]
    for entry, expected in zip(validations, read(run, "run.json")["validation"], strict=True):
        assert entry["step"] == expected["step"]
        np.testing.assert_allclose(entry["val_mae"], expected["val_mae"], rtol=1e-4)


def test_a_signal_at_the_end_of_an_interval_keeps_its_validation(crowds, tmp_path, stopping, monkeypatch):
    monkeypatch.setattr(training, "count_near_copies", lambda kept, held_out: (2, len(held_out.rows)))
    folder = str(tmp_path / "run")
    with stopping(4, signal.SIGTERM):
        assert run_training(small_config(crowds), folder) == 128 + signal.SIGTERM
    # What `tfcount calibrate` writes belongs to the weights that it was fitted to, and not to the next ones.
    stopped = runs.Run(folder)
    for name in (runs.BEST, runs.LAST):
        line = AnchorLine(slope=2.0, images=10)
        dataclasses.replace(stopped.calibration(name), line=line).write(stopped.path(name[:4] + ".calibration.json"))
    assert run_training(small_config(crowds), folder, resume=True) == 0
    assert stopped.calibration(runs.LAST).line == AnchorLine()
    log = pathlib.Path(folder, runs.LOG).read_text()
    assert log.count("2 of 3 held-out images are near copies of training images: validation will flatter. Hold") == 1
    entries = read(folder, "run.json")["validation"]
    assert [entry["step"] for entry in entries] == [2, 4, 6]
    assert all("val_mae" in entry for entry in entries)


def test_resume_with_other_records_is_refused(crowds, tmp_path):
    records = str(shutil.copytree(crowds, tmp_path / "records"))
    assert run_training(small_config(records, steps=2), str(tmp_path / "run")) == 0
    manifest = read(records, "manifest.json")
    manifest["splits"]["train"]["shards"][0]["sha256"] = "0" * 64
    pathlib.Path(records, "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="--resume: the records in .* are not those that the run in .* was started"):
        run_training(small_config(records, steps=2), str(tmp_path / "run"), resume=True)


def test_nothing_to_resume(crowds, tmp_path):
    with pytest.raises(FileNotFoundError, match="--resume: .* holds no run"):
        run_training(small_config(crowds), str(tmp_path / "run"), resume=True)


def test_checkpoints_of_another_run_are_not_continued(run, crowds, tmp_path):
    shutil.copytree(os.path.join(run, "checkpoints"), tmp_path / "run" / "checkpoints")
    with pytest.raises(FileExistsError, match="holds a run already"):
        run_training(small_config(crowds), str(tmp_path / "run"))


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
    for name in (runs.BEST, runs.LAST):
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
        assert run_training(small_config(crowds), str(stopped), resume=True) == 0
        messages = capsys.readouterr().err
        assert "ckpt-6 is damaged" in messages and "Resuming after 4 of 6 steps" in messages
        for one, other in zip(weights(str(stopped)), weights(run), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert [entry["step"] for entry in read(stopped, "run.json")["validation"]] == [2, 4, 6]

    def test_none_is_whole(self, stopped, crowds):
        for step in (4, 6):
            self.truncate(stopped / "checkpoints" / f"ckpt-{step}.data-00000-of-00001")
        with pytest.raises(ValueError, match="No checkpoint in .* can be read: start again in another --model_dir"):
            run_training(small_config(crowds), str(stopped), resume=True)

    def test_the_list_of_checkpoints_is_not_believed(self, stopped, crowds, capsys, tmp_path):
        """TensorFlow's own manager would remove what it names."""
        other = tmp_path / "ckpt-1.index"
        other.write_text("of somebody")
        path = tmp_path / "ckpt-1"
        (stopped / "checkpoints" / "checkpoint").write_text(
            f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "{path}"\n' * 3
        )
        (stopped / "checkpoints" / "ckpt-6.index").unlink()
        assert run_training(small_config(crowds), str(stopped), resume=True) == 0
        assert "Resuming after 4 of 6 steps" in capsys.readouterr().err
        assert other.read_text() == "of somebody"

    def test_a_run_whose_checkpoints_are_gone_is_not_overwritten(self, stopped, crowds):
        shutil.rmtree(stopped / "checkpoints")
        before = (stopped / "best.weights.h5").read_bytes()
        with pytest.raises(ValueError, match="checkpoints of the run are gone from .* --initial_weights="):
            run_training(small_config(crowds), str(stopped), resume=True)
        assert (stopped / "best.weights.h5").read_bytes() == before

    def test_half_written_checkpoint_beside_whole_ones(self, stopped, crowds):
        """What is left of a checkpoint that was being written is not listed, and not looked at."""
        (stopped / "checkpoints" / "ckpt-7.data-00000-of-00001.tempstate123").write_bytes(b"half")
        assert run_training(small_config(crowds), str(stopped), resume=True) == 0
