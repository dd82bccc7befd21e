"""Rendered crowds: size, number of heads, reproducibility, errors."""

import numpy as np
import pytest

from tfrecords_tools.crowds.rendering import render_crowd


def render(seed, people, height=384, width=512):
    return render_crowd(np.random.default_rng(seed), people, height, width)


@pytest.mark.parametrize("people", [0, 1, 30, 1500])
def test_exactly_so_many_heads_inside(people):
    for seed in range(2):
        picture, points = render(seed, people)
        assert picture.shape == (384, 512, 3)
        assert picture.dtype == np.uint8
        assert points.shape == (people, 2)
        assert points.dtype == np.float32
        assert np.all((points >= 0) & (points < (512, 384)))


def test_people_beside_the_camera_at_any_size():
    for seed, (height, width, people) in enumerate([(32, 32, 12), (33, 257, 5), (301, 47, 0), (384, 512, 12)]):
        picture, points = render_crowd(np.random.default_rng(seed), people, height, width, close=True)
        assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
        assert points.shape == (people, 2)
        assert np.all((points >= 0) & (points < (width, height)))


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


@pytest.mark.parametrize("people", [-1, 193])
def test_impossible_number_of_people(people):
    with pytest.raises(ValueError, match=rf"`people` must be between 0 and .* = 192. Received: people={people}"):
        render(0, people, 96, 128)


def test_too_small():
    with pytest.raises(ValueError, match=r"must be at least 32\. Received: height=31, width=64"):
        render(0, 1, 31, 64)
