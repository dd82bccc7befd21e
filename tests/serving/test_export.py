"""Exports: two at once, killed ones, and files of the user beside the versions."""

import os
import threading

import pytest
import tensorflow as tf

from tests.killing import contents, killed_everywhere
from tfcount.inference import Calibration
from tfcount.models import build_counter
from tfcount.records import checksums
from tfcount.records.files import remove_abandoned
from tfcount.serving import savedmodel


@pytest.fixture
def saving(monkeypatch):
    """Saves a small file in place of a SavedModel, whose tracing takes seconds."""

    def save(module, folder, signatures):
        os.mkdir(folder)
        with open(os.path.join(folder, "saved_model.pb"), "w") as file:
            file.write("model")

    monkeypatch.setattr(savedmodel, "CountingModule", lambda counter, calibration, limit: tf.Module())
    monkeypatch.setattr(tf.Module, "count", None, raising=False)
    monkeypatch.setattr(tf.Module, "density", None, raising=False)
    monkeypatch.setattr(tf.saved_model, "save", save)


@pytest.fixture(scope="module")
def counter():
    return build_counter("compact")


def is_whole(folder):
    checksums.check_sums(str(folder), "saved_model.pb")
    return sorted(os.listdir(folder)) == [checksums.SUMS, savedmodel.CALIBRATION, "saved_model.pb"]


def test_several_at_once(saving, counter, tmp_path):
    exported = []

    def export():
        exported.append(savedmodel.export(counter, str(tmp_path / "models"), Calibration()))

    threads = [threading.Thread(target=export) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(exported) == [str(tmp_path / "models" / str(number)) for number in range(1, 5)]
    assert sorted(os.listdir(tmp_path / "models")) == ["1", "2", "3", "4"]
    assert all(is_whole(folder) for folder in exported)


def test_killed(saving, counter, tmp_path):
    foreign = tmp_path / ".writing-1" / "thesis.txt"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    kills = versions = 0
    for _ in killed_everywhere(lambda: savedmodel.export(counter, str(tmp_path))):
        kills += 1
        assert all(is_whole(tmp_path / name) for name in os.listdir(tmp_path) if name.isdigit())
        remove_abandoned.cache_clear()
        savedmodel.export(counter, str(tmp_path))
        versions = len(os.listdir(tmp_path)) - 1
        assert {*os.listdir(tmp_path)} == {".writing-1", *map(str, range(1, versions + 1))}
        assert foreign.read_text() == "mine"
    assert kills > 5 and versions >= kills


def test_a_folder_of_the_user_in_the_way(saving, counter, tmp_path):
    (tmp_path / ".tfcount-writing").mkdir()
    (tmp_path / ".tfcount-writing" / "thesis.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"\.tfcount-writing is in the way: .* Move it away"):
        savedmodel.export(counter, str(tmp_path))
    assert contents(tmp_path) == before
