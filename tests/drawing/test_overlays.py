import numpy as np
import pytest

from tfcount.drawing.overlays import draw_overlay


def test_dots_lie_on_the_people():
    image = np.zeros((160, 400, 3), np.uint8)
    drawn = draw_overlay(image, np.zeros((20, 50)), 8, 1.0, np.array([[200.5, 80.5]]))
    strip = len(drawn) - 160
    weights = drawn[strip:, :, 1].astype(float)
    rows, columns = np.mgrid[:160, :400]
    assert (weights * columns).sum() / weights.sum() == pytest.approx(200, abs=0.05)
    assert (weights * rows).sum() / weights.sum() == pytest.approx(80, abs=0.05)


def test_noise_is_not_drawn_as_a_crowd():
    """But what little a map that only ranks shows is."""
    image = np.zeros((160, 400, 3), np.uint8)
    noise = np.full((20, 50), 2e-4)
    assert draw_overlay(image, noise, 8, 0.2, np.zeros((0, 2)))[-160:].max() < 30
    assert draw_overlay(image, noise, 8, 0.2, None)[-160:].max() > 100


def test_narrow_pictures_have_whole_titles():
    drawn = draw_overlay(np.zeros((160, 8, 3), np.uint8), np.zeros((20, 1)), 8, 1.0, np.zeros((0, 2)))
    assert drawn.shape[1] > 100 and drawn[:-160, -1].max() == 24
