import dataclasses
import json
import os
import shutil

import pytest

import tfcount
from tests.running import run_training, small_config
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
