"""What people really have: odd images, damaged files, full disks. Each is handled, or told in a line."""

import dataclasses
import json
import os
import re
import resource
import shutil
import subprocess
import sys

import cv2
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests.running import run_training
from tests.test_commands import ROOT, command
from tfcount import distribution
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.runs import Run

WIDE = 20_000


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Records of images of every odd kind, with points at the edge, twice, outside, and none at all."""
    folder = tmp_path_factory.mktemp("odd") / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(pixels)
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("RGBA").save(folder / "rgba.png")
    picture.convert("L").save(folder / "grey.png")
    cv2.imwrite(str(folder / "sixteen.png"), pixels.astype(np.uint16) * 257)
    PIL.Image.fromarray(pixels[:1, :1]).save(folder / "one.png")
    PIL.Image.fromarray(np.tile(pixels[:8], (1, WIDE // 60 + 1, 1))[:, :WIDE]).save(folder / "wide.png")
    lines = ["image,x,y", "turned.jpg,0,0", "turned.jpg,40,60", "cmyk.jpg,5,5", "cmyk.jpg,5,5", "rgba.png,60.5,40.5"]
    lines += ["rgba.png,10,10", "rgba.png,20,20"]
    lines += ["rgba.png,70,5", "rgba.png,nan,5", "grey.png,,", "sixteen.png,3,4", "one.png,0.5,0.5"]
    lines += [f"wide.png,{x},4" for x in range(0, WIDE, 1000)]
    (folder / "points.csv").write_text("\n".join(lines) + "\n")
    records = folder.parent / "records"
    command("tfrecords_tools.build", "--dataset=folder", f"--input={folder}", f"--output={records}")
    return folder, records


@pytest.fixture(scope="module")
def run(crowds, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "strategy", tf.distribute.get_strategy)
        run_training(tiny(crowds), folder)
    return folder


def tiny(records, **train):
    data = DataConfig(dir=str(records), crop=32, validation_fraction=0.2)
    values = {"steps": 2, "batch_size": 2, "warmup_steps": 0, "validation_interval": 1}
    return ExperimentConfig(counter="compact", data=data, train=TrainConfig(**{**values, **train}))


def test_odd_images_become_records(odd):
    manifest = json.loads((odd[1] / "manifest.json").read_text())
    assert manifest["splits"]["train"]["images"] == 7
    assert manifest["splits"]["train"]["points"] == 2 + 2 + 3 + 0 + 1 + 1 + 20
    assert manifest["splits"]["train"]["points_clipped"] == 1
    assert manifest["splits"]["train"]["points_dropped"] == 2
    command("tfrecords_tools.show", odd[1], "--check")


def test_odd_images_are_counted(odd, run, tmp_path):
    output = f"--output={tmp_path}"
    command("tfcount.evaluate", f"--model_dir={run}", f"--data_dir={odd[1]}", "--split=train", output)
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    assert summary["images"] == 7 and np.isfinite(summary["mae"])
    result = command("tfcount.predict", f"--savedmodel={run}", output, odd[0])
    assert "\n7 images" in result.stdout
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert {os.path.basename(path) for path in counts} >= {"one.png", "wide.png", "cmyk.jpg", "turned.jpg"}
    assert PIL.Image.open(tmp_path / "wide.png_overlay.jpg").width == WIDE


def test_odd_images_are_trained_on(odd, tmp_path):
    assert run_training(tiny(odd[1]), str(tmp_path / "run")) == 0


def test_images_without_anyone(tmp_path, run):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        PIL.Image.new("RGB", (40, 30), "gray").save(folder / name)
    (folder / "points.csv").write_text("image,x,y\na.png,,\nb.png,,\nc.png,,\n")
    records = tmp_path / "records"
    command("tfrecords_tools.build", "--dataset=folder", f"--input={folder}", f"--output={records}")
    result = command("tfcount.evaluate", f"--model_dir={run}", f"--data_dir={records}", "--split=train")
    assert result.stdout.count("not defined: no image shows anyone") == 2
    assert run_training(tiny(records), str(tmp_path / "run")) == 0


def limited(folder, records, kilobytes, *more):
    """Trains in a process whose files must not grow beyond a size, as on a disk that fills up."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024,) * 2)

    arguments = [f"--data_dir={records}", f"--model_dir={folder}", "--counter=compact", "--data_crop=32"]
    arguments += ["--train_batch_size=2", "--train_steps=4", "--train_validation_interval=2"]
    return subprocess.run(
        [sys.executable, "-m", "tfcount.train", *arguments, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit if kilobytes else None,
    )


# A weights file has 1.6 MB, a checkpoint 6: the disk is full at the one or at the other.
@pytest.mark.parametrize("kilobytes", [400, 2000])
def test_a_full_disk_while_a_run_is_saved(crowds, tmp_path, kilobytes):
    folder = tmp_path / "run"
    result = limited(folder, crowds, kilobytes)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    assert f"Error: {str(folder)!r} cannot be written to: is the disk full?" in result.stderr
    assert not [name for name in os.listdir(folder) if "writing" in name]
    result = limited(folder, crowds, 0, "--resume")
    assert result.returncode == 0, result.stderr
    assert json.loads((folder / "run.json").read_text())["steps"] == 4


def test_a_disk_without_room_for_what_is_to_be_written(crowds, tmp_path, monkeypatch):
    """It is looked at before: HDF5 ends the process without a word where the disk ends."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    with pytest.raises(OSError, match=r"cannot be written to: is the disk full\? .* MB are needed, 0.1 MB are free"):
        run_training(tiny(crowds), str(tmp_path / "run"))
    assert not list((tmp_path / "run").glob("*.h5"))
    frozen = EncoderConfig(weights="none", trainable=False)
    cached = dataclasses.replace(tiny(crowds), counter="resnet50", encoder=frozen, cache_features=True)
    with pytest.raises(OSError, match=r"The features need .* GB, and .* has 0.0 GB free: make room, or train without"):
        run_training(cached, str(tmp_path / "cached"))
    assert not (tmp_path / "cached" / "features").exists()


def test_a_picture_too_wide_for_jpeg(run, tmp_path):
    PIL.Image.new("RGB", (70_000, 16), "gray").save(tmp_path / "wide.png")
    output = tmp_path / "out"
    command("tfcount.predict", f"--savedmodel={run}", f"--output={output}", tmp_path / "wide.png")
    assert sorted(os.listdir(output)) == ["counts.json", "points.json", "wide.png_overlay.png"]


def damage(crowds, folder, change):
    shutil.copytree(crowds, folder)
    path = next(folder.glob("train-*"))
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [lambda content: content[: len(content) // 2], lambda content: content[:500] + b"\0\1\2" + content[503:]],
    ids=["truncated", "flipped"],
)
def test_damaged_records_stop_training(crowds, tmp_path, change):
    damage(crowds, tmp_path / "records", change)
    result = limited(tmp_path / "run", tmp_path / "records", 0)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    (error,) = [line for line in result.stderr.splitlines() if "Error" in line]
    assert re.match(r"Error: .*train-\d+-of-\d+.tfrecord is damaged: .*, or build the records again.", error)


def test_records_of_another_format_version(crowds, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(crowds, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(ValueError, match=r"format.*99"):
        run_training(tiny(folder), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_set(crowds, tmp_path):
    with pytest.raises(ValueError, match="--train_batch_size=64 is larger than the number of labeled training images"):
        run_training(tiny(crowds, batch_size=64), str(tmp_path / "run"))


def test_a_run_of_another_counter_is_not_resumed(run, crowds, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    other = dataclasses.replace(tiny(crowds), counter="mcnn")
    with pytest.raises(
        ValueError, match=r"--resume: .* other flags: there \['--counter=compact'\], here \['--counter=m"
    ):
        run_training(other, str(tmp_path / "run"), resume=True)


def test_checkpoints_of_another_counter(run, crowds, tmp_path):
    """Somebody has written run.flags anew, and run.json with it."""
    shutil.copytree(run, tmp_path / "run")
    kept, other = Run(str(tmp_path / "run")), dataclasses.replace(tiny(crowds), counter="mcnn")
    kept.write_start(other, kept.label_cost(), kept.notes())
    with pytest.raises(ValueError, match="is the checkpoint of another counter or method"):
        run_training(other, str(tmp_path / "run"), resume=True)
