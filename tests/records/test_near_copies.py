"""Held-out frames that follow training frames are seen; frames of the same camera with other people are not."""

import dataclasses
import types

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcount.records.folder import Records
from tfcount.records.near_copies import count_near_copies
from tfcount.records.schema import AnnotatedImage


@dataclasses.dataclass
class Images:
    """What is read of `Records`, from pictures in memory; remembers what was read."""

    pictures: dict
    size: tuple = (192, 256)

    def __post_init__(self):
        height, width = self.size
        self.rows = [types.SimpleNamespace(id=identity, height=height, width=width) for identity in self.pictures]
        self.positions = []

    def read(self, positions):
        self.positions = list(positions)
        for position in positions:
            encoded = list(self.pictures.values())[position]
            yield AnnotatedImage("x", encoded, 1, 1).serialize()


def scene(seed):
    grey = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    return cv2.resize(grey, (256, 192), interpolation=cv2.INTER_CUBIC)


def picture(background, people, rng):
    """People are squares of 12 pixels, `(n, 3)` x, y and grey."""
    drawn = background.astype(np.float32)
    for x, y, grey in people.astype(int).tolist():
        drawn[y : y + 36, x : x + 12] = grey
    noisy = np.clip(drawn + rng.normal(0, 3, drawn.shape), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy)[1].tobytes()


def crowd(rng, people=12):
    return np.column_stack([rng.uniform(0, 244, people), rng.uniform(0, 156, people), rng.uniform(0, 256, people)])


def video(rng, frames, step):
    """A camera; people walk about `step` pixels to the right between two frames, or are others where that is None."""
    people, background, found = crowd(rng), scene(0), {}
    speeds = rng.uniform(0.5, 1.5, len(people))
    for index in range(frames):
        found[f"frame_{index}"] = picture(background, people, rng)
        if step is None:
            people = crowd(rng)
        else:
            people[:, 0] = (people[:, 0] + step * speeds) % 244
    return found


def split(pictures, held_out):
    ours = {identity: image for identity, image in pictures.items() if identity in held_out}
    return Images({identity: pictures[identity] for identity in pictures if identity not in ours}), Images(ours)


EVERY_FIFTH = {f"frame_{index}" for index in range(2, 20, 5)}
LAST = {f"frame_{index}" for index in range(16, 20)}


@pytest.mark.parametrize(
    "step, held_out, fewest, most", [(2, EVERY_FIFTH, 4, 4), (None, EVERY_FIFTH, 0, 0), (15, LAST, 0, 1)]
)
def test_frames_of_a_camera(rng, step, held_out, fewest, most):
    copies, images = count_near_copies(*split(video(rng, 20, step), held_out))
    assert images == 4 and fewest <= copies <= most


def test_the_same_picture_among_others(rng):
    """Of scenes that have nothing in common, one is there twice, encoded anew and a little brighter."""
    pictures = {f"image_{index}": picture(scene(index), crowd(rng), rng) for index in range(12)}
    training, held_out = split(pictures, {"image_3", "image_7"})
    assert count_near_copies(training, held_out) == (0, 2)
    pixels = cv2.imdecode(np.frombuffer(pictures["image_3"], np.uint8), cv2.IMREAD_GRAYSCALE)
    brighter = np.clip(pixels * 1.1 + 5, 0, 255).astype(np.uint8)
    pictures["twice"] = cv2.imencode(".png", brighter)[1].tobytes()
    assert count_near_copies(*split(pictures, {"image_3", "image_7"})) == (1, 2)


def test_empty_frames_are_copies(rng):
    frames = {f"frame_{index}": picture(scene(0), crowd(rng, 0), rng) for index in range(8)}
    assert count_near_copies(*split(frames, {"frame_1", "frame_5"})) == (2, 2)


def test_of_many_images_neighbors_are_looked_at(rng):
    """500 names, the pictures of which are but 20: held out are 100, one in five; a half of these are looked at."""
    pictures = list(video(rng, 20, 2).values())
    frames = {f"frame_{index}": pictures[index // 25] for index in range(500)}
    training, held_out = split(frames, {f"frame_{index}" for index in range(0, 500, 5)})
    assert count_near_copies(training, held_out) == (50, 50)
    assert len(held_out.positions) == 50 and len(training.positions) <= 200


def test_what_cannot_be_read(rng, crowds, monkeypatch):
    frames = video(rng, 6, 2)
    training, held_out = split(frames, {"frame_2"})
    held_out.pictures["frame_2"] = b"no picture"
    assert count_near_copies(training, held_out) == (0, 0)
    assert count_near_copies(training, Images({})) == (0, 0)

    def damaged(self, positions):
        raise tf.errors.DataLossError(None, None, "a shard ends")

    kept, others = Records.open(crowds, "train").hold_out(0.25, 0)
    assert count_near_copies(kept, others) == (0, 3)
    monkeypatch.setattr(Records, "read", damaged)
    assert count_near_copies(kept, others) == (0, 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (127, 127), (128, 128)])
def test_pictures_of_any_size(rng, size):
    """Also those that are too small to be reduced."""

    def pictures(seed):
        encoded = cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8))[1].tobytes()
        return Images({f"{seed}_{number}": encoded for number in range(3)}, size)

    assert count_near_copies(pictures(0), pictures(1))[1] == 3
