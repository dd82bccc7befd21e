"""Files of images, as tests of formats save them."""

import os

import cv2
import numpy as np

HEIGHT, WIDTH = 16, 24


def save_image(path, seed=0, height=HEIGHT, width=WIDTH):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(path), pixels)
