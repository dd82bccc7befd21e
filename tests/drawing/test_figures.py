"""Figures are drawn from arrays and numbers, and are pictures of the right size."""

from types import SimpleNamespace

import cv2
import matplotlib.figure
import numpy as np
import pytest

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


def shown(identity, truth, predicted, generator, ranks=False):
    image = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    result = SimpleNamespace(image_id=identity, ground_truth=truth, predicted=predicted)
    density = np.abs(generator.random((5, 8)))
    return SimpleNamespace(
        result=result, image=image, heads=np.full((3, 2), 20.0), density=density, stride=8, ranks=ranks
    )


def test_an_evaluation(rng):
    results = [
        SimpleNamespace(image_id=f"image_{number}", ground_truth=10.0 * number, predicted=9.0 * number)
        for number in range(5)
    ]
    groups = [{"from": 0, "to": 50, "images": 4, "mae": 1.5, "bias": -1.5}, {"from": 50, "to": None, "images": 1}]
    groups[1] |= {"mae": 4.0, "bias": -4.0}
    summary = {"dataset": "crowds", "split": "test", "images": 5, "mae": 2.0, "rmse": 2.4}
    quantiles = [{**groups[0], "to": 10.0}, {**groups[1], "from": 20.0, "to": 20.0}]
    summary |= {"bias_by_quantile": quantiles, "bias_by_megapixels": groups}
    worst = [shown("image_4", 40, 36, rng), shown("a/very/long/folder/of/one/camera/frame_000003", 30, 27, rng, True)]
    assert decoded(draw_evaluation(results, summary, worst)).shape == (1150, 1500, 3)
    worst[0].heads = np.zeros((0, 2))
    one = {"bias_by_quantile": quantiles[:1], "bias_by_megapixels": groups[:1]}
    assert decoded(draw_evaluation(results[:1], summary | one, worst[:1])).shape == (1150, 1500, 3)


class TestAxes:
    """Whatever the counts are, they fill the plot, and each axis has ticks to read them by."""

    @pytest.mark.parametrize(
        "lowest, highest", [(0, 3), (0, 45), (20, 45), (66, 2256), (980, 1020), (0, 40000), (7, 7), (0, 0)]
    )
    def test_counts_fill_the_plot(self, lowest, highest):
        axes = matplotlib.figure.Figure().subplots()
        figures.equalize_axes(axes, lowest, highest)
        assert axes.get_xlim() == axes.get_ylim() and axes.get_xscale() == axes.get_yscale()
        ends = axes.transAxes.inverted().transform(axes.transData.transform([(lowest, lowest), (highest, highest)]))
        assert ends.min() >= 0 and ends.max() <= 1
        assert highest == lowest or ends[1, 0] - ends[0, 0] > 0.8
        left, right = axes.get_xlim()
        assert 3 <= sum(left <= tick <= right for tick in axes.get_xticks()) <= 12

    def test_wide_ranges_are_logarithmic(self):
        scales = []
        for highest in (199, 201):
            axes = matplotlib.figure.Figure().subplots()
            figures.equalize_axes(axes, 20, highest)
            scales.append(axes.get_xscale())
        assert scales == ["linear", "symlog"]
