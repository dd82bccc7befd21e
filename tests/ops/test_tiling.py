import numpy as np
import pytest
import tensorflow as tf

from tfcount.ops.tiling import density_in_tiles

STRIDE, REACH = 4, 20


def blurred(images):
    """Density that depends on a square of `STRIDE + 2 * REACH` pixels around each cell."""
    pixels = tf.cast(images, tf.float32)[..., :1]
    pixels = tf.pad(pixels, [[0, 0], [0, -pixels.shape[1] % STRIDE], [0, -pixels.shape[2] % STRIDE], [0, 0]])
    cells = tf.nn.avg_pool2d(pixels, STRIDE, STRIDE, "VALID")
    return tf.nn.conv2d(cells, np.ones((11, 11, 1, 1), np.float32), 1, "SAME")


@pytest.mark.parametrize("height, width", [(1, 300), (301, 1), (97, 205), (192, 160), (300, 303)])
def test_tiles_give_the_density_of_the_whole(rng, height, width):
    images = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    windows = []

    def density(window):
        windows.append(window.shape[1:3])
        return blurred(window)

    tiled = density_in_tiles(density, images, STRIDE, REACH, tile=33)
    np.testing.assert_allclose(tiled, blurred(images), rtol=1e-5, atol=1e-2)
    # 33 is rounded up to 64, 20 to 32.
    assert len(windows) == -(-height // 64) * -(-width // 64)
    assert np.max(windows) <= 64 + 2 * 32


def test_an_image_that_fits_is_computed_as_a_whole(rng):
    windows = []

    def density(window):
        windows.append(window.shape)
        return blurred(window)

    density_in_tiles(density, rng.integers(0, 256, (1, 128, 100, 3), dtype=np.uint8), STRIDE, REACH, tile=64)
    assert windows == [(1, 128, 100, 3)]


def test_a_border_below_the_reach_would_be_seen(rng):
    images = rng.integers(0, 256, (1, 300, 300, 3), dtype=np.uint8)
    tiled = density_in_tiles(blurred, images, STRIDE, 0, tile=64)
    assert np.abs(tiled - blurred(images)).max() > 1
