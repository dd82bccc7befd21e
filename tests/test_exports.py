"""What lies in the folder of an export: all of it is what was written, or it is not loaded."""

import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

import tfcount
from tfcount.inference import Calibration
from tfcount.models import build_counter
from tfcount.serving import savedmodel


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("savedmodels"))
    return savedmodel.export(build_counter("compact"), folder, Calibration(threshold=0.25))


def test_every_file_has_its_checksum(exported):
    names = {line.split("  ")[1] for line in pathlib.Path(exported, "SHA256SUMS").read_text().splitlines()}
    files = [path for path in pathlib.Path(exported).rglob("*") if path.is_file()]
    assert names == {str(path.relative_to(exported)) for path in files} - {"SHA256SUMS"}
    assert {"saved_model.pb", "calibration.json", "variables/variables.index"} <= names


def test_damaged_exports(exported, tmp_path, rng, monkeypatch):
    """No graph is read of files that are not those that were written."""

    def read(folder):
        raise AssertionError("it is loaded")

    monkeypatch.setattr(tf.saved_model, "load", read)
    folder = shutil.copytree(exported, tmp_path / "1")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        damages = [b"", content[: len(content) // 2], content + b"\n", None]
        for place in rng.integers(0, len(content), 5):
            damages.append(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        for changed in damages:
            if changed is None and path.name in ("SHA256SUMS", "saved_model.pb"):
                continue  # One of before has none; and without the other it is no SavedModel, which is told before.
            path.unlink() if changed is None else path.write_bytes(changed)
            with pytest.raises(ValueError, match="1' is damaged: export it again") as error:
                tfcount.load(tmp_path)
            assert path.name in str(error.value)
            path.write_bytes(content)


def test_exports_of_before(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "1")
    image = np.zeros((32, 32, 3), np.uint8)
    expected = tfcount.load(exported).count(image)
    os.remove(folder / "SHA256SUMS")
    assert tfcount.load(tmp_path).count(image) == expected


def test_exports_of_before_with_weights_that_are_not_finite(tmp_path, monkeypatch):
    """Every kernel NaN gave counts that looked like any."""
    counter = build_counter("compact")
    counter.set_weights([np.full_like(weight, np.nan) for weight in counter.get_weights()])
    monkeypatch.setattr(savedmodel.assembly, "check_finite", lambda counter, where: None)
    savedmodel.export(counter, str(tmp_path))
    with pytest.raises(ValueError, match="holds weights that are not finite: export the run again"):
        tfcount.load(tmp_path)
