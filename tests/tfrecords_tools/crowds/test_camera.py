"""Perspective."""

import numpy as np

from tfrecords_tools.crowds.camera import Camera


def test_people_are_larger_in_front():
    camera = Camera(horizon=100.0, ratio=5.0, squeeze=1.0, scale=40.0)
    np.testing.assert_allclose(camera.head_size(np.array([0, 100, 250, 400]), 400), [8, 8, 24, 40])
