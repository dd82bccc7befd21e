"""Learning to rank from all known pairs among the 8 images of a step, and from one pair a step.

ratio: labeled pairs per second that teach, of the first over the second, in training of `compact` from the same
weights, step by step in turn; at least 4. Beside it, how many of the pairs of test images that differ more than twice
are in order when both have seen equally many images.
"""

import dataclasses
import time

from measuring import finish, records
import keras
import numpy as np

from tfcount import assembly
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.data.streams.evaluation import whole_images
from tfcount.data.streams.training_data import TrainingData
from tfcount.inference import Calibration, CountingModel
from tfcount.methods import ranking
from tfcount.metrics import counting
from tfcount.records.folder import Records

IMAGES = 1600
TEST_IMAGES = 60
CONFIG = ExperimentConfig(
    method="ranking",
    counter="compact",
    data=DataConfig(crop=0, long_side=256, short_side=256),
    train=TrainConfig(learning_rate=1e-3, schedule="constant", warmup_steps=0, ema=0.0),
    options=ranking.Config(anchors=10),
)


class Training:
    """A counter in training with batches of some size."""

    def __init__(self, batch_size, training):
        keras.utils.set_random_seed(0)
        self.images, self.pairs, self.seconds = 0, 0, 0.0
        self.method = assembly.assemble(CONFIG)
        self.method.make_train_function()
        data = TrainingData(training, CONFIG.data, CONFIG.density, self.method.counter.stride, batch_size, 0)
        self.batches = iter(ranking.plan(CONFIG.options, training, 0).stream(data))

    def step(self):
        """Takes a step."""
        begin = time.perf_counter()
        batch = next(self.batches)
        self.method.train_function(iter([batch]))["loss"].numpy()
        self.seconds += time.perf_counter() - begin
        self.images += len(batch["image"])
        self.pairs += int(np.sum(batch["more"]))

    def accuracy(self, test):
        """Returns how many of the pairs of some images are in order."""
        limits = CONFIG.data.long_side, CONFIG.data.short_side
        model = CountingModel.of_counter(self.method.counter, Calibration(limits=limits, ranks=True))
        examples = list(whole_images(test))
        sums = np.array([model.predict(one["image"].numpy()).potential for one in examples])
        return counting.ranking_accuracy(np.array([float(one["count"]) for one in examples]), sums)


def main():
    """Measures, prints a table and the result."""
    folder = records()
    training, test = Records.open(folder, "train"), Records.open(folder, "test")
    test = dataclasses.replace(test, rows=test.rows[:TEST_IMAGES], complete=False)
    runs = {"all pairs of 8 images": Training(8, training), "one pair": Training(2, training)}
    for run in runs.values():
        # What is traced and compiled is not measured.
        run.step()
        run.images, run.pairs, run.seconds = 0, 0, 0.0
    while any(run.images < IMAGES for run in runs.values()):
        min(runs.values(), key=lambda run: run.images).step()
    print(f"{CONFIG.counter}, images of {CONFIG.data.long_side} pixels, {IMAGES} of them")
    print(f"{'a step':<24}{'pairs':>8}{'seconds':>9}{'pairs/s':>9}{'in order':>10}")
    for name, run in runs.items():
        rate = run.pairs / run.seconds
        print(f"{name:<24}{run.pairs:>8,}{run.seconds:>9.1f}{rate:>9.1f}{run.accuracy(test):>10.3f}")
    together, single = (run.pairs / run.seconds for run in runs.values())
    finish(together / single, 4, largest=False)


if __name__ == "__main__":
    main()
