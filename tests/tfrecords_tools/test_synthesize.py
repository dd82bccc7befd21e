"""Records of rendered crowds: reproducibility, numbers of people, the command."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfcount.records import schema
from tfcount.records.folder import read_index, read_manifest
from tfrecords_tools import synthesize


def crowd(**changes):
    arguments = {"split": "train", "index": 3, "seed": 0, "height": 96, "width": 128, "max_people": 100}
    return synthesize.SyntheticCrowd(**{**arguments, **changes})


def test_source_depends_on_seed_split_and_index():
    image = crowd().load().image
    assert crowd().load().image.image == image.image
    for changes in ({"seed": 1}, {"split": "test"}, {"index": 4}):
        other = crowd(**changes)
        assert other.fingerprint() != crowd().fingerprint()
        assert other.load().image.image != image.image
    assert pickle.loads(pickle.dumps(crowd())) == crowd()


def test_source_gives_an_annotated_jpeg():
    loaded = crowd().load()
    record = schema.parse_image(loaded.image.serialize())
    picture = tf.io.decode_jpeg(record["image"])
    assert picture.shape == (96, 128, 3)
    assert loaded.image.id == "train_00003"
    assert loaded.image.labels == schema.POINTS
    assert loaded.image.attributes == {"synthetic": True}
    assert (loaded.points_clipped, loaded.points_dropped) == (0, 0)
    assert record["count"] == len(loaded.image.points)


def test_numbers_of_people_are_spread():
    rng = np.random.default_rng(0)
    numbers = np.array([synthesize.draw_people(rng, 1500) for _ in range(4000)])
    assert numbers.max() <= 1500
    assert 0.02 < np.mean(numbers == 0) < 0.08
    assert np.mean((numbers > 0) & (numbers < 30)) > 0.2
    assert np.mean(numbers > 500) > 0.2


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_sixth_image_shows_few_people_beside_the_camera(split, monkeypatch):
    """In both splits; the rest shows as many people as ever, from as far away."""
    drawn = []

    def render(rng, people, height, width, close):
        drawn.append((people, close))
        return np.zeros((height, width, 3), np.uint8), np.zeros((people, 2), np.float32)

    monkeypatch.setattr(synthesize.rendering, "render_crowd", render)
    for index in range(120):
        crowd(split=split, index=index, max_people=1500).load()
    people, close = (np.array(values) for values in zip(*drawn, strict=True))
    np.testing.assert_array_equal(np.flatnonzero(close), np.arange(5, 120, 6))
    assert people[close].min() == 0 and 6 <= people[close].max() <= 12
    assert people[~close].max() > 1000


def test_few_people_are_no_more_than_asked_for():
    assert all(len(crowd(index=index, max_people=2).load().image.points) <= 2 for index in (5, 11, 17))


def test_data_set(tmp_path):
    output = str(tmp_path / "records")
    manifest = synthesize.synthesize(output, 6, 3, height=64, width=80, max_people=20)
    assert read_manifest(output) == manifest
    assert manifest["dataset"] == "synthetic"
    assert {name: split["images"] for name, split in manifest["splits"].items()} == {"train": 6, "test": 3}
    assert manifest["duplicates"] == []
    larger = synthesize.synthesize(str(tmp_path / "larger"), 7, 0, height=64, width=80, max_people=20)
    assert list(larger["splits"]) == ["train"]
    counts = {row.id: row.points for row in read_index(str(tmp_path / "larger"), "train")}
    for row in read_index(output, "train"):
        assert counts[row.id] == row.points


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_images": 0}, "--train_images must be between 1 and 10000000. Received: 0"),
        ({"test_images": -1}, "--test_images must be between 0 and 10000000. Received: -1"),
        ({"height": 31}, "--height must be between 32 and 8192. Received: 31"),
        ({"width": 9000}, "--width must be between 32 and 8192. Received: 9000"),
        ({"seed": -1}, "--seed must be at least 0. Received: -1"),
        ({"max_people": 0}, "--max_people must be between 1 and 3072,"),
        ({"max_people": 4000}, "--max_people must be between 1 and 3072, .* 384 x 512. Received: 4000"),
    ],
)
def test_flags_out_of_range(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        synthesize.synthesize(str(tmp_path / "records"), **arguments)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path):
    """A bad value ends in one line and exit code 1; the folder stays untouched."""
    flags = [f"--output={tmp_path / 'records'}", "--max_people=0"]
    command = [sys.executable, "-m", "tfrecords_tools.synthesize", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: --max_people must be between 1 and 3072")
    assert not list(tmp_path.iterdir())
