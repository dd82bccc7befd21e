import functools
import os
import re
import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest
from absl import flags

from tfcount.records import schema
from tfcount.records.folder import Records, read_index, read_manifest
from tfrecords_tools import build, show
from tfrecords_tools.annotations import files
from tfrecords_tools.writing import local


def call(*arguments):
    """Runs the command in this process and returns its exit code."""
    values = flags.FlagValues()
    build.define_flags(values)
    return build.main(values(["build", *arguments]), values)


def save_folder(root):
    """Two splits, whose only images are the same."""
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        cv2.imwrite(f"{root}/{split}/{split}.png", np.full((9, 12, 3), 50, np.uint8))
        (root / split / "p.csv").write_text(f"image,x,y\n{split}.png,1,1\n{split}.png,12.5,3\n{split}.png,99,3\n")
    return str(root)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("data") / "mine")


def test_builds_and_reports(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(local, "FEWEST_IMAGES_FOR_WORKERS", 1)
    output = str(tmp_path / "out")
    assert call("--dataset=folder", f"--input={data}", f"--output={output}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["split", "images", "points", "clipped", "dropped", "MB"]
    assert lines[1].split() == ["train", "1", "2", "1", "1", "0.0"]
    assert lines[2].split() == ["test", "1", "2", "1", "1", "0.0"]
    assert lines[3] == "Warning: the same image is in several splits: test/test.png = train/train.png"
    dropped = "1 of 1 images have points outside: 1 of 3 are dropped, and stay in the counts"
    kept = [f"{split}: {dropped} (first: {data}/{split}/{split}.png, 1 of 3)." for split in ("train", "test")]
    assert lines[4:] == [f"Warning: {text}" for text in kept]
    manifest = read_manifest(output)
    assert manifest["warnings"] == kept
    assert manifest["dataset"] == "folder"
    assert manifest["source"] == {"input": data}

    assert call("--dataset=folder", f"--input={data}", f"--output={output}") == 1
    assert capsys.readouterr().err.startswith(f"Error: {output} exists already. Give --overwrite")
    monkeypatch.setattr(local, "FEWEST_IMAGES_FOR_WORKERS", 99)
    assert call("--dataset=folder", f"--input={data}", f"--output={output}", "--overwrite") == 0


def test_points_outside(data, tmp_path, capsys):
    """A count is that of all points; `show --check` and evaluation take it from the record."""
    counts = {}
    for outside in ("drop", "clip"):
        output = str(tmp_path / outside)
        assert call("--dataset=folder", f"--input={data}", f"--output={output}", f"--points_outside={outside}") == 0
        (row,) = read_index(output, "train")
        counts[outside] = row.points, row.count
        assert [problem for problem in show.check(output) if problem] == []
        (example,) = Records.open(output, "train").serialized().map(schema.parse_image)
        assert (len(example["points"]), example["count"].numpy()) == counts[outside]
    assert counts == {"drop": (2, 3), "clip": (3, 3)}
    assert "Warning: train: 1 of 1 images have points outside: 1 of 3 are moved to" in capsys.readouterr().out
    assert read_manifest(str(tmp_path / "clip"))["source"] == {"input": data, "points_outside": "clip"}
    assert call("--dataset=folder", f"--input={data}", f"--output={tmp_path}/no", "--points_outside=error") == 1
    error = capsys.readouterr().err
    assert "train.png is 12 x 9 pixels, and 1 of its 3 points lie outside, the first at (99, 3)" in error


def test_what_readers_warn_of(monkeypatch, tmp_path):
    def read(folder):
        files.warn("x.png is passed over.")
        warnings.warn("old", FutureWarning, stacklevel=1)
        return {}

    monkeypatch.setitem(build.DATASETS, "folder", read)
    with pytest.warns(FutureWarning, match="old"):
        assert build.read("folder", str(tmp_path)) == ({}, ["x.png is passed over."])


def test_names_that_no_manifest_holds(tmp_path, capsys):
    assert call("--dataset=folder", f"--input={tmp_path}/\udcff", f"--output={tmp_path}/out") == 1
    assert r"udcff' is not a name in UTF-8, which records need: rename the folder." in capsys.readouterr().err


def test_user_errors_are_one_line(tmp_path, capsys):
    for dataset in build.DATASETS:
        assert call(f"--dataset={dataset}", f"--input={tmp_path}/nowhere", f"--output={tmp_path}/out") == 1
        error = capsys.readouterr().err
        assert error == f"Error: There is no folder {tmp_path}/nowhere.\n"
    assert call("--dataset=sha", "--input=a", "--output=b", "c") == 1
    assert "unexpected arguments ['c']" in capsys.readouterr().err


def test_interrupt(data, tmp_path, capsys, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfcount.records.images.read_encoded", interrupt)
    assert call("--dataset=folder", f"--input={data}", f"--output={tmp_path}/out") == 130
    assert "out.partial keeps the finished shards: the same command goes on" in capsys.readouterr().err


def test_images_that_are_too_large(data, tmp_path, capsys):
    arguments = ["--dataset=folder", f"--input={data}", f"--output={tmp_path}/out"]
    assert call(*arguments, "--max_megapixels=0.0001") == 1
    assert re.search(r"Error: .*\.png cannot be read.*has 12 x 9 pixels, more than 0.0001 meg", capsys.readouterr().err)
    assert call(*arguments, "--max_megapixels=1000") == 1
    assert "max_megapixels must be above 0 and at most 500" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--dataset must have a value"),
        (["--dataset=imagenet", "--input=a", "--output=b"], r"one of <sha\|shb\|ucf_qnrf\|.*folder>"),
        (["--dataset=ucf_cc_50", "--input=a", "--output=b"], r"\|ucf_cc_50_1\|.*\|ucf_cc_50_5\|"),
        (["--dataset=sha", "--input=a"], "--output must have a value"),
    ],
)
def test_wrong_flags(arguments, message):
    with pytest.raises(flags.Error, match=message):
        call(*arguments)


def test_the_help_describes_every_data_set(monkeypatch):
    def read(folder):
        """Reads tables.

        Slowly.
        """

    monkeypatch.setitem(build.DATASETS, "table", functools.partial(read, folder="a"))
    lines = [line.split(": ", 1) for line in build.describe_datasets().splitlines()]
    assert [name for names, _ in lines for name in names.split(", ")] == list(build.DATASETS)
    assert all(text.startswith("Reads ") and text.endswith(".") for _, text in lines)
    assert lines[0][0] == "sha, shb" and lines[-1] == ["table", "Reads tables."]
    values = flags.FlagValues()
    build.define_flags(values)
    assert build.describe_datasets() in values["dataset"].help


def test_command_line():
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "tfrecords_tools.build", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert text.index("python -m tfrecords_tools.build --dataset=sha") < text.index("--dataset=<sha|shb|")
    assert "vgg_cells: Reads " in text
    assert "--overwrite" in text or "--[no]overwrite" in text
