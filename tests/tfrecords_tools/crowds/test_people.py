"""Painted people: their heads are where the points are."""

import cv2
import numpy as np
import pytest

from tfrecords_tools.crowds.planning import plan_scene
from tfrecords_tools.crowds.rendering import paint_canvas


@pytest.mark.parametrize(("people", "close"), [(20, False), (300, False), (1200, False), (6, True)])
def test_heads_are_where_the_points_are(people, close):
    """At the points the place looks different with people than without them, and elsewhere it does not."""
    for seed in range(3):
        scene = plan_scene(np.random.default_rng(seed), people, 384, 512, close)
        empty = paint_canvas(scene, with_people=False)
        change = np.abs(paint_canvas(scene) - empty).mean(2)
        x, y = scene.points.astype(int).T
        at_heads = cv2.blur(change, (3, 3))[y, x]
        # Not all: some hair is as dark as the ground.
        assert np.mean(at_heads > 4) > 0.85
        above = int(scene.points[:, 1].min() - 2 * scene.camera.scale)
        assert np.all(change[: max(above, 0)] == 0)


@pytest.mark.parametrize("close", [False, True])
def test_a_head_is_centered_on_its_point(close):
    """Of one person, what is above the shoulders has its middle at the point, on average over persons."""
    offsets = []
    for seed in range(40):
        scene = plan_scene(np.random.default_rng(seed), 1, 128, 128, close)
        change = np.abs(paint_canvas(scene) - paint_canvas(scene, False)).mean(2)
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
