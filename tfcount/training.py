"""Trains a counter on records and keeps the run; names no method, data set or counter."""

import contextlib
import itertools
import logging
import math
import os
import shlex
import time
from typing import Any

import keras
import tensorflow as tf

from tfcount import assembly, checkpoints, distribution, errors, runs
from tfcount.config import ExperimentConfig
from tfcount.data import augment, feature_cache
from tfcount.data.streams.evaluation import whole_images
from tfcount.data.streams.labeled import batches_an_epoch
from tfcount.data.streams.training_data import TrainingData
from tfcount.inference import THRESHOLD, Calibration
from tfcount.intervals import Intervals
from tfcount.methods import METHODS
from tfcount.methods.method import Method, Plan
from tfcount.ops.density import density_map
from tfcount.progress import OrderlyStop, Progress
from tfcount.records import schema, temporary
from tfcount.records.folder import Records, naming_damage, read_index, read_manifest
from tfcount.records.near_copies import count_near_copies
from tfcount.runs import Run

# How many images TensorBoard shows.
_PICTURES = 4

# Crops of each image whose features --cache_features keeps.
CACHED_CROPS = 8

logger = logging.getLogger("tfcount")


def open_records(config: ExperimentConfig) -> tuple[Records, Records]:
    """Opens the images that a config trains on, and those that it holds out.

    Raises:
      FileNotFoundError: if there are no records.
      ValueError: if the config names none, or holds out images of which nothing is known, or all of them, or by a rule
        that does not fit them.
    """
    if not config.data.dir:
        raise ValueError("--data_dir must name a folder of records, made by `python -m tfrecords_tools.build`.")
    data = config.data
    training, held_out = Records.open(data.dir, "train").hold_out(
        data.validation_fraction, config.seed, data.validation_by
    )
    if held_out.rows and all(math.isnan(row.count) for row in held_out.rows):
        raise ValueError(
            f"--data_validation_fraction={config.data.validation_fraction} holds out {len(held_out.rows)} images of "
            f"{config.data.dir!r}, and the count of none is known: hold out more, or none with 0."
        )
    return training, held_out


def train(config: ExperimentConfig, training: Records, held_out: Records, run: Run, resume: bool = False) -> int:
    """Trains a counter and keeps the run.

    Args:
      config: the experiment.
      training: images to learn from.
      held_out: images that choose the best weights; if there are none, the last weights are the best.
      run: where it is kept.
      resume: go on from the last checkpoint of the run.

    Returns:
      0 when training is complete, 128 + the number of the signal that stopped it otherwise.

    Raises:
      BlockingIOError: if another process trains in this folder.
      FileExistsError: if the folder holds a run, or files that it would write over, and `resume` is not set.
      FileNotFoundError: if there is nothing to resume.
      ValueError: if the run to resume has other flags or data, or devices, records and config do not fit together.
      FloatingPointError: if a loss or a gradient is not finite.
      OSError: if the run cannot be written.
    """
    with run.locked(), run.logging() as begin_log:
        return _train(config, training, held_out, run, resume, begin_log)


