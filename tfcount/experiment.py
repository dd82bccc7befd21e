"""Builds an experiment from its config and trains it; names no method, data set or counter."""

import contextlib
import functools
import inspect
import itertools
import logging
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfcount import callbacks, evaluation, flags
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data import feature_cache, streams
from tfcount.methods import METHODS
from tfcount.models import COUNTERS, build_counter
from tfcount.models.anchors import Anchors
from tfcount.ops.density import density_map
from tfcount.records import schema
from tfcount.records.files import read_json, write_file, write_json
from tfcount.records.folder import Records, fingerprint

# The files of a run.
FLAGS = "run.flags"
LOG = "train.log"
RUN = "run.json"
LABELS = "labels.json"
BEST = "best.weights.h5"
LAST = "last.weights.h5"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
FEATURES = "features"

_REMEDY = "Restore it from a copy, or train again."

# How many images TensorBoard shows.
_PICTURES = 4

# Crops of each image whose features --cache_features keeps.
CACHED_CROPS = 8

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
      ValueError: if the run to resume has other flags, data, devices and config do not fit together, or images are held
        out of which nothing is known.
      FloatingPointError: if a loss or a gradient is not finite.
    """
    if not config.data.dir:
        raise ValueError("--data_dir must name a folder of records, made by `python -m tfrecords_tools.build`.")
    training, held_out = Records.open(config.data.dir, "train").hold_out(config.data.validation_fraction, config.seed)
    if held_out.rows and all(math.isnan(row.count) for row in held_out.rows):
        raise ValueError(
            f"--data_validation_fraction={config.data.validation_fraction} holds out {len(held_out.rows)} images of "
            f"{config.data.dir!r}, and the count of none is known: hold out more, or none with 0."
        )
    records_fingerprint = fingerprint(config.data.dir, "train")
    _check_folder(config, model_dir, resume, records_fingerprint)
    replicas = strategy().num_replicas_in_sync
    if config.train.batch_size % replicas:
        raise ValueError(
            f"--train_batch_size={config.train.batch_size} must be a multiple of the number of devices, {replicas}."
        )
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    saved = _checkpoints(model_dir) if resume else []
    with strategy().scope():
        with precision(config.train.precision):
            # What a checkpoint or --initial_weights gives need not be read, or downloaded, before.
            weights = "none" if saved or config.initial_weights else None
            counter = build_counter(config.counter, **counter_options(config, weights))
            if config.initial_weights and not saved:
                load_weights(counter, config.initial_weights)
            if counter.trained_by not in (None, config.method):
                raise ValueError(f"--counter={config.counter} is trained with --method={counter.trained_by}.")
            counter.encoder.trainable = config.encoder.trainable
            method = METHODS[config.method].build(config.options, counter, config.density_loss)
        optimizer = build_optimizer(config.train, replicas)
        optimizer.build(method.trainable_variables)
        # "auto" would compile every image size on a single GPU.
        method.compile(optimizer=optimizer, jit_compile=False)
    checkpoint = tf.train.Checkpoint(method=method, optimizer=optimizer)
    run: dict[str, Any] = {"records": records_fingerprint, "training_minutes": 0.0, "steps": 0, "validation": []}
    if saved:
        _restore(checkpoint, saved)
        run = read_run(model_dir)
        # What was validated after that checkpoint is going to be validated again.
        run["validation"] = [entry for entry in run["validation"] if entry["step"] <= method.steps]
    # Cached features are always those of the first crops.
    start = 0 if config.cache_features else method.steps
    data = streams.TrainingData(
        training, config.data, config.density, counter.stride, config.train.batch_size, config.seed, start, replicas
    )
    dataset = METHODS[config.method].train_dataset(config.options, data)
    if not saved:
        method.prepare(dataset, data.epoch)

    # Nothing is written before everything is known to fit together.
    run |= _environment(config, counter)
    with callbacks.writing_to(model_dir):
        write_file(os.path.join(model_dir, FLAGS), "".join(f"{line}\n" for line in flags.to_lines(config)))
        used = method.used_labels(training, config.seed)
        write_json(os.path.join(model_dir, LABELS), _labels(used, held_out, config.initial_weights))
        write_json(os.path.join(model_dir, RUN), run)
    with _logging_to(os.path.join(model_dir, LOG)), contextlib.ExitStack() as stack:
        if config.cache_features and method.steps < config.train.steps:
            folder = os.path.join(model_dir, FEATURES)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            dataset = _cache_features(config, method, dataset, CACHED_CROPS * data.epoch, folder, run)
        received = _fit(config, model_dir, method, dataset, checkpoint, run, training, held_out)
        if received and run["steps"] < config.train.steps:
            logger.info(
                "Stopped by %s after step %d of %d; everything is saved. Go on with the same command and --resume.",
                received.name,
                run["steps"],
                config.train.steps,
            )
            return 128 + received
        logger.info(
            "Done: %d steps in %.1f minutes. The run is in %s", run["steps"], run["training_minutes"], model_dir
        )
    return 0


def _fit(config, model_dir, method, dataset, checkpoint, run, training, held_out):
    """Trains up to the last step, or until a signal comes, which it returns; keeps `run` and the folder up to date."""
    counter, start = method.counter, method.steps
    manager = tf.train.CheckpointManager(checkpoint, os.path.join(model_dir, CHECKPOINTS), max_to_keep=2)
    logger.info(
        "%s %d steps of %d images: %s with %s, %d training images, %d held out, on %d x %s",
        f"Resuming after {start} of" if start else "Training",
        config.train.steps,
        config.train.batch_size,
        config.counter,
        config.method,
        len(training.rows),
        len(held_out.rows),
        strategy().num_replicas_in_sync,
        _device_name(),
    )
    begin, before = time.monotonic(), run["training_minutes"]

    def save(logs):
        run["training_minutes"] = before + (time.monotonic() - begin) / 60
        run["steps"] = method.steps
        run["validation"].append({"step": method.steps} | {name: float(value) for name, value in logs.items()})
        with callbacks.writing_to(model_dir):
            callbacks.check_space(model_dir, [*method.variables, *method.optimizer.variables, *counter.variables])
            write_json(os.path.join(model_dir, RUN), run)
            with callbacks.averaged_weights(method):
                callbacks.save_weights(counter, os.path.join(model_dir, LAST))
            manager.save(checkpoint_number=method.steps)

    density = evaluation.density_function(counter)
    stop = callbacks.OrderlyStop()
    progress = callbacks.Progress(config.train.steps, start, config.train.batch_size)
    checkpoints = callbacks.Checkpoints(save)
    examples = _examples(held_out if held_out.rows else training, config, counter.stride)
    summaries = callbacks.Summaries(os.path.join(model_dir, TENSORBOARD), progress, density, examples)
    savers: list[keras.callbacks.Callback] = [checkpoints]
    watchers = [checkpoints, summaries, progress]
    anchors = training.select(method.anchor_ids(training, config.seed))
    if held_out.rows:
        best = min((entry.get("val_mae", math.inf) for entry in run["validation"]), default=math.inf)
        path = os.path.join(model_dir, BEST)
        watchers.insert(0, callbacks.Validation(density, streams.evaluation(held_out, config.data), path, best))
    if anchors.rows:
        # Before the validation, which counts by them, and before all that is saved, which says what they are.
        anchoring = callbacks.Anchoring(density, streams.evaluation(anchors, config.data))
        watchers.insert(0, anchoring)
        savers.insert(0, anchoring)
    intervals = callbacks.Intervals(config.train.validation_interval, config.train.steps, watchers, savers, stop)
    if start < config.train.steps:
        try:
            with stop.listening(), progress.showing():
                method.fit(
                    dataset,
                    steps_per_epoch=config.train.steps - start,
                    callbacks=[progress, intervals],
                    shuffle=False,
                    verbose=0,
                )
        except tf.errors.InvalidArgumentError as error:
            if "is not finite" not in str(error):
                raise
            raise _not_finite(error, method.steps + 1, run["steps"]) from error
    return stop.received


def _cache_features(config, method, dataset, batches, folder, run):
    """Returns batches with features in place of images, and adds the time it took to that of the run."""
    begin = time.monotonic()
    encode = tf.function(lambda images: tuple(tf.nest.flatten(method.counter.encoder(images, training=False))))
    dataset = feature_cache.cache_features(dataset, batches, encode, folder, config.seed, method.steps)
    minutes = (time.monotonic() - begin) / 60
    run["training_minutes"] += minutes
    size = sum(entry.stat().st_size for entry in os.scandir(folder)) / 1e9
    logger.info("Encoded %d crops in %.1f minutes: %.1f GB", batches * config.train.batch_size, minutes, size)
    return dataset


def _checkpoints(model_dir):
    """Returns the checkpoints of a run, the newest first, whatever TensorFlow's own list of them says.

    Raises:
      ValueError: if there are none, though the run had some.
    """
    folder = os.path.join(model_dir, CHECKPOINTS)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = [int(match[1]) for name in names if (match := re.fullmatch(r"ckpt-(\d+)\.index", name))]
    run = os.path.join(model_dir, RUN)
    # The first checkpoint may have failed, after the notes on its validation were written.
    if not steps and os.path.isfile(run) and len(read_run(model_dir)["validation"]) > 1:
        raise ValueError(
            f"--resume: the checkpoints of the run are gone from {folder!r}: start again in another --model_dir. Its "
            f"weights can be the start: --initial_weights={model_dir}."
        )
    return [os.path.join(folder, f"ckpt-{step}") for step in sorted(steps, reverse=True)]


def _restore(checkpoint, paths):
    """Restores the first of some checkpoints that is whole.

    Raises:
      ValueError: if there is none, or they are of another counter.
    """
    for path in paths:
        try:
            # The number of checkpoints saved, which it also holds, is created, and read, when the next one is saved.
            checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise ValueError(f"{path} is the checkpoint of another counter or method: {error}") from error
        # TensorFlow's reader turns some of its errors into IndexError.
        except (tf.errors.OpError, IndexError) as error:
            sys.stderr.write(f"Warning: checkpoint {path} is damaged ({error}).\n")
        else:
            return
    raise ValueError(
        f"No checkpoint in {os.path.dirname(paths[0])!r} can be read: start again in another --model_dir. If the run "
        "has weights, --initial_weights starts from them."
    )


def load_counter(model_dir: str):
    """Builds the counter of a run with its best weights, or its last ones if none were held out to choose by.

    Returns:
      The counter in float32, and the config of the run.

    Raises:
      FileNotFoundError: if the folder holds no run, or one without weights.
      ValueError: if the weights are not those of the counter, or it ranks and its anchors give no line.
    """
    path = os.path.join(model_dir, FLAGS)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{model_dir!r} holds no run: {path} does not exist. Train with --model_dir={model_dir}."
        )
    config = flags.from_file(path)
    with precision("float32"):
        counter = build_counter(config.counter, **counter_options(config, weights="none"))
    load_weights(counter, model_dir)
    counter.limits = config.data.long_side, config.data.short_side
    line = {name: value for name, value in _notes_on_weights(model_dir).items() if name.startswith(callbacks.ANCHOR)}
    if line:
        counter.leave_out_activation()
        counter.anchors = Anchors(**{name.removeprefix(callbacks.ANCHOR): value for name, value in line.items()})
        if counter.anchors.slope <= 0:
            raise ValueError(
                f"The run in {model_dir!r} cannot count: the potentials of its anchors do not grow with their counts. "
                f"{os.path.join(model_dir, LOG)} tells more."
            )
    elif getattr(config.options, "pairs", False):
        # Pairs teach an order, which is no count.
        raise ValueError(
            f"The run in {model_dir!r} cannot count: {os.path.join(model_dir, RUN)} does not tell the line through its "
            "anchors. Train on with --resume."
        )
    return counter, config


def load_weights(counter, path: str) -> None:
    """Gives a counter the weights of a run (the best, or the last ones if none were held out to choose by) or a file.

    Args:
      counter: the network.
      path: folder of a run, or a `.weights.h5` file.

    Raises:
      FileNotFoundError: if there are no weights.
      ValueError: if they are not those of the counter.
    """
    if os.path.isdir(path):
        candidates = [os.path.join(path, name) for name in (BEST, LAST)]
        files = [file for file in candidates if os.path.isfile(file)]
        if not files:
            raise FileNotFoundError(f"{path!r} holds no weights yet ({BEST} or {LAST}): train on with --resume.")
        path = files[0]
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} is neither the folder of a run nor a .weights.h5 file.")
    try:
        with warnings.catch_warnings():
            # Keras only warns of some layers that a file lacks.
            warnings.simplefilter("error", UserWarning)
            counter.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ValueError(f"{path} does not hold the weights of counter {counter.name!r}: {error}") from error


def counter_options(config: ExperimentConfig, weights: str | None = None) -> dict:
    """Returns the arguments of the counter that the config gives, with other encoder weights if they are given."""
    accepted = inspect.signature(COUNTERS[config.counter]).parameters
    # A method may decide on parts of the counter that it trains.
    options = {name: getattr(config.options, name) for name in accepted if hasattr(config.options, name)}
    if "encoder_name" in accepted:
        options["encoder_name"] = config.encoder.name
    elif config.encoder.name != EncoderConfig.name:
        raise ValueError(f"--encoder_name={config.encoder.name}: counter {config.counter!r} has no choice of encoders.")
    if "encoder_weights" in accepted:
        return {**options, "encoder_weights": config.encoder.weights if weights is None else weights}
    if config.encoder.weights not in ("imagenet", "none"):
        raise ValueError(f"--encoder_weights={config.encoder.weights}: counter {config.counter!r} has no encoder.")
    if not config.encoder.trainable:
        raise ValueError(f"--encoder_trainable=false: counter {config.counter!r} has no encoder.")
    return options


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


def build_optimizer(config: TrainConfig, replicas: int = 1) -> keras.optimizers.Optimizer:
    """Builds the optimizer with its schedule: linear warm-up, then constant or half a cosine down to zero.

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
        "ema_momentum": config.ema or 0.99,
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


