"""Time of counting with `l2sm` against `spn`, with the same encoder, on 40 whole test images of Part A.

ratio: median over the images of the time of `l2sm` with 60 % of the regions looked at again, C = 3 of G = 5, over that
of `spn`; at most 1.078, what the paper measured (0.565 s / 0.524 s). Scale factors are drawn from those of the trained
counter (results/l2sm_resnet50_sha), enlarged to a mean of 1.5 where that is less: untrained weights choose nothing.
"""

import json
import statistics
import time

from measuring import ROOT, finish, records
import keras
import numpy as np
import tensorflow as tf

from tfcount.data import streams
from tfcount.data.records import Records
from tfcount.models import build_counter
from tfcount.models.l2sm import SCALES
from tfcount.ops import regions

BOUND = 0.565 / 0.524
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MEASURED = 0.6
IMAGES = 40
# Other shares are measured on the first images alone.
FEWER_IMAGES = 8
MEAN = 1.5


def factors(generator, count):
    """Draws scale factors with a mean of at least 1.5 as the trained counter has them."""
    kept = json.loads((ROOT / "results" / "l2sm_resnet50_sha" / "scaling.json").read_text(encoding="utf-8"))["chosen"]
    edges, histogram = np.array(kept["bins"]), np.array(kept["histogram"], float)
    centers = 0.5 * (edges[1:] + edges[:-1])
    enlarged = np.minimum(centers * max(1.0, MEAN / np.average(centers, weights=histogram)), SCALES[1])
    return generator.choice(enlarged, count, p=histogram / histogram.sum()).astype(np.float32)


def main():
    """Measures, prints a table and the result."""
    keras.utils.set_random_seed(0)
    options = {"encoder_name": "resnet50", "encoder_weights": "none"}
    spn, l2sm = (build_counter(name, **options) for name in ("spn", "l2sm"))
    # A different choice of regions for each image; what the network itself would choose is computed all the same.
    selected = tf.Variable(tf.zeros([1, 4, 4], bool), trainable=False)
    scales = tf.Variable(tf.ones([1, 4, 4]), trainable=False)
    head = l2sm.head
    choose = head.choose

    def choose_forced(features, first):
        own = choose(features, first)
        # What was computed for its own choice must not be left out of the graph.
        nothing = 0.0 * tf.reduce_sum(own.scale_y)
        return regions.choose(selected, scales + nothing, tf.shape(features)[1], tf.shape(features)[2])

    head.choose = choose_forced
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8)]
    counting = {
        counter.name: tf.function(lambda image, counter=counter: tf.reduce_sum(counter(image)), signature)
        for counter in (spn, l2sm)
    }

    def seconds(name, image):
        begin = time.perf_counter()
        counting[name](image).numpy()
        return time.perf_counter() - begin

    generator = np.random.default_rng(0)
    ratios = {share: [] for share in SHARES}
    means, enlarged = [], []
    for number, example in enumerate(streams.evaluation(Records.open(records(), "test")).take(IMAGES)):
        image = example["image"]
        if number == 0:
            for name in counting:
                seconds(name, image)
        for share in SHARES if number < FEWER_IMAGES else [MEASURED]:
            order = generator.permutation(16)
            selected.assign((order < round(share * 16)).reshape(1, 4, 4))
            drawn = factors(generator, 16)
            scales.assign(drawn.reshape(1, 4, 4))
            enlarged.append(drawn.mean())
            base, ours = seconds("spn", image), seconds("l2sm", image)
            ratios[share].append(ours / base)
            means.append(base)
    print(f"spn, resnet50, float32: {statistics.median(means):.3f} s an image, median of {len(means)}")
    print(f"scale factors: mean {np.mean(enlarged):.2f}")
    print("regions looked at again    l2sm / spn")
    for share, values in ratios.items():
        print(f"{share:>22.0%}     {statistics.median(values):.3f}")
    finish(statistics.median(ratios[MEASURED]), BOUND, largest=True)


if __name__ == "__main__":
    main()
