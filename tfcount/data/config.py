"""What can be chosen of the data: what is read, how it is varied, and how points become a target."""

import dataclasses

import tensorflow as tf

from tfcount.ops import density
from tfcount.records import holding_out

# Beyond them memory ends, or an image.
_LARGEST_CROP = 8192
_MOST_DIVISIONS = 64
_LARGEST_SCALE = 100
_LARGEST_SIGMA = 10_000


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is read, and how it is varied.

    Attributes:
      dir: folder of records, made by `python -m tfrecords_tools.build`.
      validation_fraction: share of the training images held out to choose the best checkpoint; 0 holds out none.
      validation_by: which training images are held out: some at random if empty; "order", the last ones in the natural
        order of their ids, for the frames of one camera; "name:PATTERN", a regular expression whose first group tells
        cameras, scenes or days apart, of which whole ones are held out; or "attribute:NAME", whose values do.
      crop: side of the square crops, pixels, up to 8192; 0 trains on whole images, one a step.
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
    validation_by: str = ""
    crop: int = 256
    division: int = 1
    long_side: int = 0
    short_side: int = 0
    scale_min: float = 0.75
    scale_max: float = 1.5
    color: float = 0.2
    grey: float = 0.1

    def __post_init__(self):
        holding_out.check_rule(self.validation_by)
        if self.validation_by and not self.validation_fraction:
            raise ValueError(
                f"--data_validation_by={self.validation_by} needs --data_validation_fraction above 0; 0 holds out none."
            )
        for name in ("crop", "long_side", "short_side"):
            if getattr(self, name) < 0:
                raise ValueError(f"--data_{name} must be at least 0. Received: {getattr(self, name)}.")
        if self.crop > _LARGEST_CROP:
            raise ValueError(f"--data_crop must be at most {_LARGEST_CROP}. Received: {self.crop}.")
        if not 1 <= self.division <= _MOST_DIVISIONS:
            raise ValueError(
                f"--data_division must be at least 1 and at most {_MOST_DIVISIONS}. Received: {self.division}."
            )
        if self.division > 1 and self.crop:
            raise ValueError("--data_division cuts whole images: it needs --data_crop=0.")
        if not 0 < self.scale_min <= self.scale_max <= _LARGEST_SCALE:
            raise ValueError(
                f"--data_scale_min must be positive and at most --data_scale_max, and that at most {_LARGEST_SCALE}. "
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
        if not 0 < self.sigma <= _LARGEST_SIGMA:
            raise ValueError(f"--density_sigma must be positive and at most {_LARGEST_SIGMA}. Received: {self.sigma}.")

    def sigmas(self, points: tf.Tensor) -> tf.Tensor:
        """Returns the sigma of each head, `(n,)` pixels, for all heads `(n, 2)` of a whole image."""
        if self.kernel == "adaptive":
            return density.adaptive_sigma(points)
        return tf.fill(tf.shape(points)[:1], self.sigma)
