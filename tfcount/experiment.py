"""Builds an experiment from its config and trains it; names no method, data set or counter."""

import contextlib
import functools
import inspect
import itertools
import json
import logging
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcount import callbacks, flags
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data import schema, streams
from tfcount.data.records import Records
from tfcount.files import write_file
from tfcount.methods import METHODS
from tfcount.models import COUNTERS, build_counter
from tfcount.ops import density

# The files of a run.
FLAGS = "run.flags"
LOG = "train.log"
RUN = "run.json"
LABELS = "labels.json"
BEST = "best.weights.h5"
LAST = "last.weights.h5"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"

logger = logging.getLogger("tfcount")


def train(config: ExperimentConfig, model_dir: str, resume: bool = False) -> int:
    """Trains a counter and keeps the run in a folder.

    The folder gets `run.flags`, `train.log`, `run.json` (versions, hardware, minutes), `labels.json` (what was used of
    the annotation), `best.weights.h5` (lowest MAE on the held-out images), `last.weights.h5`, `checkpoints/` and
    `tensorboard/`.

    Args:
      config: the experiment.
      model_dir: folder of the run; made if it does not exist.
      resume: go on from the last checkpoint of the folder.

    Returns:
      0 when training is complete, 128 + the number of the signal that stopped it otherwise.

    Raises:
      FileExistsError: if the folder holds a run and `resume` is not set.
      FileNotFoundError: if there is nothing to resume, or no records.
      ValueError: if the run to resume has other flags, or data and config do not fit.
      FloatingPointError: if a loss is not finite.
    """
    training, held_out = Records.open(config.data.dir, "train").hold_out(config.data.validation_fraction, config.seed)
    _prepare_folder(config, model_dir, resume)
    with _logging_to(os.path.join(model_dir, LOG)):
        return _train(config, model_dir, training, held_out)


def _train(config, model_dir, training, held_out):
    keras.utils.set_random_seed(config.seed)
    with strategy().scope():
        with precision(config.train.precision):
            counter = build_counter(config.counter, **counter_options(config))
            method = METHODS[config.method].build(config.options, counter, config.density)
        optimizer = build_optimizer(config.train)
        optimizer.build(method.trainable_variables)
        # K8 of Keras on one GPU: "auto" would compile every image size.
        method.compile(optimizer=optimizer, jit_compile=False)
    checkpoint = tf.train.Checkpoint(method=method, optimizer=optimizer)
    manager = tf.train.CheckpointManager(checkpoint, os.path.join(model_dir, CHECKPOINTS), max_to_keep=2)
    run: dict[str, Any] = {"training_minutes": 0.0, "validation": []}
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
        run = read_run(model_dir)
    start = int(optimizer.iterations)
    data = streams.TrainingData(
        training, config.data, config.density, counter.stride, config.train.batch_size, config.seed, start
    )
    dataset = METHODS[config.method].train_dataset(config.options, data)
    _write_json(os.path.join(model_dir, LABELS), _labels(training, held_out))
    logger.info(
        "%s %d of %d steps of %d images: %s with %s, %d training images, %d held out, %s",
        "Resuming after" if start else "Training",
        start if start else config.train.steps,
        config.train.steps,
        config.train.batch_size,
        config.counter,
        config.method,
        len(training.rows),
        len(held_out.rows),
        f"{strategy().num_replicas_in_sync} x {_device_name()}",
    )

    begin, before = time.monotonic(), run["training_minutes"]

    def save(logs):
        run["training_minutes"] = before + (time.monotonic() - begin) / 60
        run["steps"] = int(optimizer.iterations)
        if logs:
            values = {name: float(value) for name, value in logs.items()}
            run["validation"].append({"step": run["steps"], **values})
        _write_json(os.path.join(model_dir, RUN), {**_environment(config, counter), **run})
        with callbacks.averaged_weights(method):
            callbacks.save_weights(counter, os.path.join(model_dir, LAST))
        manager.save(checkpoint_number=run["steps"])

    stop = callbacks.OrderlyStop(config.train.steps)
    progress = callbacks.Progress(config.train.steps, start, config.train.batch_size)
    watchers: list[keras.callbacks.Callback] = [progress, stop]
    if held_out.rows:
        best = min((entry["val_mae"] for entry in run["validation"] if "val_mae" in entry), default=math.inf)
        path = os.path.join(model_dir, BEST)
        watchers.append(callbacks.Validation(streams.evaluation(held_out), path, best))
        examples = _examples(held_out, config, counter.stride)
    else:
        examples = _examples(training, config, counter.stride)
    watchers.append(callbacks.Summaries(os.path.join(model_dir, TENSORBOARD), progress, examples))
    watchers.append(callbacks.Checkpoints(save))

    interval = min(config.train.validation_interval, config.train.steps)
    if start < config.train.steps:
        try:
            method.fit(
                dataset,
                initial_epoch=start // interval,
                epochs=-(-config.train.steps // interval),
                steps_per_epoch=interval,
                callbacks=watchers,
                shuffle=False,
                verbose=0,
            )
        except tf.errors.InvalidArgumentError as error:
            raise _explain(error, optimizer, manager) from error
    if stop.received:
        logger.info(
            "Stopped by %s after step %d of %d; everything is saved. Go on with the same command and --resume.",
            stop.received.name,
            int(optimizer.iterations),
            config.train.steps,
        )
        return 128 + stop.received
    logger.info("Done: %d steps in %.1f minutes. The run is in %s", run["steps"], run["training_minutes"], model_dir)
    return 0


def load_counter(model_dir: str):
    """Builds the counter of a run with its best weights, or its last ones if none were held out to choose by.

    Returns:
      The counter in float32, and the config of the run.

    Raises:
      FileNotFoundError: if the folder holds no run, or one without weights.
      ValueError: if the weights are not those of the counter.
    """
    path = os.path.join(model_dir, FLAGS)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{model_dir!r} holds no run: {path} does not exist. Train with --model_dir={model_dir}."
        )
    config = flags.from_file(path)
    for name in (BEST, LAST):
        weights = os.path.join(model_dir, name)
        if os.path.isfile(weights):
            break
    else:
        raise FileNotFoundError(f"{model_dir!r} holds no weights yet ({BEST} or {LAST}): train on with --resume.")
    with precision("float32"):
        counter = build_counter(config.counter, **counter_options(config, weights="none"))
    try:
        counter.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{weights} does not hold the weights of counter {config.counter!r}: {error}") from error
    return counter, config


