"""The stream of crops, or whole images, of which all points are known."""

import functools

import tensorflow as tf

from tfcount.data import augment
from tfcount.data.streams.training_data import TrainingData
from tfcount.ops import density
from tfcount.records import schema
from tfcount.records.images import decode_image

# Sides of whole images are rounded to multiples of that many pixels, which all counters cut into whole cells.
_MULTIPLE = 32

# Batches are padded to one of these numbers of points: few shapes, so few compilations.
_BUCKETS = tuple(16 << doublings for doublings in range(26))


def batches_an_epoch(source: TrainingData) -> int:
    """Returns how many batches of `labeled` show each image once."""
    images = len(source.records.with_labels(schema.POINTS).rows)
    return -(-images // source.batch_size) if source.data.crop else images


def labeled(source: TrainingData) -> tf.data.Dataset:
    """Returns the endless stream of crops of the images with all points, or of whole images.

    Args:
      source: what it is made of.

    Each batch is a dict: `image` (batch, crop, crop, 3) uint8, `points` (batch, n, 2), `point_mask` and `sigma`
    (batch, n) float32, padded to 16, 32, 64 ... points, `span` (batch, 2) float32, the top and bottom of the crop
    as parts of the height of the image, `density` (batch, ceil(crop / stride), ceil(crop / stride), 1) float32,
    people per cell, and `count` (batch,) float32, the points inside the crop.
    Batch k depends on nothing but the seed and k. Of whole images, the sides take the place of `crop`, and the
    parts of one make the batch.

    Raises:
      ValueError: if no image has points, or the batch is larger than the number of images.
    """
    records = source.records.with_labels(schema.POINTS)
    if not records.rows:
        raise ValueError(f"No training image in {records.folder!r} has all of its points labeled.")
    if source.batch_size > len(records.rows):
        raise ValueError(
            f"--train_batch_size={source.batch_size} is larger than the number of labeled training images, "
            f"{len(records.rows)}, in {records.folder!r}; others may be held out (--data_validation_fraction). Give "
            f"--train_batch_size={len(records.rows)} or less, or more images."
        )
    data = source.data
    if not data.crop and source.batch_size != data.division**2:
        raise ValueError(
            f"--train_batch_size must be {data.division**2}, the number of parts of an image, with --data_crop=0 "
            f"and --data_division={data.division}. Received: {source.batch_size}."
        )
    start = source.start_step * (source.batch_size if data.crop else 1)
    serialized = records.shuffled(source.seed, start)
    numbered = tf.data.Dataset.zip(tf.data.Dataset.counter(start), serialized)
    if data.crop:
        vary = functools.partial(_varied, source)
        crops = numbered.map(vary, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = crops.padded_batch(source.batch_size, drop_remainder=True)
    else:
        # Whole images are large: few at a time.
        batches = numbered.map(functools.partial(_parts, source), num_parallel_calls=2, deterministic=True)
    finish = functools.partial(_finish, source)
    return batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)


def _varied(source, position, serialized):
    record = schema.parse_image(serialized)
    points = record["points"]
    example = {
        "image": decode_image(record["image"]),
        "points": points,
        "sigma": source.density.sigmas(points),
        "span": tf.constant([0.0, 1.0]),
    }
    seeds = tf.unstack(tf.random.split(tf.stack([tf.cast(source.seed, tf.int64), position]), 3))
    data = source.data
    if data.long_side or data.short_side:
        example = augment.reduced(example, data.long_side, data.short_side)
    if data.crop:
        example = augment.random_scaled_crop(example, data.crop, data.scale_min, data.scale_max, seeds[0])
    else:
        multiple = _MULTIPLE * data.division
        example = augment.random_scaled_image(example, multiple, data.scale_min, data.scale_max, seeds[0])
    example = augment.random_flip(example, seeds[1])
    example = augment.random_color(example, data.color, data.grey, seeds[2])
    example["image"] = tf.cast(tf.round(example["image"]), tf.uint8)
    example["point_mask"] = tf.ones_like(example["sigma"])
    return example


def _parts(source, position, serialized):
    """Returns the parts of an image as a batch; each has all points, with those that lie inside not masked."""
    example = _varied(source, position, serialized)
    division = source.data.division
    sides = tf.shape(example["image"])[:2] // division
    height, width = sides[0], sides[1]
    image = tf.reshape(example["image"], [division, height, division, width, 3])
    index = tf.range(division)
    rows, columns = (tf.reshape(value, [-1]) for value in tf.meshgrid(index, index, indexing="ij"))
    cell = tf.cast(example["points"] // tf.cast(sides[::-1], tf.float32), tf.int32)
    # A point at the very edge of the image belongs to the last part.
    cell = tf.clip_by_value(cell, 0, division - 1)
    corner = tf.stack([columns, rows], -1) * sides[::-1]
    return {
        "image": tf.reshape(tf.transpose(image, [0, 2, 1, 3, 4]), [division**2, height, width, 3]),
        "points": example["points"][None] - tf.cast(corner[:, None], tf.float32),
        "sigma": tf.tile(example["sigma"][None], [division**2, 1]),
        "span": tf.cast(tf.stack([rows, rows + 1], 1), tf.float32) / division,
        "point_mask": tf.cast((cell[:, 0] == columns[:, None]) & (cell[:, 1] == rows[:, None]), tf.float32),
    }


def _finish(source, batch):
    batch = {**batch, **{name: _pad_to_bucket(batch[name]) for name in ("points", "sigma", "point_mask")}}
    # Known beforehand where they are those of crops.
    sides = [source.data.crop] * 2 if source.data.crop else tf.unstack(tf.shape(batch["image"])[1:3])
    rows, columns = (-(-side // source.stride) for side in sides)
    batch["density"] = density.density_map(
        batch["points"], batch["point_mask"], batch["sigma"], rows, columns, source.stride
    )
    batch["count"] = tf.reduce_sum(batch["point_mask"], -1)
    return batch


def _pad_to_bucket(values):
    """Pads axis 1 of `(batch, n, ...)` with zeros to the smallest bucket that holds n."""
    count = tf.shape(values)[1]
    bucket = tf.reduce_min(tf.boolean_mask(_BUCKETS, tf.greater_equal(_BUCKETS, count)))
    return tf.pad(values, [[0, 0], [0, bucket - count]] + [[0, 0]] * (values.shape.rank - 2))
