"""Peak memory of counting an image of 100 megapixels with `resnet50`, in tiles.

ratio: peak resident memory of a process that loads the counter and counts the image, over 2 GiB; at most 1. The count
of the largest test image in small tiles must be within 0.5 % of its count as a whole.

python benchmarks/tiled_memory.py [FOLDER_OF_A_RUN]   # without one: random weights, a mean density of 0.05
"""

import subprocess
import sys

from measuring import finish, records, resident
import keras
import numpy as np

from tfcount.data.streams.evaluation import whole_images
from tfcount.inference import CountingModel
from tfcount.models import build_counter
from tfcount.ops.tiling import density_in_tiles
from tfcount.records.folder import Records
from tfcount.runs import Run

SIDE = 10_000
LIMIT = 2 << 30


def load(run):
    """Returns the counter of a run, or one with random weights and a mean density of 0.05 people a cell."""
    if run:
        return Run(run).load_counter()[0]
    keras.utils.set_random_seed(0)
    counter = build_counter("resnet50", encoder_weights="none")
    # Blocks start as their shortcut alone, which sees less far than the counter does.
    for weight in counter.encoder.weights:
        if weight.name == "gamma" and not np.any(weight):
            weight.assign(np.full(weight.shape, 0.5))
    last = counter.head.get_layer("density")
    scale = 0.05 / float(np.mean(counter(largest_image()[:, :512, :512])))
    last.set_weights([scale * value for value in last.get_weights()])
    return counter


def largest_image():
    """Returns the largest test image, `(1, height, width, 3)` uint8."""
    images = (example["image"].numpy() for example in whole_images(Records.open(records(), "test")))
    return max(images, key=lambda image: image.size)[None]


def count_large_image(run):
    """Counts a large image, and prints its count and the peak memory of this process, bytes."""
    picture = largest_image()[0]
    repeats = -(-SIDE // picture.shape[0]), -(-SIDE // picture.shape[1]), 1
    image = np.tile(picture, repeats)[:SIDE, :SIDE].copy()
    counter = load(run)
    count = CountingModel.of_counter(counter).count(image)
    print(count, resident("VmHWM"))


def main(run):
    """Measures, prints a table and the result."""
    if run and run[0] == "--count":
        count_large_image(run[1])
        return
    run = run[0] if run else ""
    counter, image = load(run), largest_image()
    density = np.asarray(counter(image))
    whole = float(density.sum(dtype=np.float64))
    tiled = np.asarray(density_in_tiles(counter, image, counter.stride, counter.reach, tile=128))
    difference = float(tiled.sum(dtype=np.float64)) / whole - 1
    cell = float(np.abs(tiled - density).max() / density.max())
    print(f"largest test image, {image.shape[2]} x {image.shape[1]}: {whole:.2f} as a whole")
    print(f"tiles: count {difference:+.4%}, largest difference of a cell {cell:.1e} of the largest density")
    child = subprocess.run([sys.executable, __file__, "--count", run], check=True, capture_output=True, text=True)
    count, peak = (float(word) for word in child.stdout.split()[-2:])
    print(f"{SIDE} x {SIDE} pixels: {count:.0f} people, peak memory {peak / 2**30:.2f} GiB")
    if abs(difference) > 0.005:
        raise SystemExit(f"Tiles change the count by {difference:+.2%}, more than 0.5 %.")
    finish(peak / LIMIT, 1, largest=True)


if __name__ == "__main__":
    main(sys.argv[1:])
