import dataclasses
import errno
import json
import logging
import os
import pathlib
import re
import shutil

import pytest

import tfcount
from tests.killing import contents, killed_everywhere
from tests.running import read, run_training, small_config
from tfcount import runs
from tfcount.inference import Calibration
from tfcount.models import build_counter
from tfcount.records import files, lock
from tfcount.runs import Run


def test_no_run_to_load(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Run(str(tmp_path)).load_counter()


def test_weights_of_another_counter(run, tmp_path):
    (tmp_path / "run.flags").write_text("--counter=csrnet\n--encoder_weights=none\n")
    for name in ("last.weights.h5", "last.calibration.json"):
        shutil.copy(os.path.join(run, name), tmp_path / name)
    with pytest.raises(ValueError, match="last.weights.h5 does not hold the weights of counter 'csrnet'"):
        Run(str(tmp_path)).load_counter()


class TestRunsOfBefore:
    """They have no calibrations, and no format in their notes."""

    @pytest.fixture
    def old(self, run, tmp_path):
        folder = str(shutil.copytree(run, tmp_path / "run"))
        for name in ("best.calibration.json", "last.calibration.json"):
            os.remove(os.path.join(folder, name))
        notes = Run(folder).notes()
        del notes["format"]
        with open(os.path.join(folder, "run.json"), "w") as file:
            json.dump(notes, file)
        return folder

    def test_they_are_not_loaded(self, old):
        with pytest.raises(ValueError, match=r"made by another version of tfcount: train again .*--initial_weights="):
            tfcount.load(old)

    def test_they_are_not_resumed(self, old, crowds):
        with pytest.raises(ValueError, match="made by another version of tfcount: train again with the same flags"):
            run_training(small_config(crowds), old, resume=True)

    def test_their_weights_can_be_the_start(self, old, crowds, tmp_path):
        start = dataclasses.replace(small_config(crowds, steps=1), initial_weights=old)
        assert run_training(start, str(tmp_path / "new")) == 0


def test_a_missing_calibration(run, tmp_path):
    folder = str(shutil.copytree(run, tmp_path / "run"))
    os.remove(os.path.join(folder, "best.calibration.json"))
    with pytest.raises(FileNotFoundError, match=r"best.calibration.json is missing: restore it from a copy"):
        Run(folder).load_counter()


class TestWeightsAndTheirCalibration:
    """They belong together, wherever saving ends."""

    @pytest.fixture
    def kept(self, tmp_path):
        kept = Run(str(tmp_path))
        kept.save_weights(runs.LAST, build_counter("compact"), Calibration(threshold=0.25))
        return kept

    def test_a_calibration_that_cannot_be_written(self, kept, monkeypatch):
        before = (pathlib.Path(kept.folder) / runs.LAST).read_bytes()

        def full(path, content):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch, pytest.raises(OSError, match="cannot be written to: is the disk full"):
            patch.setattr(runs.checksums, "write_sealed", full)
            kept.save_weights(runs.LAST, build_counter("compact"), Calibration(threshold=0.5))
        assert sorted(os.listdir(kept.folder)) == ["last.calibration.json", runs.LAST]
        assert (pathlib.Path(kept.folder) / runs.LAST).read_bytes() == before
        assert kept.calibration(runs.LAST).threshold == 0.25

    def test_killed_between_the_two(self, kept, monkeypatch):
        """Weights without a calibration are refused; with that of others they would count by it."""
        replace = os.replace

        def killed(source, target):
            if target.endswith("last.calibration.json"):
                raise SystemExit
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(files.os, "replace", killed)
            kept.save_weights(runs.LAST, build_counter("compact"), Calibration(threshold=0.5))
        assert os.listdir(kept.folder) == [runs.LAST] and not kept.holds(runs.LAST)

    def test_best_weights_without_one_give_way(self, run, crowds, tmp_path):
        """Though their error, which the notes keep, was lower."""
        folder = str(shutil.copytree(run, tmp_path / "run"))
        os.remove(os.path.join(folder, "checkpoints", "ckpt-6.index"))
        os.remove(os.path.join(folder, "best.calibration.json"))
        notes = read(folder, "run.json")
        for entry in notes["validation"]:
            entry["val_mae"] = 0.0
        files.write_json(os.path.join(folder, "run.json"), notes)
        assert run_training(small_config(crowds), folder, resume=True) == 0
        assert Run(folder).load_counter()


class TestTwoAtOnce:
    def test_a_second_training_is_told_of_the_first(self, run, crowds, tmp_path):
        folder = str(shutil.copytree(run, tmp_path / "run"))
        before = contents(tmp_path)
        message = rf"tfcount.lock is held by process {os.getpid()} on .*, training in '{re.escape(folder)}' since "
        with Run(folder).locked():
            for resume in (False, True):
                with pytest.raises(BlockingIOError, match=message):
                    run_training(small_config(crowds), folder, resume)
        assert contents(tmp_path) == before

    def test_a_lock_is_no_run(self, crowds, tmp_path):
        """One that is left by a process which was killed before it wrote anything."""
        (tmp_path / lock.NAME).touch()
        assert not Run(str(tmp_path)).exists()
        with pytest.raises(FileNotFoundError, match="--resume: .* holds no run"):
            run_training(small_config(crowds), str(tmp_path), resume=True)
        assert os.listdir(tmp_path) == []

    def test_a_training_that_cannot_begin_leaves_no_folder(self, crowds, tmp_path):
        with pytest.raises(FileNotFoundError, match="holds no run"):
            run_training(small_config(crowds), str(tmp_path / "a" / "run"), resume=True)
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["labels.json", "run.json", "best.weights.h5", "last.calibration.json"])
def test_files_of_the_user_are_not_written_over(crowds, tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=rf"{name} would be written over: move it away, or choose another"):
        run_training(small_config(crowds), str(tmp_path))
    assert contents(tmp_path) == before


