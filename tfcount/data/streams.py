"""Streams: from records to the batches that a method trains on, and to the images that are evaluated."""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from tfcount.data import augment
from tfcount.ops import density
from tfcount.records import schema
from tfcount.records.folder import Records
from tfcount.records.images import decode_image

# Sides of whole images are rounded to multiples of that many pixels, which all counters cut into whole cells.
_MULTIPLE = 32

# How often couples are drawn before one that has an image in the batch already gives way to any two images.
_TRIES = 100

# Batches are padded to one of these numbers of points: few shapes, so few compilations.
_BUCKETS = tuple(16 << doublings for doublings in range(26))


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is read, and how it is varied.

    Attributes:
      dir: folder of records, made by `python -m tfrecords_tools.build`.
      validation_fraction: share of the training images held out to choose the best checkpoint; 0 holds out none.
      crop: side of the square crops, pixels; 0 trains on whole images, one a step.
      division: whole images are cut into so many parts along each side, which make the batch.
      long_side: images whose longer side is longer are reduced to it, wherever the counter is used; 0 reduces none.
      short_side: images whose shorter side is longer are reduced to it, likewise; 0 reduces none.
      scale_min: smallest factor by which images are scaled before cropping.
      scale_max: largest factor by which images are scaled before cropping.
      color: strength of random brightness, contrast and saturation, 0 to 1.
      grey: share of the crops that lose their color, 0 to 1.
    """

    dir: str = ""
    validation_fraction: float = 0.1
    crop: int = 256
    division: int = 1
    long_side: int = 0
    short_side: int = 0
    scale_min: float = 0.75
    scale_max: float = 1.5
    color: float = 0.2
    grey: float = 0.1

    def __post_init__(self):
        for name in ("crop", "long_side", "short_side"):
            if getattr(self, name) < 0:
                raise ValueError(f"--data_{name} must be at least 0. Received: {getattr(self, name)}.")
        if self.division < 1:
            raise ValueError(f"--data_division must be at least 1. Received: {self.division}.")
        if self.division > 1 and self.crop:
            raise ValueError("--data_division cuts whole images: it needs --data_crop=0.")
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                "--data_scale_min must be positive and at most --data_scale_max. "
                f"Received: {self.scale_min} and {self.scale_max}."
            )
        for name in ("color", "grey"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--data_{name} must be between 0 and 1. Received: {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True)
class DensityConfig:
    """How points become a density target, and how a predicted density is compared with it.

    Attributes:
      loss: compares the predicted density with the points, or with the density they make.
      kernel: fixed draws every head with the same sigma, adaptive with 0.3 of the mean distance to its three neighbors.
      sigma: standard deviation of the fixed kernel, pixels of the image before scaling.
    """

    loss: str = "l2"
    kernel: str = "fixed"
    sigma: float = 4.0

    def __post_init__(self):
        if not self.sigma > 0:
            raise ValueError(f"--density_sigma must be positive. Received: {self.sigma}.")

    def sigmas(self, points: tf.Tensor) -> tf.Tensor:
        """Returns the sigma of each head, `(n,)` pixels, for all heads `(n, 2)` of a whole image."""
        if self.kernel == "adaptive":
            return density.adaptive_sigma(points)
        return tf.fill(tf.shape(points)[:1], self.sigma)


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a method may make its training stream of.

    Attributes:
      records: the training images, without those held out.
      data: augmentation.
      density: targets.
      stride: of the counter, pixels.
      batch_size: images a step, over all replicas.
      seed: of order and augmentation.
      start_step: steps already done; streams go on from there.
      replicas: devices that share a batch.
    """

    records: Records
    data: DataConfig
    density: DensityConfig
    stride: int
    batch_size: int
    seed: int
    start_step: int = 0
    replicas: int = 1

    @property
    def epoch(self) -> int:
        """Number of batches of `labeled` that show each image once."""
        images = len(self.records.with_labels(schema.POINTS).rows)
        return -(-images // self.batch_size) if self.data.crop else images

    def labeled(self) -> tf.data.Dataset:
        """Returns the endless stream of crops of the images with all points, or of whole images.

        Each batch is a dict: `image` (batch, crop, crop, 3) uint8, `points` (batch, n, 2), `point_mask` and `sigma`
        (batch, n) float32, padded to 16, 32, 64 ... points, `span` (batch, 2) float32, the top and bottom of the crop
        as parts of the height of the image, `density` (batch, ceil(crop / stride), ceil(crop / stride), 1) float32,
        people per cell, and `count` (batch,) float32, the points inside the crop.
        Batch k depends on nothing but the seed and k. Of whole images, the sides take the place of `crop`, and the
        parts of one make the batch.

        Raises:
          ValueError: if no image has points, or the batch is larger than the number of images.
        """
        records = self.records.with_labels(schema.POINTS)
        if not records.rows:
            raise ValueError(f"No training image in {records.folder!r} has all of its points labeled.")
        if self.batch_size > len(records.rows):
            raise ValueError(
                f"--train_batch_size={self.batch_size} is larger than the number of labeled training images, "
                f"{len(records.rows)}, in {records.folder!r}."
            )
        data = self.data
        if not data.crop and self.batch_size != data.division**2:
            raise ValueError(
                f"--train_batch_size must be {data.division**2}, the number of parts of an image, with --data_crop=0 "
                f"and --data_division={data.division}. Received: {self.batch_size}."
            )
        start = self.start_step * (self.batch_size if data.crop else 1)
        serialized = records.shuffled(self.seed, start)
        numbered = tf.data.Dataset.zip(tf.data.Dataset.counter(start), serialized)
        if data.crop:
            crops = numbered.map(self._varied, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            batches = crops.padded_batch(self.batch_size, drop_remainder=True)
        else:
            # Whole images are large: few at a time.
            batches = numbered.map(self._parts, num_parallel_calls=2, deterministic=True)
        return batches.map(self._finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)

    def ranked(self, pairs: np.ndarray, counted: np.ndarray) -> tf.data.Dataset:
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
          pairs: `(p, 2)` int64, positions in the rows of the records: the image that shows more, the one that shows
            fewer. Without any, all batches are of counted images.
          counted: `(c,)` int64, positions of images whose count may be used.

        Raises:
          ValueError: if there are not enough images for a batch, the batch is odd, or too small for couples of both
            kinds.
        """
        rows = self.records.rows
        couples = self.batch_size // 2
        mixed = len(pairs) > 0 and len(counted) > 1
        images = np.unique(np.concatenate([np.ravel(pairs), counted])).astype(np.int64)
        if self.batch_size % (2 * self.replicas) or (mixed and couples < 2):
            raise ValueError(
                "--train_batch_size must be even on each device, and at least 4 for pairs and counts. "
                f"Received: {self.batch_size}."
            )
        if self.batch_size > len(images):
            raise ValueError(
                f"--train_batch_size={self.batch_size} is larger than the number of training images that have labels, "
                f"{len(images)}, in {self.records.folder!r}."
            )
        for_counts = [mixed and couple % min(4, couples) == min(4, couples) - 1 for couple in range(couples)]
        known = np.unique(pairs[:, 0] * len(rows) + pairs[:, 1])

        def batches():
            for step in itertools.count(self.start_step):
                generator = np.random.default_rng((self.seed, step))
                chosen = np.full((couples, 2), -1)
                # Couples with counts first: there are fewer to choose from.
                for slot in sorted(range(couples), key=lambda slot: not for_counts[slot]):
                    drawn = _couples(generator, counted if for_counts[slot] else pairs, images)
                    chosen[slot] = next(couple for couple in drawn if not np.isin(couple, chosen).any())
                groups = chosen.reshape(self.replicas, -1)
                more = np.isin(groups[:, :, None] * len(rows) + groups[:, None], known)
                yield {
                    "position": chosen.ravel(),
                    "more": more.reshape(self.batch_size, -1).astype(np.float32),
                    "counted": np.isin(chosen, counted).ravel().astype(np.float32),
                }

        signature = {
            "position": tf.TensorSpec([self.batch_size], tf.int64),
            "more": tf.TensorSpec([self.batch_size, self.batch_size // self.replicas], tf.float32),
            "counted": tf.TensorSpec([self.batch_size], tf.float32),
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
            seeds = tf.unstack(tf.random.split(tf.stack([tf.cast(self.seed, tf.int64), number]), 2))
            example = augment.reduced(example, self.data.long_side, self.data.short_side)
            example = augment.random_flip(example, seeds[0])
            image = augment.random_color(example, self.data.color, self.data.grey, seeds[1])["image"]
            return {"image": tf.cast(tf.round(image), tf.uint8), "size": tf.shape(image)[:2], "count": counts[position]}

        numbers = tf.data.Dataset.counter(self.start_step * self.batch_size)
        numbered = tf.data.Dataset.zip(numbers, positions, self.records.at(positions))
        # Whole images are large: few at a time.
        varied = numbered.map(vary, num_parallel_calls=2, deterministic=True)
        batched = varied.padded_batch(self.batch_size, drop_remainder=True)

        def join(images, batch):
            # A count that may not be used must not be there: it may be unknown, which is NaN.
            return {**images, **batch, "count": tf.where(batch["counted"] > 0, images["count"], 0)}

        return tf.data.Dataset.zip(batched, chosen).map(join).prefetch(2)

    def _varied(self, position, serialized):
        record = schema.parse_image(serialized)
        points = record["points"]
        example = {
            "image": decode_image(record["image"]),
            "points": points,
            "sigma": self.density.sigmas(points),
            "span": tf.constant([0.0, 1.0]),
        }
        seeds = tf.unstack(tf.random.split(tf.stack([tf.cast(self.seed, tf.int64), position]), 3))
        data = self.data
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

    def _parts(self, position, serialized):
        """Returns the parts of an image as a batch; each has all points, with those that lie inside not masked."""
        example = self._varied(position, serialized)
        division = self.data.division
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

    def _finish(self, batch):
        batch = {**batch, **{name: _pad_to_bucket(batch[name]) for name in ("points", "sigma", "point_mask")}}
        # Known beforehand where they are those of crops.
        sides = [self.data.crop] * 2 if self.data.crop else tf.unstack(tf.shape(batch["image"])[1:3])
        rows, columns = (-(-side // self.stride) for side in sides)
        batch["density"] = density.density_map(
            batch["points"], batch["point_mask"], batch["sigma"], rows, columns, self.stride
        )
        batch["count"] = tf.reduce_sum(batch["point_mask"], -1)
        return batch


def evaluation(records: Records, data: DataConfig | None = None) -> tf.data.Dataset:
    """Returns the whole images of the records, one at a time, in the order of the index.

    Images larger than `long_side` and `short_side` of `data`, if it is given, are reduced, and their points with them.

    Each element is a dict: `id` (scalar string), `image` (1, height, width, 3) uint8, `points` (n, 2) in its pixels,
    `zoom` (2,), what x and y were multiplied by, `boxes` (n, 4) in pixels of the image that was not reduced, or (0, 4)
    where there are none, and `count` (scalar float32, NaN where it is unknown).
    """

    def read(serialized):
        record = schema.parse_image(serialized)
        whole = decode_image(record["image"])
        image = augment.reduced_image(whole, data.long_side, data.short_side) if data else whole
        zoom = tf.cast(tf.shape(image)[1::-1] / tf.shape(whole)[1::-1], tf.float32)
        return {
            "id": record["id"],
            "image": image[None],
            "points": record["points"] * zoom,
            "zoom": zoom,
            "boxes": record["boxes"],
            "count": record["count"],
        }

    return records.serialized().map(read, num_parallel_calls=2, deterministic=True).prefetch(2)


def _couples(generator, known, images):
    """Yields couples at random, without end: known pairs `(p, 2)`, couples of known images `(c,)`, then of any."""
    for _ in range(_TRIES if len(known) else 0):
        yield known[generator.integers(len(known))] if known.ndim == 2 else generator.choice(known, 2, replace=False)
    while True:
        yield generator.choice(images, 2, replace=False)


def _pad_to_bucket(values):
    """Pads axis 1 of `(batch, n, ...)` with zeros to the smallest bucket that holds n."""
    count = tf.shape(values)[1]
    bucket = tf.reduce_min(tf.boolean_mask(_BUCKETS, tf.greater_equal(_BUCKETS, count)))
    return tf.pad(values, [[0, 0], [0, bucket - count]] + [[0, 0]] * (values.shape.rank - 2))
