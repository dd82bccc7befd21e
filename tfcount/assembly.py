"""From a config to what it names: counter, loss, method, optimizer."""

import contextlib
import inspect
import os
import re
import warnings
from collections.abc import Iterator

import keras
import numpy as np

from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.methods import METHODS
from tfcount.methods.method import Method
from tfcount.models import COUNTERS
from tfcount.models.counter import Counter
from tfcount.models.weights_file import check_weights_file

# Share that the weights of the first step have in the average at the end of a run, at most. With a momentum of 0.999 it
# is 0.64 after 450 steps, and such an average counts nothing right.
FIRST_SHARE = 0.05


def assemble(
    config: ExperimentConfig, replicas: int = 1, weights: str | None = None, initial_weights: str = ""
) -> Method:
    """Builds the method of an experiment around its counter, and compiles it; call it in the strategy's scope.

    Args:
      config: the experiment.
      replicas: number of devices.
      weights: where the encoder starts, in place of what the config says: "none" where a checkpoint is read anyway.
      initial_weights: file whose weights the counter starts with; none if empty.

    Raises:
      FileNotFoundError: if there are no such weights.
      ValueError: if parts do not fit together, or weights are not those of the counter.
    """
    with precision(config.train.precision):
        counter = build_counter(config, weights)
        if initial_weights:
            load_weights(counter, initial_weights)
        if counter.trained_by not in (None, config.method):
            raise ValueError(f"--counter={config.counter} is trained with --method={counter.trained_by}.")
        counter.encoder.trainable = config.encoder.trainable
        method = METHODS[config.method].build(config.options, counter, config.density_loss)
    optimizer = build_optimizer(config.train, replicas)
    optimizer.build(method.trainable_variables)
    # "auto" would compile every image size on a single GPU.
    method.compile(optimizer=optimizer, jit_compile=False)
    return method


def build_counter(config: ExperimentConfig, weights: str | None = None) -> Counter:
    """Builds the counter of an experiment.

    Args:
      config: the experiment.
      weights: where the encoder starts, in place of what the config says.

    Raises:
      FileNotFoundError: if there are no such weights.
      ValueError: if the counter has no such option.
    """
    build = COUNTERS[config.counter]
    accepted = inspect.signature(build).parameters
    options = {name: value for name, value in config.options.counter_options().items() if name in accepted}
    encoder = config.encoder
    if "encoder_name" in accepted:
        options["encoder_name"] = encoder.name
    elif encoder.name != EncoderConfig.name:
        raise ValueError(f"--encoder_name={encoder.name}: counter {config.counter!r} has no choice of encoders.")
    if "encoder_weights" in accepted:
        options["encoder_weights"] = encoder.weights if weights is None else weights
    elif encoder.weights not in ("imagenet", "none"):
        raise ValueError(f"--encoder_weights={encoder.weights}: counter {config.counter!r} has no encoder.")
    elif not encoder.trainable:
        raise ValueError(f"--encoder_trainable=false: counter {config.counter!r} has no encoder.")
    with naming_flags(config):
        return build(**options)


def load_weights(counter: Counter, path: str) -> None:
    """Gives a counter the weights of a file.

    Args:
      counter: the network.
      path: a `.weights.h5` file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if they are not those of the counter, or not finite, or the file leads to others.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} is neither the folder of a run nor a .weights.h5 file.")
    try:
        # Keras reads files of other endings otherwise.
        if not path.endswith(".weights.h5"):
            raise ValueError("it is no .weights.h5 file, which is what training writes.")
        check_weights_file(path)
        with warnings.catch_warnings():
            # Keras only warns of some layers that a file lacks.
            warnings.simplefilter("error", UserWarning)
            counter.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ValueError(f"{path} does not hold the weights of counter {counter.name!r}: {error}") from error
    check_finite(counter, path)


def check_finite(counter: Counter, where: str) -> None:
    """Checks that all weights of a counter are finite: others give counts that look like any.

    Args:
      counter: the network.
      where: its weights are from, for the message.

    Raises:
      ValueError: if one is not.
    """
    for variable in counter.variables:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise ValueError(
                f"{where} holds weights that are not finite ({variable.path}): restore it from a copy, or train again."
            )


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Sets the dtype of the layers built inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_optimizer(config: TrainConfig, replicas: int = 1) -> keras.optimizers.Optimizer:
    """Builds the optimizer with its schedule: linear warm-up, then constant or half a cosine down to zero.

    The momentum of the moving average of the weights is lower than asked for where the run is short: at its end the
    weights of the first step have a share of `FIRST_SHARE` at most.

    Args:
      config: the choices.
      replicas: number of devices, each of which gives the optimizer an equal share of the gradient to clip.
    """
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if config.warmup_steps else config.learning_rate,
        decay_steps=max(config.steps - config.warmup_steps, 1),
        alpha=1.0 if config.schedule == "constant" else 0.0,
        warmup_target=config.learning_rate if config.warmup_steps else None,
        warmup_steps=config.warmup_steps,
    )
    common = {
        "learning_rate": rate,
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm / replicas or None,
        "use_ema": config.ema > 0,
        "ema_momentum": min(config.ema, FIRST_SHARE ** (1 / config.steps)) or 0.99,
    }
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=config.momentum, **common)
    else:
        optimizer = keras.optimizers.Adam(**common)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


@contextlib.contextmanager
def naming_flags(config: ExperimentConfig) -> Iterator[None]:
    """Puts flags in place of arguments that errors of models name: users know the flags."""
    flag = {"encoder_name": "--encoder_name", "encoder_weights": "--encoder_weights"}
    flag |= {name: f"--{config.method}_{name}" for name in config.options.counter_options()}
    try:
        yield
    except (ValueError, OSError) as error:
        named = re.sub(r"`(\w+)`", lambda found: flag.get(found[1], found[0]), str(error))
        if named == str(error):
            raise
        raise type(error)(named) from error
