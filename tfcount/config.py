"""What an experiment is: frozen dataclasses, from which the flags are generated."""

import dataclasses
import inspect
import re
from collections.abc import Collection
from typing import Any

import keras

from tfcount.data.config import DataConfig, DensityConfig
from tfcount.losses import DENSITY_LOSSES
from tfcount.methods import METHODS
from tfcount.models import COUNTERS
from tfcount.models.spn import ENCODERS

# What each density loss leaves open: a dataclass with those arguments of its constructor that are flags.
LOSS_OPTIONS: dict[str, type] = {
    name: dataclasses.make_dataclass(
        loss.__name__ + "Config",
        [
            (argument, type(default), dataclasses.field(default=default))
            for argument in loss.OPTIONS
            for default in [inspect.signature(loss).parameters[argument].default]
        ],
        namespace={"__doc__": loss.__doc__},
        frozen=True,
    )
    for name, loss in DENSITY_LOSSES.items()
}

# What a flag may be, where it is one of a few names.
CHOICES: dict[str, Collection[str]] = {
    "method": METHODS,
    "counter": COUNTERS,
    "density_loss": DENSITY_LOSSES,
    "encoder_name": ENCODERS,
    "density_kernel": ("adaptive", "fixed"),
    "train_optimizer": ("adam", "sgd"),
    "train_schedule": ("constant", "cosine"),
    "train_precision": ("float32", "mixed_bfloat16", "mixed_float16"),
}


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The part of the counter that was trained on ImageNet.

    Attributes:
      name: the network, for counters that can do with several, which are spn and l2sm.
      weights: "imagenet" downloads what Keras Applications offers, "none" starts from random weights, and anything
        else is the path of an .h5 file in the layout of Keras Applications.
      trainable: whether training changes it; if not, only the rest of the counter learns.
    """

    name: str = "vgg16"
    weights: str = "imagenet"
    trainable: bool = True


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The optimization.

    Attributes:
      steps: optimizer steps.
      batch_size: images a step, over all devices.
      optimizer: which; Adam with weight decay is AdamW, for the decay is not part of the gradient.
      learning_rate: its highest value.
      schedule: of the learning rate after the warm-up; cosine goes down to zero at the last step.
      warmup_steps: steps in which the learning rate rises from zero.
      momentum: of sgd.
      weight_decay: share of each kernel that a step takes away, times the learning rate; biases and normalization
        have none.
      clip_norm: largest norm of the whole gradient; 0 does not clip.
      ema: momentum of the moving average of the weights, which is what is validated and saved, in short runs less: the
        weights of the first step end with a share of 5 % at most; 0 averages nothing.
      precision: of the layers; weights, losses and the last layer stay float32.
      validation_interval: steps between validations, each with a checkpoint.
    """

    steps: int = 10_000
    batch_size: int = 8
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    warmup_steps: int = 100
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 0.0
    ema: float = 0.999
    precision: str = "float32"
    validation_interval: int = 500

    def __post_init__(self):
        for name in ("steps", "batch_size", "validation_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"--train_{name} must be at least 1. Received: {getattr(self, name)}.")
        for name in ("learning_rate", "warmup_steps", "weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--train_{name} must be at least 0. Received: {getattr(self, name)}.")
        for name in ("ema", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--train_{name} must be at least 0 and below 1. Received: {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A run, but for where it is kept.

    Attributes:
      method: how the counter learns.
      counter: the network.
      seed: of initial weights, held-out images, order and augmentation.
      initial_weights: folder of a run, or .weights.h5 file, of the same counter, with whose weights training starts;
        if empty, with --encoder_weights and random ones.
      cache_features: computes what the encoder, which must not be trainable, gives for eight crops an image, once,
        and trains the rest of the counter on that.
      deterministic: makes runs with equal flags equal to the bit on the same machine.
      data: what is read, and how it is varied.
      density: how points become a target.
      encoder: where the counter starts.
      train: the optimization.
      options: the method's own `Config`.
      loss_options: the density loss's own, from `LOSS_OPTIONS`.
    """

    method: str = "supervised"
    counter: str = "resnet50"
    seed: int = 0
    initial_weights: str = ""
    cache_features: bool = False
    deterministic: bool = False
    data: DataConfig = DataConfig()  # noqa: RUF009 (frozen)
    density: DensityConfig = DensityConfig()  # noqa: RUF009 (frozen)
    encoder: EncoderConfig = EncoderConfig()
    train: TrainConfig = TrainConfig()
    options: Any = None
    loss_options: Any = None

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be at least 0 and below 2 ** 32. Received: {self.seed}.")
        for flag, choices in CHOICES.items():
            part, _, field = flag.rpartition("_")
            value = getattr(getattr(self, part) if part else self, field)
            if value not in choices:
                raise ValueError(f"--{flag} must be one of {sorted(choices)}. Received: {value!r}.")
        if self.cache_features and self.encoder.trainable:
            raise ValueError("--cache_features needs --encoder_trainable=false: features that change cannot be kept.")
        if self.cache_features and (self.data.crop % 32 or not self.data.crop):
            raise ValueError(
                f"--cache_features needs --data_crop to be a positive multiple of 32. Received: {self.data.crop}."
            )
        if self.options is None:
            object.__setattr__(self, "options", METHODS[self.method].Config())
        loss_options = LOSS_OPTIONS[self.density.loss]
        if self.loss_options is None:
            object.__setattr__(self, "loss_options", loss_options())
        if not isinstance(self.loss_options, loss_options):
            raise ValueError(f"`loss_options` must be those of {self.density.loss!r}. Received: {self.loss_options}.")
        try:
            self.density_loss(stride=8)
        except ValueError as error:
            raise ValueError(re.sub(r"`(\w+)`", rf"--{self.density.loss}_\1", str(error))) from None

    def density_loss(self, stride: int) -> keras.losses.Loss:
        """Makes the loss that compares densities with points, for cells of `stride` pixels."""
        return DENSITY_LOSSES[self.density.loss](stride=stride, **dataclasses.asdict(self.loss_options))
