"""What happens beside the steps of a training run: progress, validation, checkpoints, pictures, orderly stops."""

import contextlib
import dataclasses
import errno
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
import tqdm

from tfcount import evaluation
from tfcount.drawing.figures import draw_prediction
from tfcount.metrics import counting
from tfcount.models import anchors
from tfcount.records.files import replacing

_LOG_STEPS = 50
# What the names of an anchor line's numbers begin with, among the notes on a validation.
ANCHOR = "anchors_"
logger = logging.getLogger("tfcount")


@contextlib.contextmanager
def averaged_weights(method: keras.Model) -> Iterator[None]:
    """Puts the moving average of the weights in place of the weights, and back at the end."""
    # Loss scaling wraps the optimizer that averages.
    optimizer = getattr(method.optimizer, "inner_optimizer", method.optimizer)
    if not optimizer.use_ema or int(optimizer.iterations.numpy()) == 0:
        yield
        return
    averages = optimizer._model_variables_moving_average
    pairs = [(variable, average) for variable, average in zip(method.trainable_variables, averages, strict=True)]
    current = [variable.numpy() for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(average.numpy())
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, current, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def writing_to(folder: str) -> Iterator[None]:
    """Says what to do where the files of a run cannot be written: the disk is full, or it is somebody else's.

    Raises:
      OSError: in place of what TensorFlow and HDF5 raise.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError:
        # Not of writing, but of what was to be written.
        raise
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        raise OSError(
            f"{folder!r} cannot be written to: is the disk full? What was saved before is whole; make room, then go on "
            f"with --resume. ({reason})"
        ) from error


def check_space(folder: str, variables) -> None:
    """Raises OSError if a disk has less room than variables take: HDF5 ends the process where it runs out of it."""
    needed = int(1.1 * sum(np.prod(variable.shape) * 4 for variable in variables))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")


def save_weights(counter: keras.Model, path: str) -> None:
    """Writes a counter's weights under a temporary name and moves the file into place."""
    check_space(os.path.dirname(path), counter.variables)
    with replacing(path, path.removesuffix(".weights.h5") + ".writing.weights.h5") as temporary:
        counter.save_weights(temporary)


class Progress(keras.callbacks.Callback):
    """Shows a progress bar with the time left, and logs a line every 50 steps.

    Args:
      steps: of the whole run.
      start: steps done before.
      batch_size: images a step.
    """

    def __init__(self, steps: int, start: int, batch_size: int):
        super().__init__()
        self.steps, self.start, self.batch_size = steps, start, batch_size
        self.images_per_second = float("nan")

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Shows the bar inside."""
        interval = 0.5 if sys.stderr.isatty() else 30
        self._step = self.start
        self._since = (time.monotonic(), self.start)
        with tqdm.tqdm(
            total=self.steps, initial=self.start, unit="step", mininterval=interval, dynamic_ncols=True, desc="train"
        ) as self._bar:
            yield

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        self._step += 1
        self._bar.update(1)
        if self._step % _LOG_STEPS == 0 or self._step == self.steps:
            now = time.monotonic()
            self.images_per_second = self.batch_size * (self._step - self._since[1]) / (now - self._since[0])
            self._since = (now, self._step)
            values = {**logs, "learning_rate": float(self.model.optimizer.learning_rate)}
            text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            self._bar.set_postfix_str(f"loss {logs['loss']:.4g}")
            logger.debug("step %d/%d  %s  images/s %.1f", self._step, self.steps, text, self.images_per_second)

    def on_epoch_begin(self, epoch, logs=None):
        """Leaves validation out of the speed."""
        self._since = (time.monotonic(), self._step)


class OrderlyStop:
    """Notes that a signal asks for the end.

    Ctrl-C (SIGINT) and SIGTERM are caught while training runs; the second one ends the process at once.

    Attributes:
      received: the signal, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Catches the signals inside."""
        self._handlers = {name: signal.signal(name, self._receive) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            self._stop_listening()

    def _receive(self, number, frame):
        self.received = signal.Signals(number)
        self._stop_listening()

    def _stop_listening(self):
        for name, handler in self._handlers.items():
            signal.signal(name, handler)


class Intervals(keras.callbacks.Callback):
    """Divides training into intervals that begin and end at the same steps however often a run is stopped.

    Keras' own epochs cannot begin in the middle of one, so a run is a single epoch to Keras.

    Args:
      interval: steps.
      steps: of the whole run; the last one also ends an interval.
      watchers: their `on_epoch_begin` and `on_epoch_end` are called for intervals.
      savers: those of them that are also called where a signal ends training inside an interval.
      stop: knows of signals.
    """

    def __init__(
        self,
        interval: int,
        steps: int,
        watchers: list[keras.callbacks.Callback],
        savers: list[keras.callbacks.Callback],
        stop: OrderlyStop,
    ):
        super().__init__()
        self.interval, self.steps, self.watchers = interval, steps, watchers
        self.savers, self.stop = savers, stop

    def on_train_begin(self, logs=None):
        """Hands on the model."""
        for watcher in self.watchers:
            watcher.set_model(self.model)

    def on_train_batch_end(self, batch, logs=None):
        """Ends an interval where it is time, and training where a signal asks for it."""
        step = self.model.steps
        ends = step % self.interval == 0 or step == self.steps
        if not ends and not self.stop.received:
            return
        logs = {name: float(value) for name, value in self.model.get_metrics_result().items()}
        for watcher in self.watchers if ends else self.savers:
            watcher.on_epoch_end(step, logs)
        if self.stop.received:
            self.model.stop_training = True
            return
        self.model.reset_metrics()
        for watcher in self.watchers:
            watcher.on_epoch_begin(step)


class Anchoring(keras.callbacks.Callback):
    """Fits the line from potentials to counts with the averaged weights at the end of an interval.

    Args:
      density: `tfcount.evaluation.density_function` of the counter.
      dataset: `tfcount.data.streams.evaluation` of the anchors.
    """

    def __init__(self, density: Callable, dataset):
        super().__init__()
        self.density, self.dataset = density, dataset

    def on_epoch_end(self, epoch, logs=None):
        """Gives the counter its line, and adds it to the logs: a slope of 0 where there is none."""
        counter = self.model.counter
        with averaged_weights(self.model):
            potentials = [float(np.sum(self.density(one["image"]), dtype=np.float64)) for one in self.dataset]
        counts = [float(one["count"]) for one in self.dataset]
        try:
            counter.anchors = anchors.fit(potentials, counts)
        except ValueError as error:
            counter.anchors = anchors.Anchors(slope=0.0)
            logger.warning("step %d  no line through the anchors: %s", self.model.steps, error)
        else:
            logger.info(
                "step %d  anchors: %.4g people a unit, %.1f at 0, off by %.1f (%d images with %g to %g people)",
                self.model.steps,
                *dataclasses.astuple(counter.anchors)[:2],
                counter.anchors.error,
                counter.anchors.images,
                counter.anchors.lowest,
                counter.anchors.highest,
            )
        # JSON knows no infinity.
        line = dataclasses.replace(counter.anchors, lowest=min(counts), highest=max(counts))
        logs.update({ANCHOR + name: float(value) for name, value in dataclasses.asdict(line).items()})


class Validation(keras.callbacks.Callback):
    """Counts the held-out images with the averaged weights at the end of an interval, and keeps the best weights.

    Args:
      density: `tfcount.evaluation.density_function` of the counter.
      dataset: `tfcount.data.streams.evaluation` of the held-out images.
      path: where the weights with the lowest MAE go, ending in ".weights.h5".
      best: lowest MAE so far.
    """

    def __init__(self, density: Callable, dataset, path: str, best: float):
        super().__init__()
        self.density, self.dataset, self.path, self.best = density, dataset, path, best

    def on_epoch_end(self, epoch, logs=None):
        """Adds `val_mae`, `val_rmse`, and `val_threshold` and `val_f1` of points to the logs."""
        counter = self.model.counter
        with averaged_weights(self.model):
            results = evaluation.evaluate(self.density, counter.stride, self.dataset, True, counter.anchors)
            truth = np.array([result.ground_truth for result in results])
            predicted = np.array([result.predicted for result in results])
            logs["val_mae"] = float(counting.mae(truth, predicted))
            logs["val_rmse"] = float(counting.rmse(truth, predicted))
            chosen = evaluation.choose_threshold(results)
            if chosen:
                logs["val_threshold"], logs["val_f1"] = chosen
            better = logs["val_mae"] < self.best
            if better:
                self.best = logs["val_mae"]
                with writing_to(os.path.dirname(self.path)):
                    save_weights(counter, self.path)
        logger.info(
            "step %d  validation MAE %.2f  RMSE %.2f  (%d images)%s",
            self.model.steps,
            logs["val_mae"],
            logs["val_rmse"],
            len(results),
            "  best so far" if better else "",
        )


class Summaries(keras.callbacks.Callback):
    """Writes losses, speed, validation and pictures for TensorBoard at the end of an interval.

    Args:
      folder: of the event files.
      progress: knows the speed.
      density: `tfcount.evaluation.density_function` of the counter.
      examples: `(image, target)` arrays: whole images and their densities.
    """

    def __init__(self, folder: str, progress: Progress, density: Callable, examples: list):
        super().__init__()
        self.folder = folder
        self.writer = tf.summary.create_file_writer(folder)
        self.progress, self.density, self.examples = progress, density, examples

    def on_epoch_end(self, epoch, logs=None):
        """Writes the summaries of an interval."""
        step = self.model.steps
        with writing_to(self.folder), self.writer.as_default(step=step):
            for name, value in logs.items():
                group = "validation" if name.startswith("val_") else "training"
                tf.summary.scalar(f"{group}/{name.removeprefix('val_')}", value)
            tf.summary.scalar("training/learning_rate", float(self.model.optimizer.learning_rate))
            tf.summary.scalar("training/images_per_second", self.progress.images_per_second)
            with averaged_weights(self.model):
                for index, (image, target) in enumerate(self.examples):
                    density = np.asarray(self.density(image[None]))[0, ..., 0]
                    tf.summary.image(f"validation/{index}", draw_prediction(image, target, density)[None])
                self.model.write_summaries(self.examples)
            self.writer.flush()


class Checkpoints(keras.callbacks.Callback):
    """Saves everything that a run needs to go on, at the end of an interval.

    Args:
      save: does it.
    """

    def __init__(self, save: Callable[[dict], None]):
        super().__init__()
        self.save = save

    def on_epoch_end(self, epoch, logs=None):
        """Saves."""
        self.save(logs)
