"""Augmentation: functions from an example to an example, stateless, so that a stream is a function of its seed.

An example is a dict with `image` (height, width, 3), 0..255, `points` (n, 2), (x, y) in pixels, `sigma` (n,), the width
of each head's kernel, pixels, and `span` (2,), the places of its top and bottom in the image it was cut from: 0 is the
top of that image and 1 its bottom.
"""

import math

import tensorflow as tf

# Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def random_scaled_crop(example: dict, size: int, smallest: float, largest: float, seed: tf.Tensor) -> dict:
    """Cuts a random square out of the image and resizes it, as if the image had been scaled first.

    The scale is log-uniform between the limits, and larger where the image would be smaller than the crop. Only the
    window is resized, not the image. Points outside the window are dropped, those inside move with the image, and
    their sigma grows with it.

    Args:
      example: see the module.
      size: side of the result, pixels.
      smallest: smallest scale; 1 leaves the image as it is.
      largest: largest scale.
      seed: `(2,)` integers.

    Returns:
      The example with `image` (size, size, 3) float32.
    """
    scale_seed, corner_seed = tf.unstack(tf.random.split(seed, 2))
    sides = tf.shape(example["image"])[:2]
    scale = tf.exp(tf.random.stateless_uniform([], scale_seed, math.log(smallest), math.log(largest)))
    window = tf.minimum(tf.cast(tf.round(size / scale), tf.int32), tf.reduce_min(sides))
    window = tf.maximum(window, 1)
    share = tf.random.stateless_uniform([2], corner_seed)
    corner = tf.cast(share * tf.cast(sides - window + 1, tf.float32), tf.int32)
    top, left = corner[0], corner[1]
    image = example["image"][top : top + window, left : left + window]
    image = tf.ensure_shape(tf.image.resize(image, [size, size], antialias=True), [size, size, 3])

    zoom = size / tf.cast(window, tf.float32)
    points = (example["points"] - tf.cast(corner[::-1], tf.float32)) * zoom
    # A point at the very edge of the image (x equal to its width) belongs to the last cell.
    at_edge = tf.equal(tf.cast(corner + window, tf.float32), tf.cast(sides, tf.float32))[::-1]
    inside = (points >= 0) & ((points < size) | (at_edge & (points <= size)))
    inside = tf.reduce_all(inside, -1)
    span = tf.cast(tf.stack([top, top + window]), tf.float32) / tf.cast(sides[0], tf.float32)
    return {
        **example,
        "span": span,
        "image": image,
        "points": tf.boolean_mask(points, inside),
        "sigma": tf.boolean_mask(example["sigma"] * zoom, inside),
    }


def random_scaled_image(example: dict, multiple: int, smallest: float, largest: float, seed: tf.Tensor) -> dict:
    """Resizes the whole image by a random factor, to sides that are multiples of a number.

    Args:
      example: see the module.
      multiple: of which both sides of the result are multiples, pixels; they differ from the image's by half of it at
        most, once scaled.
      smallest: smallest factor, log-uniform up to the largest.
      largest: largest factor.
      seed: `(2,)` integers.

    Returns:
      The example with `image` (height, width, 3) float32.
    """
    scale = tf.exp(tf.random.stateless_uniform([], seed, math.log(smallest), math.log(largest)))
    sides = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    return _resized(example, multiple * tf.cast(tf.maximum(tf.round(sides * scale / multiple), 1), tf.int32))


def reduced(example: dict, long_side: int, short_side: int) -> dict:
    """Makes an image that is larger than a limit fit into it, its shape kept.

    Args:
      example: see the module.
      long_side: largest length of the longer side, pixels; 0 for no limit.
      short_side: largest length of the shorter side, pixels; 0 for no limit.

    Returns:
      The example; `image` stays as it is if it fits, and is float32 in any case.
    """
    return _resized(example, _reduced_sides(example["image"], long_side, short_side))


def reduced_image(image: tf.Tensor, long_side: int, short_side: int) -> tf.Tensor:
    """Makes images alone fit as `reduced` does.

    Args:
      image: `(height, width, 3)` or `(batch, height, width, 3)` uint8.
      long_side: largest length of the longer side, pixels; 0 for no limit.
      short_side: largest length of the shorter side, pixels; 0 for no limit.

    Returns:
      The same, reduced, uint8.
    """
    if not (long_side or short_side):
        return image
    small = tf.image.resize(image, _reduced_sides(image, long_side, short_side), antialias=True)
    return tf.saturate_cast(tf.round(small), tf.uint8)


def _reduced_sides(image, long_side, short_side):
    sides = tf.cast(tf.shape(image)[-3:-1], tf.float32)
    factor = tf.minimum((long_side or math.inf) / tf.reduce_max(sides), (short_side or math.inf) / tf.reduce_min(sides))
    return tf.cast(tf.maximum(tf.round(sides * tf.minimum(factor, 1)), 1), tf.int32)


def _resized(example, sides):
    """Returns an example with an image of other sides `(2,)`, height and width."""
    image = tf.ensure_shape(tf.image.resize(example["image"], sides, antialias=True), [None, None, 3])
    zoom = tf.cast(sides, tf.float32) / tf.cast(tf.shape(example["image"])[:2], tf.float32)
    sigma = example["sigma"] * tf.sqrt(tf.reduce_prod(zoom))
    return {**example, "image": image, "points": example["points"] * zoom[::-1], "sigma": sigma}


def random_flip(example: dict, seed: tf.Tensor) -> dict:
    """Mirrors the image and its points left to right, half of the time."""
    width = tf.cast(tf.shape(example["image"])[1], tf.float32)
    points = example["points"]
    mirrored = tf.stack([width - points[:, 0], points[:, 1]], -1)
    flip = tf.random.stateless_uniform([], seed) < 0.5
    return {
        **example,
        "image": tf.where(flip, example["image"][:, ::-1], example["image"]),
        "points": tf.where(flip, mirrored, points),
    }


def random_color(example: dict, strength: float, grey: float, seed: tf.Tensor) -> dict:
    """Changes brightness, contrast and saturation at random, and makes some images grey.

    Args:
      example: see the module; `image` is float32.
      strength: each of the three factors is uniform in `1 - strength .. 1 + strength`; 0 to 1.
      grey: share of the images that lose their color, 0 to 1.
      seed: `(2,)` integers.
    """
    factor_seed, grey_seed = tf.unstack(tf.random.split(seed, 2))
    brightness, contrast, saturation = tf.unstack(
        tf.random.stateless_uniform([3], factor_seed, 1 - strength, 1 + strength)
    )
    saturation *= tf.cast(tf.random.stateless_uniform([], grey_seed) >= grey, tf.float32)
    image = example["image"]
    luma = tf.reduce_sum(image * _LUMA, -1, keepdims=True)
    mean = tf.reduce_mean(luma)
    image = luma + saturation * (image - luma)
    image = brightness * (mean + contrast * (image - mean))
    return {**example, "image": tf.clip_by_value(image, 0, 255)}
