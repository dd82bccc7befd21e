"""Time of counting with `l2sm` against `spn`, with the same encoder, on 40 whole test images of Part A.

ratio: median over the images of the time of `l2sm`, C = 3 of G = 5, over that of `spn`; at most 1.078, what the paper
measured (0.565 s / 0.524 s). In each image those divisions are looked at again, at those scales, that the trained
counter chose there (results/studies/scale/l2sm_sha/factors.json): untrained weights choose nothing. Below it, how the
ratio grows with the share of divisions, with factors drawn from all of these.
"""

import json
import statistics
import time

from measuring import ROOT, finish, records
import keras
import numpy as np
import tensorflow as tf

from tfcount.data.streams.evaluation import whole_images
from tfcount.records.folder import Records
from tfcount.models import build_counter
from tfcount.models.l2sm import SCALES

BOUND = 0.565 / 0.524
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
IMAGES = 40
# Other shares than that of the trained counter are measured on the first images alone.
FEWER_IMAGES = 8
TRAINED = "as trained"


def choices(image, trained, generator):
    """Yields by name which scale factors an image gets, `(4, 4)`, 0 where a division is not looked at again."""
    yield TRAINED, trained[image]
    if image < FEWER_IMAGES:
        drawn = generator.choice(trained[trained > 0], (4, 4))
        order = generator.permutation(16).reshape(4, 4)
        for share in SHARES:
            yield f"{share:.0%}", np.where(order < round(share * 16), drawn, 0)


def main():
    """Measures, prints a table and the result."""
    keras.utils.set_random_seed(0)
    options = {"encoder_name": "resnet50", "encoder_weights": "none"}
    spn, l2sm = (build_counter(name, **options) for name in ("spn", "l2sm"))
    # A different choice of divisions for each image; what the network itself would choose is computed all the same.
    selected = tf.Variable(tf.zeros([1, 4, 4], bool), trainable=False)
    scales = tf.Variable(tf.ones([1, 4, 4]), trainable=False)
    survey = l2sm.head.survey

    def forced(features, training=None):
        first, group, own = survey(features, training=training)
        # What was computed for its own choice must not be left out of the graph.
        nothing = 0.0 * (tf.reduce_sum(own) + tf.cast(tf.reduce_sum(group), tf.float32))
        return first, tf.where(selected, l2sm.head.groups - 1, 0), scales + nothing

    l2sm.head.survey = forced
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8)]
    counting = {
        counter.name: tf.function(lambda image, counter=counter: tf.reduce_sum(counter(image)), signature)
        for counter in (spn, l2sm)
    }

    def seconds(name, image):
        begin = time.perf_counter()
        counting[name](image).numpy()
        return time.perf_counter() - begin

    path = ROOT / "results" / "studies" / "scale" / "l2sm_sha" / "factors.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    trained = np.array(list(kept.values()), np.float32)
    generator = np.random.default_rng(0)
    ratios = {}
    means = []
    for number, example in enumerate(whole_images(Records.open(records(), "test")).take(IMAGES)):
        image = example["image"][None]
        if number == 0:
            for name in counting:
                seconds(name, image)
        for choice, values in choices(number, trained, generator):
            selected.assign(values[None] > 0)
            scales.assign(np.maximum(values, SCALES[0])[None])
            # The first of two finds the caches full of something else: each is the first one in turn.
            first, second = ("spn", "l2sm") if number % 2 else ("l2sm", "spn")
            times = {name: seconds(name, image) for name in (first, second)}
            ratios.setdefault(choice, []).append(times["l2sm"] / times["spn"])
            means.append(times["spn"])
    share, mean = np.mean(trained[:IMAGES] > 0), trained[:IMAGES][trained[:IMAGES] > 0].mean()
    print(f"spn, resnet50, float32: {statistics.median(means):.3f} s an image, median of {len(means)}")
    print(f"as trained: {share:.0%} of the divisions, scale factors of mean {mean:.2f}")
    print("divisions looked at again    l2sm / spn")
    for choice, values in ratios.items():
        print(f"{choice:>24}     {statistics.median(values):.3f}")
    finish(statistics.median(ratios[TRAINED]), BOUND, largest=True)


if __name__ == "__main__":
    main()