def _train(config, training, held_out, run, resume, begin_log):
    fingerprint = training.fingerprint()
    if resume:
        run.check_same(config, fingerprint)
    else:
        run.check_free()
    replicas = distribution.strategy().num_replicas_in_sync
    if config.train.batch_size % replicas:
        raise ValueError(
            f"--train_batch_size={config.train.batch_size} must be a multiple of the number of devices, {replicas}."
        )
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    plan = METHODS[config.method].plan(config.options, training, config.seed)
    keras.utils.set_random_seed(config.seed)
    saved = run.checkpoints() if resume else []
    # What a checkpoint gives need not be read, or downloaded, before; nor what initial weights give.
    initial_weights = "" if saved or not config.initial_weights else runs.weights_of(config.initial_weights)
    with distribution.strategy().scope():
        weights = "none" if saved or initial_weights else None
        method = assembly.assemble(config, replicas, weights, initial_weights)
    checkpoint = tf.train.Checkpoint(method=method, optimizer=method.optimizer)
    notes: dict[str, Any] = {"records": fingerprint, "training_minutes": 0.0, "steps": 0, "validation": []}
    if saved:
        checkpoints.restore(checkpoint, saved)
        notes = run.notes()
        # What was validated after that checkpoint is going to be validated again.
        notes["validation"] = [entry for entry in notes["validation"] if entry["step"] <= method.steps]
    # Cached features are always those of the first crops.
    start = 0 if config.cache_features else method.steps
    source = TrainingData(
        training,
        config.data,
        config.density,
        method.counter.stride,
        config.train.batch_size,
        config.seed,
        start,
        replicas,
    )
    dataset, epoch = plan.stream(source), batches_an_epoch(source)
    if not saved:
        with assembly.naming_flags(config), naming_damage(training):
            method.prepare(dataset, epoch)

    # Nothing is written before everything is known to fit together; and what a complete run depends on is told already.
    if method.steps < config.train.steps:
        notes |= {"format": runs.FORMAT, "seed": config.seed, **runs.environment(method.counter)}
        run.write_start(config, _label_cost(plan, held_out, config.initial_weights), notes)
    with contextlib.ExitStack() as stack:
        begin_log()
        if config.cache_features and method.steps < config.train.steps:
            folder = run.path(runs.FEATURES)
            stack.callback(temporary.remove, folder)
            with naming_damage(training):
                dataset = _cache_features(config, method, dataset, CACHED_CROPS * epoch, folder, notes)
        if not saved:
            with naming_damage(training, held_out):
                _warn_of_near_copies(training, held_out, config.data.validation_by)
        received = _fit(config, run, notes, method, dataset, checkpoint, plan, training, held_out)
        if received and notes["steps"] < config.train.steps:
            logger.info(
                "Stopped by %s after step %d of %d; everything is saved. Go on with the same command and --resume.",
                received.name,
                notes["steps"],
                config.train.steps,
            )
            return 128 + received
        logger.info("%s", _farewell(run, notes, config.data.dir))
    return 0


def _farewell(run, notes, records):
    """Returns what a complete run reached, and what to do with it next."""
    text = f"Done: {notes['steps']} steps in {notes['training_minutes']:.1f} minutes"
    validated = [entry for entry in notes["validation"] if "val_mae" in entry]
    if validated and run.holds(runs.BEST):
        best = min(validated, key=lambda entry: entry["val_mae"])
        text += f", best validation MAE {best['val_mae']:.1f} at step {best['step']}"
    calibration = run.calibration(runs.BEST) or run.calibration(runs.LAST)
    if calibration.line.slope <= 0:
        return f"{text}. The run in {run.folder} cannot count: its anchors give no line."
    folder = shlex.quote(run.folder)
    counted = "test" in read_manifest(records)["splits"] and not all(
        math.isnan(row.count) for row in read_index(records, "test")
    )
    if counted:
        return f"{text}. Next: python -m tfcount.evaluate --model_dir={folder}"
    # Without images to measure it on, it can be used.
    name = shlex.quote(os.path.join("savedmodels", os.path.basename(os.path.abspath(run.folder))))
    return f"{text}. Next: python -m tfcount.export --model_dir={folder} --output={name}"


def check_memory(config: ExperimentConfig) -> None:
    """Raises ValueError if the crops of a single step do not fit into memory: the system would end the process."""
    size = config.train.batch_size * config.data.crop**2 * 3 * 4
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise ValueError(
            f"--data_crop={config.data.crop} and --train_batch_size={config.train.batch_size}: the crops of a step "
            f"alone take {size / 1e9:.0f} GB, and there are {memory / 1e9:.0f} GB of memory: lower one of them."
        )


