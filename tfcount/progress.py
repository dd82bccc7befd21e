"""What a person sees of training, and how he stops it."""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator

import keras
import tqdm

_LOG_STEPS = 50
logger = logging.getLogger("tfcount")


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
        """Leaves what Keras does before the first step out of the speed."""
        self.begin_interval()

    def begin_interval(self) -> None:
        """Leaves what came between two intervals out of the speed."""
        self._since = (time.monotonic(), self._step)


class RecentMeans:
    """Tells means over the latest steps alone, of running means over all steps since they began."""

    def __init__(self):
        self._steps = self._told_steps = 0
        self._means: dict[str, float] = {}
        self._told_sums: dict[str, float] = {}

    def add_step(self, means: dict) -> None:
        """Takes the running means of a step.

        Args:
          means: numbers or scalar tensors by name, each over all steps so far.
        """
        self._steps += 1
        self._means = means

    def since_last(self) -> dict[str, float]:
        """Returns the means over the steps since the last call; at least one step must have been added since."""
        sums = {name: float(mean) * self._steps for name, mean in self._means.items()}
        steps = self._steps - self._told_steps
        recent = {name: (value - self._told_sums.get(name, 0.0)) / steps for name, value in sums.items()}
        self._told_steps, self._told_sums = self._steps, sums
        return recent


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