def _check_folder(config, model_dir, resume, fingerprint):
    """Checks that the folder of a run is free, or holds the run to go on with."""
    path = os.path.join(model_dir, FLAGS)
    if not resume:
        if os.path.exists(path) or os.path.exists(os.path.join(model_dir, CHECKPOINTS)):
            raise FileExistsError(
                f"{model_dir!r} holds a run already: add --resume to go on with it, or choose another --model_dir."
            )
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(f"--resume: {model_dir!r} holds no run ({path} does not exist).")
    kept = flags.from_file(path)
    if kept != config:
        ours, theirs = set(flags.to_lines(config)), set(flags.to_lines(kept))
        raise ValueError(
            f"--resume: the run in {model_dir!r} has other flags: there {sorted(theirs - ours)}, "
            f"here {sorted(ours - theirs)}."
        )
    if os.path.isfile(os.path.join(model_dir, RUN)) and read_run(model_dir)["records"] != fingerprint:
        raise ValueError(
            f"--resume: the records in {config.data.dir!r} are not those that the run in {model_dir!r} was started "
            "with: build them again as they were, or start in another --model_dir."
        )


@contextlib.contextmanager
def _logging_to(path):
    """Sends what `logger` says to the terminal, and the details too to a file."""
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.INFO)
    file = logging.FileHandler(path)
    # On a full disk the log is the least that is lost.
    file.handleError = lambda record: None  # type: ignore[method-assign]
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