class Weights:
    """In place of a counter: its weights are one word."""

    variables = ()

    def __init__(self, word):
        self.word = word

    def save_weights(self, path):
        assert path.endswith(".weights.h5")
        pathlib.Path(path).write_text(self.word)


def test_killed_while_weights_are_saved(tmp_path):
    """The weights are whole, and have a calibration only if it is theirs; what is left goes when training begins."""
    kept, foreign = Run(str(tmp_path)), tmp_path / "last.writing.weights.h5"
    foreign.write_text("mine")
    before, after = (Weights("before"), Calibration(threshold=0.25)), (Weights("after"), Calibration(threshold=0.5))
    kept.save_weights(runs.LAST, *before)
    kills = 0
    for _ in killed_everywhere(lambda: kept.save_weights(runs.LAST, *after)):
        kills += 1
        word = (tmp_path / runs.LAST).read_text()
        assert kept.calibration(runs.LAST) in (None, {"before": before[1], "after": after[1]}[word])
        files.remove_abandoned.cache_clear()
        with kept.locked():
            kept.save_weights(runs.LAST, *before)
        assert sorted(os.listdir(tmp_path)) == ["last.calibration.json", runs.LAST, foreign.name]
        assert foreign.read_text() == "mine"
    assert kills > 3


def test_what_is_logged_before_there_is_a_folder_is_in_the_log(tmp_path, capsys):
    """Labels that counts contradict are told while training is planned."""
    log = logging.getLogger("tfcount")
    with Run(str(tmp_path)).logging() as begin_file:
        log.warning("labels contradict counts")
        log.debug("a detail")
        assert not os.listdir(tmp_path)
        begin_file()
        log.info("training")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line[20:] for line in lines] == ["labels contradict counts", "a detail", "training"]
    assert capsys.readouterr().err == "labels contradict counts\ntraining\n"
    # Where nothing is written, nothing is left.
    with pytest.raises(KeyError), Run(str(tmp_path / "none")).logging():
        log.warning("labels contradict counts")
        raise KeyError
    assert os.listdir(tmp_path) == ["train.log"] and not log.handlers