def counter_options(config: ExperimentConfig, weights: str | None = None) -> dict:
    """Returns the arguments of the counter that the config gives."""
    accepted = inspect.signature(COUNTERS[config.counter]).parameters
    if "encoder_weights" in accepted:
        return {"encoder_weights": config.encoder.weights if weights is None else weights}
    if config.encoder.weights not in ("imagenet", "none"):
        raise ValueError(f"--encoder_weights={config.encoder.weights}: counter {config.counter!r} has no encoder.")
    return {}


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """Returns the strategy over all devices; there is one a process, two would collide."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Sets the dtype of the layers built inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """Builds the optimizer with its schedule: linear warm-up, then constant or half a cosine down to zero."""
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
        "global_clipnorm": config.clip_norm or None,
        "use_ema": config.ema > 0,
        "ema_momentum": config.ema or 0.99,
    }
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=config.momentum, **common)
    elif config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(**common)
    else:
        optimizer = keras.optimizers.AdamW(**common)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _prepare_folder(config, model_dir, resume):
    """Makes the folder of a run, or checks that the run in it is the one to go on with."""
    path = os.path.join(model_dir, FLAGS)
    if resume:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"--resume: {model_dir!r} holds no run ({path} does not exist).")
        if flags.from_file(path) != config:
            ours, theirs = set(flags.to_lines(config)), set(flags.to_lines(flags.from_file(path)))
            raise ValueError(
                f"--resume: the run in {model_dir!r} has other flags: there {sorted(theirs - ours)}, "
                f"here {sorted(ours - theirs)}."
            )
        return
    if os.path.exists(path):
        raise FileExistsError(
            f"{model_dir!r} holds a run already: add --resume to go on with it, or choose another --model_dir."
        )
    write_file(path, "".join(f"{line}\n" for line in flags.to_lines(config)))


@contextlib.contextmanager
def _logging_to(path):
    """Sends what `logger` says to the terminal, and the details too to a file."""
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.INFO)
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.setLevel(logging.DEBUG)
    propagate, logger.propagate = logger.propagate, False
    for handler in (terminal, file):
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.propagate = propagate
        for handler in (terminal, file):
            logger.removeHandler(handler)
            handler.close()


def _explain(error, optimizer, manager):
    """Returns the error to raise for a loss that is not finite; any other one stays what it is."""
    if "is not finite" not in str(error):
        return error
    name = str(error).partition("loss '")[2].partition("'")[0]
    step = int(optimizer.iterations) + 1
    saved = os.path.basename(manager.latest_checkpoint) if manager.latest_checkpoint else "none yet"
    return FloatingPointError(
        f"Loss {name!r} is not finite at step {step}; the weights were left as they were (last checkpoint: {saved}). "
        "Lower --train_learning_rate, lengthen --train_warmup_steps, or set --train_clip_norm=1."
    )


def _examples(records, config, stride):
    """Returns the first few images with their target densities."""
    examples = []
    for example in itertools.islice(streams.evaluation(records), callbacks._PICTURES):
        image, points = example["image"][0], example["points"]
        if config.density.kernel == "adaptive":
            sigma = density.adaptive_sigma(points)
        else:
            sigma = tf.fill(tf.shape(points)[:1], config.density.sigma)
        rows, columns = (-(-side // stride) for side in image.shape[:2])
        mask = tf.ones_like(sigma)
        target = density.density_map(points[None], mask[None], sigma[None], rows, columns, stride)
        examples.append((image.numpy(), target.numpy()[0, ..., 0]))
    return examples


def _labels(training, held_out):
    """Returns how much annotation a run uses, that of the held-out images included."""

    def used(records):
        return {
            "images": len(records.rows),
            "dots": sum(row.points for row in records.rows),
            "counts": sum(row.labels == schema.COUNT for row in records.rows),
            "pairs": 0,
            "columns": 0,
        }

    parts = {"training": used(training), "validation": used(held_out)}
    return {name: sum(part[name] for part in parts.values()) for name in parts["training"]} | parts


def _environment(config, counter):
    """Returns what else a number depends on: versions, commit, machine, seed, size of the counter."""
    folder = os.path.dirname(os.path.abspath(__file__))
    commit = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = ("tfcount", "tensorflow", "keras", "numpy", "opencv-python-headless")
    return {
        "seed": config.seed,
        "commit": commit or None,
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in packages},
        "hardware": {"device": _device_name(), "replicas": strategy().num_replicas_in_sync, "cores": os.cpu_count()},
        "parameters": int(sum(np.prod(weight.shape) for weight in counter.weights)),
    }


def _device_name():
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "CPU"


def read_run(model_dir: str) -> dict:
    """Returns what `run.json` says: seed, commit, versions, hardware, minutes of training, validations."""
    with open(os.path.join(model_dir, RUN), encoding="utf-8") as file:
        return json.load(file)


def _write_json(path, value):
    write_file(path, json.dumps(value, indent=2) + "\n")
