"""What 100,000 images cost in place of 10,000: records are built, opened, read and checked.

ratio: the largest ratio of the seconds that one of these takes for 100,000 images to those for 10,000; at most 12, so
that time grows with the number of images and not with its square. Images have 8 x 8 pixels and a point each. A tenth
of them is held out: the first batch for training is of the rest, the held-out images are read as evaluation reads them.
"""

import dataclasses
import os
import tempfile
import time

from measuring import finish
import cv2
import numpy as np

from tfcount.data.config import DataConfig, DensityConfig
from tfcount.data.streams.evaluation import whole_images
from tfcount.data.streams.labeled import labeled
from tfcount.data.streams.training_data import TrainingData
from tfcount.records import schema
from tfcount.records.folder import Records
from tfrecords_tools import show
from tfrecords_tools.writing.dataset import write_dataset
from tfrecords_tools.writing.plan import LoadedImage

FEW, MANY = 10_000, 100_000
LIMIT = 12
SIDE = 8
# The shortest time of so many, of what can be done again: other work on the machine only adds to it.
REPEATS = 3


@dataclasses.dataclass(frozen=True)
class TinyImage:
    """An image of its own, whose pixels are the digits of its number."""

    number: int

    @property
    def id(self):
        """Name of the image."""
        return f"image_{self.number}"

    def fingerprint(self):
        """Returns what tells it from others."""
        return self.id

    def load(self):
        """Makes it."""
        pixels = np.frombuffer(f"{self.number:0{SIDE * SIDE}}".encode(), np.uint8).reshape(SIDE, SIDE)
        image = cv2.imencode(".png", pixels)[1].tobytes()
        return LoadedImage(schema.AnnotatedImage(self.id, image, SIDE, SIDE, np.float32([[3, 4]])), 0, 0)


def seconds_of(function, repeats=1):
    """Returns the shortest time that a function takes."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def first_batch(records):
    """Makes the first batch for training."""
    data = DataConfig(crop=SIDE)
    source = TrainingData(records, data, DensityConfig(), stride=SIDE, batch_size=4, seed=0)
    next(iter(labeled(source)))


def read_all(records):
    """Reads images as evaluation does."""
    found = sum(1 for _ in whole_images(records))
    if found != len(records.rows):
        raise SystemExit(f"{found} of {len(records.rows)} images were read.")


def check(folder):
    """Checks a folder as `python -m tfrecords_tools.show --check` does."""
    problems = [line for line in show.check(folder) if line]
    if problems:
        raise SystemExit(problems[0])


def measure(images, folder):
    """Returns the seconds that each takes, by name."""
    sources = {"train": [TinyImage(number) for number in range(images)]}
    seconds = {"build": seconds_of(lambda: write_dataset(folder, "tiny", sources, {}))}
    seconds["open"] = seconds_of(lambda: Records.open(folder, "train"), REPEATS)
    training, held_out = Records.open(folder, "train").hold_out(0.1, 0)
    seconds["first batch"] = seconds_of(lambda: first_batch(training), REPEATS)
    seconds["held-out images"] = seconds_of(lambda: read_all(held_out), REPEATS)
    seconds["check"] = seconds_of(lambda: check(folder), REPEATS)
    return seconds


def main():
    """Measures, prints a table and the result."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (measure(images, os.path.join(folder, str(images))) for images in (FEW, MANY))
    print(f"{'':<16}{FEW:>10,} {MANY:>10,} images, seconds")
    for name, seconds in few.items():
        print(f"{name:<16}{seconds:>10.2f} {many[name]:>10.2f}   {many[name] / seconds:.1f} times")
    finish(max(many[name] / seconds for name, seconds in few.items()), LIMIT, largest=True)


if __name__ == "__main__":
    main()
