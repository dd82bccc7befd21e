"""Planned scenes: where people stand."""

import numpy as np

from tfrecords_tools.crowds.planning import plan_scene


def test_heads_keep_their_distance():
    """No two heads stand at the same place: each has to be seen. Nearly all are a third of a head apart."""
    scene = plan_scene(np.random.default_rng(1), 800, 384, 512)
    apart = np.linalg.norm(scene.points[:, None] - scene.points[None], axis=2) + 1e9 * np.eye(800)
    heads = scene.camera.head_size(scene.points[:, 1], 384)
    assert np.mean(apart.min(1) > heads / 3) > 0.9
