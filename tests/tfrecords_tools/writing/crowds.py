"""Images of noise, as tests of writing records use them."""

import dataclasses
import errno
import os
import signal

import cv2
import numpy as np

from tfcount.records import schema
from tfrecords_tools.writing.dataset import write_dataset
from tfrecords_tools.writing.plan import LoadedImage, plan_shards


@dataclasses.dataclass
class Crowd:
    """An image of noise with `people` points; `trouble` is what happens when it is loaded."""

    id: str
    seed: int
    people: int = 2
    trouble: str = ""

    def fingerprint(self):
        return f"{self.seed} {self.people}"

    def load(self):
        if self.trouble == "damaged":
            raise ValueError(f"{self.id}.jpg is damaged. Remove it.")
        if self.trouble == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.trouble == "interrupt":
            raise KeyboardInterrupt
        if self.trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        pixels = np.random.default_rng(self.seed).integers(0, 256, (8, 6, 3), np.uint8)
        image = cv2.imencode(".png", pixels)[1].tobytes()
        points = np.full((self.people, 2), 1.5, np.float32)
        return LoadedImage(schema.AnnotatedImage(self.id, image, 8, 6, points), 1, 3)


def crowds(number, start=0, **changes):
    return [Crowd(f"img {start + n}", start + n, **changes) for n in range(number)]


def write(folder, splits, **options):
    return write_dataset(str(folder), "noise", splits, {"seed": 1}, **options)


def write_killed(folder):
    sources = crowds(30)
    # Somewhere behind the first of four shards, so that one is finished.
    order = [source for shard in plan_shards({"train": sources}) for source in shard.sources]
    order[15].trouble = "kill"
    write(folder, {"train": sources})
