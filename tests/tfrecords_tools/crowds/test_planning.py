"""Planned scenes: where people stand."""

import numpy as np

from tfrecords_tools.crowds.planning import plan_scene


def test_heads_keep_their_distance():
    """No two heads stand at the same place: each has to be seen. Nearly all are a third of a head apart."""
    scene = plan_scene(np.random.default_rng(1), 800, 384, 512)
    apart = np.linalg.norm(scene.points[:, None] - scene.points[None], axis=2) + 1e9 * np.eye(800)
    heads = scene.camera.head_size(scene.points[:, 1], 384)
    assert np.mean(apart.min(1) > heads / 3) > 0.9


def test_people_beside_the_camera_are_large():
    """Heads are a tenth to a third of the shorter side, of few people: so near that bodies are cut by the edge."""
    sizes, cut = [], []
    for seed in range(60):
        scene = plan_scene(np.random.default_rng(seed), 1 + seed % 6, 384, 512, close=True)
        heads = scene.camera.head_size(scene.points[:, 1], 384)
        sizes += list(heads)
        cut += list(scene.points[:, 1] + 6.3 * scene.camera.squeeze * heads > 384)
    assert min(sizes) > 384 / 13 and max(sizes) < 384 / 3
    assert np.mean(np.array(sizes) > 40) > 0.85
    assert 0.5 < np.mean(cut) < 1


def test_twelve_people_beside_the_camera_keep_their_distance():
    near = []
    for seed in range(10):
        scene = plan_scene(np.random.default_rng(seed), 12, 384, 512, close=True)
        apart = np.linalg.norm(scene.points[:, None] - scene.points[None], axis=2) + 1e9 * np.eye(12)
        near += list(apart.min(1) < scene.camera.head_size(scene.points[:, 1], 384) / 3)
    assert np.mean(near) < 0.1
