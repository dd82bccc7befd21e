"""The stream of whole images among which some pairs are in a known order."""

import itertools

import numpy as np
import tensorflow as tf

from tfcount.data import augment
from tfcount.data.streams.training_data import TrainingData
from tfcount.records import schema
from tfcount.records.images import decode_image

# How often couples are drawn before one that has an image in the batch already gives way to any two images.
_TRIES = 100


def paired(source: TrainingData, pairs: np.ndarray, counted: np.ndarray) -> tf.data.Dataset:
    """Returns the endless stream of whole images among which some pairs are known.

    A batch is made of couples that stand next to each other: pairs drawn at random, and if `counted` has two images
    or more, every fourth couple, or the last one if there are fewer, two of these. No image is twice in a batch.

    Each batch is a dict: `image` (batch, height, width, 3) uint8, padded with zeros at the bottom and right to the
    sides of the largest, `size` (batch, 2) int32, height and width without padding, pixels, `position` (batch,)
    int64, the place of each image in the rows of the records, `more` (batch, batch / replicas) float32, 1 where an
    image is known to show more than another one of its replica, `count` (batch,) float32, its number of objects,
    and `counted` (batch,) float32, 1 where that may be used; `count` is 0 elsewhere. Images are reduced to
    `data.long_side` and `data.short_side`, mirrored and changed in color. Batch k depends on nothing but the seed
    and k.

    Args:
      source: what it is made of.
      pairs: `(p, 2)` int64, positions in the rows of the records: the image that shows more, the one that shows
        fewer. Without any, all batches are of counted images.
      counted: `(c,)` int64, positions of images whose count may be used.

    Raises:
      ValueError: if there are not enough images for a batch, the batch is odd, or too small for couples of both
        kinds.
    """
    rows = source.records.rows
    couples = source.batch_size // 2
    mixed = len(pairs) > 0 and len(counted) > 1
    images = np.unique(np.concatenate([np.ravel(pairs), counted])).astype(np.int64)
    if source.batch_size % (2 * source.replicas) or (mixed and couples < 2):
        raise ValueError(
            "--train_batch_size must be even on each device, and at least 4 for pairs and counts. "
            f"Received: {source.batch_size}."
        )
    if source.batch_size > len(images):
        raise ValueError(
            f"--train_batch_size={source.batch_size} is larger than the number of training images that have labels, "
            f"{len(images)}, in {source.records.folder!r}."
        )
    for_counts = [mixed and couple % min(4, couples) == min(4, couples) - 1 for couple in range(couples)]
    codes = np.unique(pairs[:, 0] * len(rows) + pairs[:, 1])
    is_counted = np.zeros(len(rows), bool)
    is_counted[counted] = True

    def batches():
        for step in itertools.count(source.start_step):
            generator = np.random.default_rng((source.seed, step))
            chosen = np.full((couples, 2), -1)
            # Couples with counts first: there are fewer to choose from.
            for slot in sorted(range(couples), key=lambda slot: not for_counts[slot]):
                drawn = _couples(generator, counted if for_counts[slot] else pairs, images)
                chosen[slot] = next(couple for couple in drawn if not np.isin(couple, chosen).any())
            groups = chosen.reshape(source.replicas, -1)
            more = _among(groups[:, :, None] * len(rows) + groups[:, None], codes)
            yield {
                "position": chosen.ravel(),
                "more": more.reshape(source.batch_size, -1).astype(np.float32),
                "counted": is_counted[chosen.ravel()].astype(np.float32),
            }

    signature = {
        "position": tf.TensorSpec([source.batch_size], tf.int64),
        "more": tf.TensorSpec([source.batch_size, source.batch_size // source.replicas], tf.float32),
        "counted": tf.TensorSpec([source.batch_size], tf.float32),
    }
    chosen = tf.data.Dataset.from_generator(batches, output_signature=signature)
    positions = chosen.map(lambda batch: batch["position"]).unbatch()
    counts = tf.constant([row.count for row in rows], tf.float32)

    def vary(number, position, serialized):
        example = {
            "image": decode_image(schema.parse_image(serialized)["image"]),
            "points": tf.zeros([0, 2]),
            "sigma": tf.zeros([0]),
        }
        seeds = tf.unstack(tf.random.split(tf.stack([tf.cast(source.seed, tf.int64), number]), 2))
        example = augment.reduced(example, source.data.long_side, source.data.short_side)
        example = augment.random_flip(example, seeds[0])
        image = augment.random_color(example, source.data.color, source.data.grey, seeds[1])["image"]
        return {"image": tf.cast(tf.round(image), tf.uint8), "size": tf.shape(image)[:2], "count": counts[position]}

    numbers = tf.data.Dataset.counter(source.start_step * source.batch_size)
    numbered = tf.data.Dataset.zip(numbers, positions, source.records.at(positions))
    # Whole images are large: few at a time.
    varied = numbered.map(vary, num_parallel_calls=2, deterministic=True)
    batched = varied.padded_batch(source.batch_size, drop_remainder=True)

    def join(images, batch):
        # A count that may not be used must not be there: it may be unknown, which is NaN.
        return {**images, **batch, "count": tf.where(batch["counted"] > 0, images["count"], 0)}

    return tf.data.Dataset.zip(batched, chosen).map(join).prefetch(2)


def _among(values, codes):
    """Returns whether each value is one of the codes, which ascend; takes no time in proportion to these."""
    if not len(codes):
        return np.zeros(values.shape, bool)
    return codes[np.minimum(np.searchsorted(codes, values), len(codes) - 1)] == values


def _couples(generator, chosen, images):
    """Yields couples at random, without end: of `chosen`, pairs `(p, 2)` or images `(c,)`, then of any images."""
    for _ in range(_TRIES if len(chosen) else 0):
        yield (
            chosen[generator.integers(len(chosen))] if chosen.ndim == 2 else generator.choice(chosen, 2, replace=False)
        )
    while True:
        yield generator.choice(images, 2, replace=False)
