"""Held-out images that are near copies of training images, as the next frame of a video is: they flatter a counter."""

import bisect

import cv2
import google.protobuf.message
import numpy as np
import tensorflow as tf

from tfcount.records.folder import Records
from tfcount.records.holding_out import natural_order

# So many held-out images are looked at, spread over all of them.
_HELD_OUT = 50
# Up to so many training images all are compared; of more, those that stand next to a held-out image in natural order.
_TRAINING = 4 * _HELD_OUT
_BESIDE = 2
# Side of a thumbnail, pixels.
_SIDE = 16
# Thumbnails whose pixels correlate by so much show the same scene; if there are so many, what they share is left out.
_SAME_SCENE, _FEWEST = 0.8, 3
# What was measured. Part A's 300 training images: 0.99 for two pairs, which show the same crowd, below 0.9 for all
# others; of 30 images held out at random, none to two are found. A rendered camera, 20 and 60 frames with 8, 40 and 150
# people, light and noise that change, a fifth of the frames held out, six seeds: where people walk a fifth of their
# width from frame to frame, nearly all frames held out at random are found (0.8 to 0.98), and of the last ones those at
# the border; where it is their width, some to all, and at most one of the last ones; where it is three widths and more,
# or all are others, none (below 0.8).
_COPY, _COPY_IN_SCENE = 0.95, 0.8
# Nor are frames told apart that differ by less, levels of grey: empty ones, whose noise does not correlate.
_NOISE = 1.0


def count_near_copies(training: Records, held_out: Records) -> tuple[int, int]:
    """Counts held-out images that are near copies of training images.

    Thumbnails are compared, at most 50 with at most 200. Frames of one camera are all alike; of these the mean of the
    scene is left out, so that what counts is who stands where.

    Args:
      training: images to learn from.
      held_out: images that are validated.

    Returns:
      The number of near copies, and that of the held-out images that were looked at; both 0 where images cannot be
      read.
    """
    images, others = _in_order(held_out), _in_order(training)
    if not images or not others:
        return 0, 0
    spread = np.unique(np.linspace(0, len(images) - 1, min(_HELD_OUT, len(images))).round().astype(int))
    images = [images[index] for index in spread]
    if len(others) > _TRAINING:
        keys = [natural_order(identity) for identity in others]
        places = np.array([bisect.bisect(keys, natural_order(image)) for image in images])
        beside = np.unique(np.clip(places[:, None] + np.arange(-_BESIDE, _BESIDE), 0, len(others) - 1))
        others = [others[index] for index in beside]
    try:
        ours, theirs = _thumbnails(held_out, images), _thumbnails(training, others)
    except tf.errors.OpError:
        # Training tells which file is damaged.
        return 0, 0
    if not len(ours) or not len(theirs):
        return 0, len(ours)
    return sum(bool(_is_copy(image, theirs)) for image in ours), len(ours)


def _is_copy(image, others):
    """Whether one of the thumbnails `(n, pixels)` shows the same people at the same places as `(pixels,)`."""
    if np.sqrt(np.mean((others - image) ** 2, -1)).min() < _NOISE:
        return True
    image, others = _normalized(image), _normalized(others)
    likeness = others @ image
    scene = others[likeness > _SAME_SCENE]
    if len(scene) < _FEWEST:
        return likeness.max() > _COPY
    shared = scene.mean(0)
    return (_normalized(scene - shared) @ _normalized(image - shared)).max() > _COPY_IN_SCENE


def _normalized(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _thumbnails(records, ids):
    """Returns `(n, pixels)` grey thumbnails with mean 0, of those images that can be decoded."""
    positions = {row.id: position for position, row in enumerate(records.rows)}
    found = []
    chosen = [positions[identity] for identity in ids]
    for row, serialized in zip([records.rows[position] for position in chosen], records.read(chosen), strict=True):
        try:
            encoded = tf.train.Example.FromString(serialized).features.feature["image"].bytes_list.value[0]
        except (google.protobuf.message.DecodeError, IndexError):
            continue
        # A JPEG is decoded at an eighth of its size, in a tenth of the time; OpenCV reduces no side to nothing.
        large = min(row.height, row.width) >= 8 * _SIDE
        mode = cv2.IMREAD_REDUCED_GRAYSCALE_8 if large else cv2.IMREAD_GRAYSCALE
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), mode)
        if image is not None:
            thumbnail = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
            found.append(thumbnail - thumbnail.mean())
    return np.array(found)


def _in_order(records):
    return sorted((row.id for row in records.rows), key=natural_order)
