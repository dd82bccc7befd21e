"""Figures are drawn from arrays and numbers, and are pictures of the right size."""

from types import SimpleNamespace

import cv2
import numpy as np

from tfcount.drawing import figures
from tfcount.drawing.divisions_figure import draw_divisions
from tfcount.drawing.evaluation_figure import draw_evaluation


def decoded(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_thumbnails_have_about_a_megapixel():
    assert figures.thumbnail(np.zeros((20, 30, 3))).shape == (20, 30, 3)
    assert figures.thumbnail(np.zeros((3000, 4000, 3), np.uint8)).shape == (1000, 1334, 3)


def test_a_prediction(rng):
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    drawn = figures.draw_prediction(image, rng.random((6, 8)), np.zeros((6, 8)))
    assert drawn.shape == (272, 960, 4) and drawn.dtype == np.uint8


def test_divisions_that_are_looked_at_again_have_boxes(rng):
    """In the colors of their centers, in every panel; nothing else in a figure of black maps has these colors."""
    image, density = np.zeros((64, 64, 3), np.uint8), np.zeros((16, 16))
    edges = [np.array([0, 8, 16])] * 2
    index = np.array([[-1, 0], [-1, 1]])
    drawn = draw_divisions(image, density, density, index, np.full((2, 2), 1.5), edges)
    assert drawn.shape == (272, 960, 4)
    none = draw_divisions(image, density, density, np.full((2, 2), -1), np.ones((2, 2)), edges)
    for color in ((255, 127, 14), (44, 160, 44)):  # C1 and C2 of matplotlib.
        with_boxes, without = (np.all(np.abs(one[..., :3] - np.float64(color)) < 40, -1) for one in (drawn, none))
        assert not without.any() and all(panel.any() for panel in np.array_split(with_boxes, 3, axis=1))


def test_an_evaluation(rng):
    results = [
        SimpleNamespace(image_id=f"image_{number}", ground_truth=10.0 * number, predicted=9.0 * number)
        for number in range(5)
    ]
    groups = [{"from": 0, "to": 50, "images": 4, "mae": 1.5, "bias": -1.5}, {"from": 50, "to": None, "images": 1}]
    groups[1] |= {"mae": 4.0, "bias": -4.0}
    summary = {"dataset": "crowds", "split": "test", "images": 5, "mae": 2.0, "rmse": 2.4}
    summary |= {"bias_by_count": groups, "bias_by_megapixels": groups[:1]}
    images = {f"image_{number}": rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for number in (4, 3)}
    assert decoded(draw_evaluation(results, summary, images)).shape == (860, 1500, 3)
    assert decoded(draw_evaluation(results, summary, {"image_4": images["image_4"]})).shape == (860, 1500, 3)
