import numpy as np
import pytest

from tfcount.drawing.overlays import draw_overlay, overlay_names
from tfcount.inference import Prediction


def prediction(density, count, points):
    return Prediction(count, False, density, points, np.zeros(0), (160, 400), np.ones(2, np.float32))


def test_dots_lie_on_the_people():
    image = np.zeros((160, 400, 3), np.uint8)
    drawn = draw_overlay(image, prediction(np.zeros((20, 50)), 1.0, np.array([[200.5, 80.5]])), 8)
    strip = len(drawn) - 160
    weights = drawn[strip:, :, 1].astype(float)
    rows, columns = np.mgrid[:160, :400]
    assert (weights * columns).sum() / weights.sum() == pytest.approx(200, abs=0.05)
    assert (weights * rows).sum() / weights.sum() == pytest.approx(80, abs=0.05)


def test_noise_is_not_drawn_as_a_crowd():
    """But what little a map that only ranks shows is."""
    image = np.zeros((160, 400, 3), np.uint8)
    noise = np.full((20, 50), 2e-4)
    assert draw_overlay(image, prediction(noise, 0.2, np.zeros((0, 2))), 8)[-160:].max() < 30
    assert draw_overlay(image, prediction(noise, 0.2, None), 8)[-160:].max() > 100


def test_narrow_pictures_have_whole_titles():
    drawn = draw_overlay(np.zeros((160, 8, 3), np.uint8), prediction(np.zeros((20, 1)), 1.0, np.zeros((0, 2))), 8)
    assert drawn.shape[1] > 100 and drawn[:-160, -1].max() == 24


def test_overlays_have_names_of_their_own():
    paths = ["/x/a_b/c.jpg", "/x/a/b/c.jpg", "/y/d.jpg"]
    assert list(overlay_names(paths).items()) == [
        ("/x/a_b/c.jpg", "x_a_b_c.jpg_overlay"),
        ("/x/a/b/c.jpg", "x_a_b_c.jpg__overlay"),
        ("/y/d.jpg", "d.jpg_overlay"),
    ]