def _fit(config, run, notes, method, dataset, checkpoint, plan, training, held_out):
    """Trains up to the last step, or until a signal comes, which it returns; keeps notes and folder up to date."""
    start = method.steps
    logger.info(
        "%s %d steps of %d images: %s with %s, %d training images, %d held out, on %d x %s",
        f"Resuming after {start} of" if start else "Training",
        config.train.steps,
        config.train.batch_size,
        config.counter,
        config.method,
        len(training.rows),
        len(held_out.rows),
        distribution.strategy().num_replicas_in_sync,
        distribution.device_name(),
    )
    stop = OrderlyStop()
    progress = Progress(config.train.steps, start, config.train.batch_size)
    limits = config.data.long_side, config.data.short_side
    # A run that goes on inside an interval has chosen a threshold before.
    chosen = [entry.get("val_threshold", THRESHOLD) for entry in notes["validation"] if "val_mae" in entry]
    threshold = chosen[-1] if chosen else THRESHOLD
    calibration = Calibration(threshold=threshold, limits=limits, ranks=bool(plan.anchors))
    intervals = Intervals(
        run,
        notes,
        checkpoint,
        config.train.validation_interval,
        config.train.steps,
        calibration,
        training.select(plan.anchors),
        held_out,
        _examples(held_out if held_out.rows else training, config, method.counter.stride),
        progress,
        stop,
    )
    if start < config.train.steps:
        try:
            with naming_damage(training, held_out), stop.listening(), progress.showing():
                method.fit(
                    dataset,
                    steps_per_epoch=config.train.steps - start,
                    callbacks=[progress, intervals],
                    shuffle=False,
                    verbose=0,
                )
        except tf.errors.OpError as error:
            losses = [metric.name for metric in method.metrics]
            ours = errors.translate(error, losses, step=method.steps + 1, saved=notes["steps"])
            if ours is None:
                raise
            raise ours from error
    return stop.received


def _warn_of_near_copies(training, held_out, rule):
    """Warns where the validation is going to flatter: so many held-out images are near copies of training images."""
    copies, images = count_near_copies(training, held_out)
    # Where the last frames are held out, the first of them follows a training image.
    if copies <= images / 4:
        return
    remedy = "Hold out the last frames with --data_validation_by=order, or whole cameras, scenes or days: see --help."
    if rule:
        remedy = "Hold out more images, or other ones, of other hours and days."
    logger.warning(
        "%d of %d held-out images are near copies of training images: validation will flatter. %s",
        copies,
        images,
        remedy,
    )


def _cache_features(config, method: Method, dataset, batches, folder, notes):
    """Returns batches with features in place of images, and adds the time it took to that of the run."""
    begin = time.monotonic()
    encode = tf.function(lambda images: tuple(tf.nest.flatten(method.counter.encoder(images, training=False))))
    dataset = feature_cache.cache_features(dataset, batches, encode, folder, config.seed, method.steps)
    minutes = (time.monotonic() - begin) / 60
    notes["training_minutes"] += minutes
    size = sum(entry.stat().st_size for entry in os.scandir(folder)) / 1e9
    logger.info("Encoded %d crops in %.1f minutes: %.1f GB", batches * config.train.batch_size, minutes, size)
    return dataset


def _examples(records, config, stride):
    """Returns the first few images that have points, reduced as in training, with their target densities."""
    examples = []
    with naming_damage(records):
        first = list(itertools.islice(whole_images(records.with_labels(schema.POINTS)), _PICTURES))
    for example in first:
        image = augment.reduced_image(example["image"], config.data.long_side, config.data.short_side)
        zoom = tf.cast(tf.shape(image)[1::-1] / tf.shape(example["image"])[1::-1], tf.float32)
        points = example["points"] * zoom
        sigma = config.density.sigmas(points)
        rows, columns = (-(-side // stride) for side in image.shape[:2])
        target = density_map(points[None], tf.ones_like(sigma)[None], sigma[None], rows, columns, stride)
        examples.append((image.numpy(), target.numpy()[0, ..., 0]))
    return examples


def _label_cost(plan: Plan, held_out: Records, source: str) -> dict:
    """Returns how much annotation a run uses, that of the held-out images included, and beside it, where training
    starts with the weights of a run, what that run used.
    """
    cost = plan.label_cost
    parts = {"training": cost, "validation": held_out.with_labels(schema.POINTS, schema.COUNT).label_cost()}
    labels: dict = {name: sum(part[name] for part in parts.values()) for name in cost} | parts
    if source:
        # Also given a file, it may be one of a run.
        before = Run(source if os.path.isdir(source) else os.path.dirname(source)).label_cost()
        if before is not None:
            labels["initial_weights"] = before
    return labels
