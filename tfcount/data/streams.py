"""Streams: from records to the batches that a method trains on, and to the images that are evaluated."""

import dataclasses

import tensorflow as tf

from tfcount.data import augment, schema
from tfcount.data.records import Records
from tfcount.ops import density

# Batches are padded to one of these numbers of points: few shapes, so few compilations.
_BUCKETS = tuple(16 << doublings for doublings in range(16))


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is read, and how it is varied.

    Attributes:
      dir: folder of records, made by `python -m tfrecords_tools.build`.
      validation_fraction: share of the training images held out to choose the best checkpoint; 0 holds out none.
      crop: side of the square crops, pixels.
      scale_min: smallest factor by which images are scaled before cropping.
      scale_max: largest factor by which images are scaled before cropping.
      color: strength of random brightness, contrast and saturation, 0 to 1.
      grey: share of the crops that lose their color, 0 to 1.
    """

    dir: str = ""
    validation_fraction: float = 0.1
    crop: int = 256
    scale_min: float = 0.75
    scale_max: float = 1.5
    color: float = 0.2
    grey: float = 0.1

    def __post_init__(self):
        if self.crop < 1:
            raise ValueError(f"--data_crop must be at least 1. Received: {self.crop}.")
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
      loss: compares the predicted density with the target.
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
    """

    records: Records
    data: DataConfig
    density: DensityConfig
    stride: int
    batch_size: int
    seed: int
    start_step: int = 0

    def labeled(self) -> tf.data.Dataset:
        """Returns the endless stream of crops of the images with all points.

        Each batch is a dict: `image` (batch, crop, crop, 3) uint8, `points` (batch, n, 2), `point_mask` and `sigma`
        (batch, n) float32, padded to 16, 32, 64 ... points, `density` (batch, ceil(crop / stride),
        ceil(crop / stride), 1) float32, people per cell, and `count` (batch,) float32, the points inside the crop. Batch k depends on nothing
        but the seed and k.

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
        start = self.start_step * self.batch_size
        serialized = records.shuffled(self.seed, start)
        numbered = tf.data.Dataset.zip(tf.data.Dataset.counter(start), serialized)
        crops = numbered.map(self._crop, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = crops.padded_batch(self.batch_size, drop_remainder=True)
        return batches.map(self._finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)

    def _crop(self, position, serialized):
        record = schema.parse_image(serialized)
        points = record["points"]
        example = {"image": decode_image(record["image"]), "points": points, "sigma": self.density.sigmas(points)}
        seeds = tf.unstack(tf.random.split(tf.stack([tf.cast(self.seed, tf.int64), position]), 3))
        data = self.data
        example = augment.random_scaled_crop(example, data.crop, data.scale_min, data.scale_max, seeds[0])
        example = augment.random_flip(example, seeds[1])
        example = augment.random_color(example, data.color, data.grey, seeds[2])
        example["image"] = tf.cast(tf.round(example["image"]), tf.uint8)
        example["point_mask"] = tf.ones_like(example["sigma"])
        return example

    def _finish(self, batch):
        batch = {**batch, **{name: _pad_to_bucket(batch[name]) for name in ("points", "sigma", "point_mask")}}
        cells = -(-self.data.crop // self.stride)
        batch["density"] = density.density_map(
            batch["points"], batch["point_mask"], batch["sigma"], cells, cells, self.stride
        )
        batch["count"] = tf.reduce_sum(batch["point_mask"], -1)
        return batch


def evaluation(records: Records) -> tf.data.Dataset:
    """Returns the whole images of the records, one at a time, in the order of the index.

    Each element is a dict: `id` (scalar string), `image` (1, height, width, 3) uint8, `points` (n, 2) and `count`
    (scalar float32, NaN where it is unknown).
    """

    def read(serialized):
        record = schema.parse_image(serialized)
        image = decode_image(record["image"])[None]
        return {"id": record["id"], "image": image, "points": record["points"], "count": record["count"]}

    return records.serialized().map(read, num_parallel_calls=2, deterministic=True).prefetch(2)


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG in the graph to `(height, width, 3)` uint8, RGB; grey images get three equal channels."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def _pad_to_bucket(values):
    """Pads axis 1 of `(batch, n, ...)` with zeros to the smallest bucket that holds n."""
    count = tf.shape(values)[1]
    bucket = tf.reduce_min(tf.boolean_mask(_BUCKETS, tf.greater_equal(_BUCKETS, count)))
    return tf.pad(values, [[0, 0], [0, bucket - count]] + [[0, 0]] * (values.shape.rank - 2))
