"""What happens between the steps of training, in one order: anchors, validate, keep the best, save, summarize."""

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcount import evaluation, runs
from tfcount.data.streams.evaluation import whole_images
from tfcount.drawing.figures import draw_prediction
from tfcount.inference import THRESHOLD, Calibration, CountingModel
from tfcount.methods.method import Method
from tfcount.metrics import counting
from tfcount.ops import anchor_line
from tfcount.progress import OrderlyStop, Progress, RecentMeans
from tfcount.records.folder import Records
from tfcount.runs import Run

# Steps between two points of the curves of losses.
_LOSS_STEPS = 10

logger = logging.getLogger("tfcount")


class Intervals(keras.callbacks.Callback):
    """Divides training into intervals that begin and end at the same steps however often a run is stopped.

    Keras' own epochs cannot begin in the middle of one, so a run is a single epoch to Keras. With the moving average of
    the weights in place, the end of an interval is, in this order: the line through the anchors, by which the
    validation counts; the validation, which chooses the threshold of points; the best weights, if these are better;
    the last weights, notes and checkpoint; the summaries. Where a signal stops training inside an interval, the anchors
    and the last weights are all there is. Where the anchors give no line, nothing is validated.

    Args:
      run: where everything is kept.
      notes: of the run; brought up to date at each end.
      checkpoint: of method and optimizer.
      interval: steps.
      steps: of the whole run; the last one also ends an interval.
      calibration: of the weights before the first of these intervals.
      anchors: images by whose counts potentials become counts; none if the map is a density.
      held_out: images that are validated; none without validation.
      examples: `(image, target)` arrays: whole images and their densities, for TensorBoard.
      progress: knows the speed.
      stop: knows of signals.
    """

    def __init__(
        self,
        run: Run,
        notes: dict[str, Any],
        checkpoint: tf.train.Checkpoint,
        interval: int,
        steps: int,
        calibration: Calibration,
        anchors: Records,
        held_out: Records,
        examples: list,
        progress: Progress,
        stop: OrderlyStop,
    ):
        super().__init__()
        self.run, self.notes, self.checkpoint, self.interval, self.steps = run, notes, checkpoint, interval, steps
        self.calibration, self.anchors, self.held_out, self.examples = calibration, anchors, held_out, examples
        self.progress, self.stop = progress, stop
        self._begin, self._minutes_before = time.monotonic(), notes["training_minutes"]

    def on_train_begin(self, logs=None):
        """Opens what is written to at each end."""
        method = self.model
        self._counting = CountingModel.of_counter(method.counter)
        self._writer = tf.summary.create_file_writer(self.run.path(runs.TENSORBOARD))
        self._losses = RecentMeans()

    def on_train_batch_end(self, batch, logs=None):
        """Ends an interval where it is time, and training where a signal asks for it."""
        step = self.model.steps
        whole = step % self.interval == 0 or step == self.steps
        self._losses.add_step(logs)
        if step % _LOSS_STEPS == 0 or whole:
            self._write_losses(step)
        if not whole and not self.stop.received:
            return
        self.end(whole)
        if self.stop.received:
            self.model.stop_training = True
            return
        self.model.reset_metrics()
        self._losses = RecentMeans()
        self.progress.begin_interval()

    def end(self, whole: bool) -> None:
        """Ends an interval.

        Args:
          whole: whether it is complete; if not, nothing is validated or summarized.
        """
        method = self.model
        entry = {name: float(value) for name, value in method.get_metrics_result().items()}
        best = self._lowest_error()
        with averaged_weights(method):
            if self.anchors.rows:
                line = self._fit_line()
                self.calibration = dataclasses.replace(self.calibration, line=line)
                entry |= {f"anchors_{name}": float(value) for name, value in dataclasses.asdict(line).items()}
            # Without a line nothing is counted: all counts would be 0, which many lines do worse than.
            if whole and self.held_out.rows and self.calibration.line.slope > 0:
                validated = self._validate(best)
                entry |= validated
                threshold = validated.get("val_threshold", THRESHOLD)
                self.calibration = dataclasses.replace(self.calibration, threshold=threshold)
                if validated["val_mae"] < best:
                    self.run.save_weights(runs.BEST, method.counter, self.calibration)
            self.run.save_weights(runs.LAST, method.counter, self.calibration)
        self._save(entry)
        if whole:
            self._summarize(entry)

    def _lowest_error(self):
        """Returns the MAE of the best weights; infinity where there are none, or none that are whole."""
        if not self.run.holds(runs.BEST):
            return math.inf
        return min((past.get("val_mae", math.inf) for past in self.notes["validation"]), default=math.inf)

    def _fit_line(self):
        """Returns the line from potentials to counts: with a slope of 0 where there is none."""
        model, method = self._counting.calibrated(self.calibration), self.model
        potentials, counts = [], []
        for example in whole_images(self.anchors):
            potentials.append(float(model.density(example["image"].numpy()).sum(dtype=np.float64)))
            counts.append(float(example["count"]))
        try:
            line = anchor_line.fit(potentials, counts)
        except ValueError as error:
            logger.warning("step %d  no line through the anchors: %s", method.steps, error)
            return anchor_line.AnchorLine(slope=0.0, lowest=min(counts), highest=max(counts))
        logger.info(
            "step %d  anchors: %.4g people a unit, %.1f at 0, off by %.1f (%d images with %g to %g people)",
            method.steps,
            line.slope,
            line.intercept,
            line.error,
            line.images,
            line.lowest,
            line.highest,
        )
        return line

    def _validate(self, best):
        """Counts the held-out images; returns `val_mae`, `val_rmse`, and `val_threshold` and `val_f1` of points."""
        results = evaluation.evaluate(self._counting.calibrated(self.calibration), whole_images(self.held_out))
        truth = np.array([result.ground_truth for result in results])
        predicted = np.array([result.predicted for result in results])
        validated = {
            "val_mae": float(counting.mae(truth, predicted)),
            "val_rmse": float(counting.rmse(truth, predicted)),
        }
        chosen = evaluation.choose_threshold(results)
        if chosen:
            validated |= dict(zip(("val_threshold", "val_f1"), chosen, strict=True))
        logger.info(
            "step %d  validation MAE %.2f  RMSE %.2f  (%d images)%s",
            self.model.steps,
            validated["val_mae"],
            validated["val_rmse"],
            len(results),
            "  best so far" if validated["val_mae"] < best else "",
        )
        return validated

    def _save(self, entry):
        """Saves notes and checkpoint: with the weights, everything that the run needs to go on."""
        method, run, notes = self.model, self.run, self.notes
        notes["training_minutes"] = self._minutes_before + (time.monotonic() - self._begin) / 60
        notes["steps"] = method.steps
        notes["validation"].append({"step": method.steps, **entry})
        with run.writing():
            run.check_space([*method.variables, *method.optimizer.variables])
            run.write_notes(notes)
        run.save_checkpoint(self.checkpoint, method.steps)

    def _write_losses(self, step):
        """Writes the losses since the last time, and the learning rate, for TensorBoard."""
        with self.run.writing(), self._writer.as_default(step=step):
            for name, value in self._losses.since_last().items():
                tf.summary.scalar(f"training/{name}", value)
            tf.summary.scalar("training/learning_rate", float(self.model.optimizer.learning_rate))

    def _summarize(self, entry):
        """Writes validation, anchors, speed and pictures for TensorBoard."""
        method = self.model
        # The means over the interval are those of many points of the curves.
        curves = {metric.name for metric in method.metrics}
        with self.run.writing(), self._writer.as_default(step=method.steps):
            for name, value in entry.items():
                group = "validation" if name.startswith("val_") else "training"
                if name not in curves:
                    tf.summary.scalar(f"{group}/{name.removeprefix('val_')}", value)
            tf.summary.scalar("training/images_per_second", self.progress.images_per_second)
            with averaged_weights(method):
                for index, (image, target) in enumerate(self.examples):
                    density = self._counting.density(image)
                    tf.summary.image(f"validation/{index}", draw_prediction(image, target, density)[None])
                method.write_summaries(self.examples)
            self._writer.flush()


@contextlib.contextmanager
def averaged_weights(method: Method) -> Iterator[None]:
    """Puts the moving average of the weights in place of the weights, and back at the end."""
    # Loss scaling wraps the optimizer that averages.
    optimizer: Any = getattr(method.optimizer, "inner_optimizer", method.optimizer)
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