def _not_finite(error, step, saved):
    """Returns the error to raise for a loss, or what it depends on, that is not finite."""
    found = re.search(r"(loss '\w+'|the gradient|the density|a point|the mask of points) is not finite", str(error))
    what = found[1] if found else "a value"
    if "point" in what:
        return FloatingPointError(
            f"{what[0].upper()}{what[1:]} at step {step}: `python -m tfrecords_tools.show DIR --check` tells of which "
            f"image. The weights were left as they were, the last checkpoint is that of step {saved}."
        )
    return FloatingPointError(
        f"{what[0].upper()}{what[1:]} is not finite at step {step}; the weights were left as they were, the last "
        f"checkpoint is that of step {saved}. Lower --train_learning_rate, lengthen --train_warmup_steps, or set "
        "--train_clip_norm=1."
    )


def _examples(records, config, stride):
    """Returns the first few images that have points, with their target densities."""
    examples = []
    for example in itertools.islice(streams.evaluation(records.with_labels(schema.POINTS), config.data), _PICTURES):
        image, points = example["image"][0], example["points"]
        sigma = config.density.sigmas(points)
        rows, columns = (-(-side // stride) for side in image.shape[:2])
        target = density_map(points[None], tf.ones_like(sigma)[None], sigma[None], rows, columns, stride)
        examples.append((image.numpy(), target.numpy()[0, ..., 0]))
    return examples


def _labels(used, held_out, source):
    """Returns how much annotation a run uses, that of the held-out images included, and beside it, where training
    starts with the weights of a run, what that run used.
    """
    parts = {"training": used, "validation": held_out.with_labels(schema.POINTS, schema.COUNT).labels()}
    labels = {name: sum(part[name] for part in parts.values()) for name in used} | parts
    # Also given a file, it may be one of a run.
    before = os.path.join(source if os.path.isdir(source) else os.path.dirname(source), LABELS)
    if source and os.path.isfile(before):
        labels["initial_weights"] = read_json(before, _REMEDY)
    return labels


def _environment(config, counter):
    """Returns what else a number depends on: seed, versions, commit, machine, size of the counter."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    commit = None
    # An installed tfcount may lie inside of a repository of somebody else.
    if os.path.exists(os.path.join(root, ".git")):
        with contextlib.suppress(OSError):
            git = ["git", "-C", root, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
            commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None
    versions = {"python": platform.python_version()}
    for module in (tf, keras, np, cv2):
        versions[module.__name__] = module.__version__
    return {
        "seed": config.seed,
        "commit": commit,
        "versions": versions,
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


def read_threshold(model_dir: str) -> float:
    """Returns the threshold of peaks that is best for the held-out images and the weights `load_counter` loads.

    It is the paper's where nothing was held out, no one was found there, or the run has no notes. Where the map only
    ranks images it is infinite: nobody is found.
    """
    notes = _notes_on_weights(model_dir)
    if any(name.startswith(callbacks.ANCHOR) for name in notes):
        return math.inf
    return notes.get("val_threshold", evaluation.THRESHOLD)


def _notes_on_weights(model_dir):
    """Returns what was noted when the weights that `load_counter` loads were saved."""
    if not os.path.isfile(os.path.join(model_dir, RUN)):
        return {}
    notes = [{}, *read_run(model_dir)["validation"]]
    # Where nothing was held out, the weights are the last ones.
    return min((entry for entry in notes if "val_mae" in entry), key=lambda entry: entry["val_mae"], default=notes[-1])


def read_run(model_dir: str) -> dict:
    """Returns what `run.json` says: seed, commit, versions, hardware, minutes of training, validations."""
    return read_json(os.path.join(model_dir, RUN), _REMEDY)
