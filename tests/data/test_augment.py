import numpy as np
import pytest
import tensorflow as tf

from tfcount.data import augment


def example_with_bright_points(points, height, width):
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in points:
        image[int(y), int(x)] = 255
    return {
        "image": tf.constant(image),
        "points": tf.constant(points, tf.float32),
        "sigma": tf.fill([len(points)], 4.0),
    }


@pytest.mark.parametrize("seed", range(8))
def test_points_move_with_the_image(seed):
    """Each point lies on its bright pixel, at whatever place and scale."""
    points = [[10.5, 20.5], [60.5, 40.5], [90.5, 70.5]]
    example = example_with_bright_points(points, 80, 100)
    result = augment.random_scaled_crop(example, 64, 1.0, 2.0, tf.constant([seed, 1]))
    result = augment.random_flip(result, tf.constant([seed, 2]))
    image = result["image"].numpy()[..., 0]
    assert image.shape == (64, 64)
    for x, y in result["points"].numpy():
        left, top = int(max(x - 2, 0)), int(max(y - 2, 0))
        assert image[top : int(y + 3), left : int(x + 3)].max() > 50
    bright = image > 50
    assert bool(bright.any()) == (len(result["points"]) > 0)


def test_scale_one_and_full_size_change_nothing():
    example = example_with_bright_points([[0, 0], [31.5, 31.5], [31, 31]], 32, 32)
    example["points"] = tf.constant([[0, 0], [31.5, 31.5], [32, 32]], tf.float32)
    result = augment.random_scaled_crop(example, 32, 1.0, 1.0, tf.constant([0, 0]))
    np.testing.assert_allclose(result["points"], example["points"])
    np.testing.assert_allclose(result["image"], tf.cast(example["image"], tf.float32))


def test_small_images_are_enlarged_with_their_points():
    example = example_with_bright_points([[4, 8]], 16, 16)
    result = augment.random_scaled_crop(example, 64, 0.5, 0.5, tf.constant([0, 0]))
    np.testing.assert_allclose(result["points"], [[16, 32]])
    np.testing.assert_allclose(result["sigma"], [16])


@pytest.mark.parametrize("seed", range(4))
def test_crops_know_where_they_lie_in_the_image(seed):
    """Each row of the image has its number as its color: the crop has those of its `span`."""
    image = np.broadcast_to(np.arange(80, dtype=np.uint8)[:, None, None], (80, 200, 3))
    example = {**example_with_bright_points([[3, 4]], 80, 200), "image": tf.constant(image)}
    result = augment.random_scaled_crop(example, 32, 0.5, 2.0, tf.constant([seed, 1]))
    result = augment.random_flip(result, tf.constant([seed, 2]))
    top, bottom = 80 * result["span"].numpy()
    rows = top + (bottom - top) * (np.arange(32) + 0.5) / 32 - 0.5
    # To a tenth of a row; antialiasing blurs the border.
    np.testing.assert_allclose(result["image"].numpy()[3:-3, 5, 0], rows[3:-3], atol=0.1)


def test_crops_share_out_the_points():
    """A point on the border between two crops belongs to exactly one of them."""
    example = example_with_bright_points([[10, 5]] * 3, 20, 20)
    counts = {
        len(augment.random_scaled_crop(example, 10, 1, 1, tf.constant([seed, 0]))["points"]) for seed in range(20)
    }
    assert counts <= {0, 3}


def test_flip_twice_is_the_same(rng):
    example = example_with_bright_points([[3.25, 8]], 16, 24)
    seed = next(
        s for s in range(50) if float(augment.random_flip(example, tf.constant([s, 0]))["points"][0, 0]) != 3.25
    )
    once = augment.random_flip(example, tf.constant([seed, 0]))
    assert float(once["points"][0, 0]) == 24 - 3.25
    np.testing.assert_array_equal(augment.random_flip(once, tf.constant([seed, 0]))["image"], example["image"])


def test_color_stays_in_range_and_greys(rng):
    example = {"image": tf.constant(rng.uniform(0, 255, (8, 8, 3)), tf.float32)}
    image = augment.random_color(example, 1.0, 0.0, tf.constant([1, 2]))["image"].numpy()
    assert image.min() >= 0 and image.max() <= 255
    grey = augment.random_color(example, 0.0, 1.0, tf.constant([1, 2]))["image"].numpy()
    np.testing.assert_allclose(grey, np.repeat(grey[..., :1], 3, -1))
    np.testing.assert_allclose(
        augment.random_color(example, 0.0, 0.0, tf.constant([1, 2]))["image"], example["image"], rtol=1e-4
    )
