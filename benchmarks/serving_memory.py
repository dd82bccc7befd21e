"""Peak memory of `serving_default` of a SavedModel that counts a JPEG of 24 megapixels, with `resnet50`.

ratio: what the signature takes over what `tfcount.load(...).count` takes for the same file, each in a process of its
own: peak resident memory above that after loading the model; at most 1.3. Both counts must be the same.

python benchmarks/serving_memory.py [FOLDER_OF_A_RUN]   # without one: random weights, a mean density of 0.05
"""

import os
import subprocess
import sys
import tempfile

from measuring import finish, resident
from tiled_memory import largest_image, load
import numpy as np
import tensorflow as tf

import tfcount
from tfcount.serving import savedmodel

HEIGHT, WIDTH = 4000, 6000


def count(way, folder, path):
    """Counts a file in one of two ways, and prints its count and the peak memory above that of the model, bytes."""
    if way == "load":
        model = tfcount.load(folder)
    else:
        signature = tf.saved_model.load(os.path.join(folder, "1")).signatures["serving_default"]
    before = resident("VmRSS")
    # Linux forgets the peak that loading the model has reached.
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")
    if way == "load":
        counted = model.count(path)
    else:
        with open(path, "rb") as file:
            counted = float(signature(image_bytes=tf.constant([file.read()]))["count"][0])
    print(np.float32(counted), resident("VmHWM") - before)


def main(arguments):
    """Measures, prints a table and the result."""
    if arguments[:1] == ["--count"]:
        count(*arguments[1:])
        return
    picture = largest_image()[0]
    repeats = -(-HEIGHT // picture.shape[0]), -(-WIDTH // picture.shape[1]), 1
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.jpg")
        with open(path, "wb") as file:
            file.write(tf.io.encode_jpeg(np.tile(picture, repeats)[:HEIGHT, :WIDTH]).numpy())
        savedmodel.export(load(arguments[0] if arguments else ""), os.path.join(folder, "model"))
        for way in ("load", "serving_default"):
            command = [sys.executable, __file__, "--count", way, os.path.join(folder, "model"), path]
            child = subprocess.run(command, check=True, capture_output=True, text=True)
            results[way] = [float(word) for word in child.stdout.split()[-2:]]
            print(f"{way:<16}{results[way][0]:>12.2f} people{results[way][1] / 2**20:>8.0f} MiB")
    (loaded, above_loaded), (served, above_served) = results.values()
    if loaded != served:
        raise SystemExit(f"The counts differ: {loaded} and {served}.")
    finish(above_served / above_loaded, 1.3, largest=True)


if __name__ == "__main__":
    main(sys.argv[1:])
