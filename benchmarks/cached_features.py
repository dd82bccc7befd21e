"""Training on cached features of a frozen encoder against full training of the same counter.

ratio: minutes of full training over minutes with cached features, encoding included, for as many steps as
configs/studies/recipe/full_sha.flags takes; at least 3. What each reaches on ShanghaiTech Part A
stands under results/studies/recipe/.
"""

import json
import os
import tempfile

from measuring import ROOT, finish, medians
import supervised
import tensorflow as tf

from tfcount import flags
from tfcount.data.feature_cache import cache_features
from tfcount.training import CACHED_CROPS

REPEATS = 9
CACHED = 8
FULL, FROZEN = "full_sha", "fast_sha"
IMAGES = 270


def main():
    """Measures, prints a table and the result."""
    full, dataset = supervised.build()
    frozen, _ = supervised.build(trainable=False)
    encode = tf.function(lambda images: tuple(frozen.counter.encoder(images, training=False)))
    with tempfile.TemporaryDirectory() as folder:
        batch = next(iter(dataset))
        cached = iter(cache_features(dataset, CACHED, encode, folder, 0, 0))
        size = sum(entry.stat().st_size for entry in os.scandir(folder)) / CACHED
        seconds = medians(
            {
                "full step": supervised.step_on(full, batch),
                "cached step": lambda: frozen.train_function(cached)["loss"].numpy(),
                "encoding a batch": lambda: [maps.numpy() for maps in encode(batch["image"])],
            },
            REPEATS,
        )
    batches = -(-CACHED_CROPS * IMAGES // supervised.CONFIG.train.batch_size)
    steps = flags.from_file(str(ROOT / "configs" / "studies" / "recipe" / f"{FULL}.flags")).train.steps
    minutes = {
        FULL: steps * seconds["full step"] / 60,
        FROZEN: (steps * seconds["cached step"] + batches * seconds["encoding a batch"]) / 60,
    }
    print(f"{supervised.TITLE}, median of {REPEATS}")
    for name, value in seconds.items():
        print(f"{name:<18}{value:>8.3f} s")
    print(f"{batches} batches of features, {CACHED_CROPS} crops of {IMAGES} images: {batches * size / 1e9:.1f} GB")
    for name, value in minutes.items():
        path = ROOT / "results" / "studies" / "recipe" / name / "evaluation.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        low, high = result["interval"]["mae"]
        print(f"{name:<22}{value:>6.1f} minutes for {steps} steps; MAE {result['mae']:.1f} ({low:.1f} to {high:.1f})")
    finish(minutes[FULL] / minutes[FROZEN], 3, largest=False)


if __name__ == "__main__":
    main()
