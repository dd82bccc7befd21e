"""Rendered crowds: the number and the places of heads, reproducibility, the command."""

import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcount.records import schema
from tfcount.records.folder import read_index, read_manifest
from tfrecords_tools import crowd_renderer, synthesize


def render(seed, people, height=384, width=512):
    return crowd_renderer.render_crowd(np.random.default_rng(seed), people, height, width)


def crowd(**changes):
    arguments = {"split": "train", "index": 3, "seed": 0, "height": 96, "width": 128, "max_people": 100}
    return synthesize.SyntheticCrowd(**{**arguments, **changes})


@pytest.mark.parametrize("people", [0, 1, 30, 1500])
def test_exactly_so_many_heads_inside(people):
    for seed in range(2):
        picture, points = render(seed, people)
        assert picture.shape == (384, 512, 3)
        assert picture.dtype == np.uint8
        assert points.shape == (people, 2)
        assert points.dtype == np.float32
        assert np.all((points >= 0) & (points < (512, 384)))


@pytest.mark.parametrize(("height", "width", "people"), [(32, 32, 16), (33, 257, 20), (301, 47, 200), (101, 203, 320)])
def test_any_size_even_full(height, width, people):
    for seed in range(6):
        picture, points = render(seed, people, height, width)
        assert picture.shape == (height, width, 3)
        assert points.shape == (people, 2)
        assert np.all((points >= 0) & (points < (width, height)))


def test_every_scene_is_a_picture():
    """Whatever the scene, it has contrast, and is neither black nor white."""
    for seed in range(24):
        picture, _ = render(seed, 40, 96, 128)
        assert picture.std() > 10, seed
        assert 20 < picture.mean() < 235, seed


def test_the_generator_alone_decides():
    first, points = render(5, 60, 96, 128)
    again, same_points = render(5, 60, 96, 128)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(points, same_points)
    other, _ = render(6, 60, 96, 128)
    assert np.any(first != other)


@pytest.mark.parametrize("people", [20, 300, 1200])
def test_heads_are_where_the_points_are(people):
    """At the points the place looks different with people than without them, and elsewhere it does not."""
    for seed in range(3):
        scene = crowd_renderer.plan_scene(np.random.default_rng(seed), people, 384, 512)
        empty = crowd_renderer.paint_canvas(scene, with_people=False)
        change = np.abs(crowd_renderer.paint_canvas(scene) - empty).mean(2)
        x, y = scene.points.astype(int).T
        at_heads = cv2.blur(change, (3, 3))[y, x]
        # Not all: some hair is as dark as the ground.
        assert np.mean(at_heads > 4) > 0.85
        above = int(scene.points[:, 1].min() - 2 * scene.camera.scale)
        assert np.all(change[: max(above, 0)] == 0)


def test_a_head_is_centered_on_its_point():
    """Of one person, what is above the shoulders has its middle at the point, on average over persons."""
    offsets = []
    for seed in range(40):
        scene = crowd_renderer.plan_scene(np.random.default_rng(seed), 1, 128, 128)
        change = np.abs(crowd_renderer.paint_canvas(scene) - crowd_renderer.paint_canvas(scene, False)).mean(2)
        (x, y), size = scene.points[0], float(scene.camera.head_size(scene.points[0, 1], 128))
        rows, columns = np.mgrid[:128, :128] + 0.5
        inside = (np.abs(columns - x) < 0.6 * size) & (rows > y - 0.65 * size) & (rows < y + 0.4 * size)
        if min(x, 128 - x) < 0.6 * size or y < 0.65 * size or y > 128 - size:
            continue  # cut by the border
        rows, columns = rows[inside & (change > 8)], columns[inside & (change > 8)]
        offsets.append(((columns.mean() - x) / size, (rows.min() + rows.max()) / 2 / size - y / size))
    assert len(offsets) >= 10
    np.testing.assert_allclose(np.mean(offsets, axis=0), [0, -0.05], atol=0.1)
    assert np.abs(offsets).max() < 0.4


def test_people_are_larger_in_front():
    camera = crowd_renderer.Camera(horizon=100.0, ratio=5.0, squeeze=1.0, scale=40.0)
    np.testing.assert_allclose(camera.head_size(np.array([0, 100, 250, 400]), 400), [8, 8, 24, 40])


def test_heads_keep_their_distance():
    """No two heads stand at the same place: each has to be seen. Nearly all are a third of a head apart."""
    scene = crowd_renderer.plan_scene(np.random.default_rng(1), 800, 384, 512)
    apart = np.linalg.norm(scene.points[:, None] - scene.points[None], axis=2) + 1e9 * np.eye(800)
    heads = scene.camera.head_size(scene.points[:, 1], 384)
    assert np.mean(apart.min(1) > heads / 3) > 0.9


@pytest.mark.parametrize("people", [-1, 193])
def test_impossible_number_of_people(people):
    with pytest.raises(ValueError, match=rf"`people` must be between 0 and .* = 192. Received: people={people}"):
        render(0, people, 96, 128)


def test_too_small():
    with pytest.raises(ValueError, match=r"must be at least 32\. Received: height=31, width=64"):
        render(0, 1, 31, 64)


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
        ({"train_images": 0}, "--train_images must be at least 1. Received: 0"),
        ({"test_images": -1}, "--test_images must be at least 0. Received: -1"),
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
