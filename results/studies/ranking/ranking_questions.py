"""How errors fall with the number of questions "which image shows more?", proposed by select_labels or drawn at random.

A person is simulated who tells images apart whose counts differ by more than 2 times. A counter learns from the answers
alone, on what ResNet50 as ImageNet left it gives for the images, computed once; the counts of 50 images, the same for
all, give the line. Writes `questions.json` and `questions.png` beside this script, and prints a table.

python results/studies/ranking/ranking_questions.py data/sha [resnet50_imagenet_conv1-conv4_notop.h5]
"""

import itertools
import json
import pathlib
import sys

import keras
import matplotlib.figure
import numpy as np
import tensorflow as tf
import tqdm

from tfcount import assembly, evaluation
from tfcount.config import TrainConfig
from tfcount.data.augment import reduced_image
from tfcount.data.streams.evaluation import whole_images
from tfcount.drawing.figures import to_png
from tfcount.intervals import averaged_weights
from tfcount.labeling import pair_selection
from tfcount.labeling.anchor_selection import spread
from tfcount.labeling.order import PairLabels, order_of
from tfcount.methods import ranking
from tfcount.metrics import counting
from tfcount.models.counter import Counter
from tfcount.models.resnet50 import resnet50
from tfcount.ops.anchor_line import fit
from tfcount.records.files import write_file
from tfcount.records.folder import Records

OUTPUT = pathlib.Path(__file__).resolve().parent
QUESTIONS = (50, 150, 500, 1500, 5000)
SEEDS = (0, 1, 2)
STRATEGIES = ("proposed", "at random")
RATIO = 2.0
# Questions that are asked before the next are proposed.
ROUND = 50
ANCHORS = 50
# Images are reduced to this side at most, and padded to squares of it, pixels.
SIDE = 320
WIDTH = 64
BATCH = 8
TRAIN = TrainConfig(steps=400, learning_rate=1e-3, warmup_steps=30, ema=0.98)


class Features:
    """What the encoder gives for the images of a split.

    Args:
      counter: whose encoder.
      records: the images.
    """

    def __init__(self, counter: Counter, records: Records):
        self.counts = np.array([row.count for row in records.rows])
        sizes, maps = [], []
        encode = tf.function(counter.encoder)
        for example in tqdm.tqdm(whole_images(records), total=len(self.counts), unit="image", desc="encode"):
            image = reduced_image(example["image"], SIDE, 0)[None]
            sizes.append(image.shape[1:3])
            padded = tf.image.pad_to_bounding_box(image, 0, 0, SIDE, SIDE)
            maps.append([tf.cast(features[0], tf.float16).numpy() for features in encode(padded)])
        self.sizes = np.array(sizes, np.int32)
        self.maps = tuple(np.stack(features) for features in zip(*maps, strict=True))

    def batch(self, positions: np.ndarray) -> dict:
        """Returns what `Ranking` takes, but for the pairs."""
        return {"image": tuple(features[positions] for features in self.maps), "size": self.sizes[positions]}


def batches(images: Features, pairs: np.ndarray, seed: int) -> tf.data.Dataset:
    """Returns the endless stream of batches made of known pairs; all pairs among the images of a batch are used."""
    known = np.zeros([len(images.counts)] * 2, np.float32)
    known[tuple(pairs.T)] = 1

    def draw():
        generator = np.random.default_rng(seed)
        while True:
            chosen = pairs[generator.choice(len(pairs), BATCH // 2, replace=False)].ravel()
            yield {**images.batch(chosen), "more": known[np.ix_(chosen, chosen)]}

    signature = {
        "image": tuple(tf.TensorSpec([BATCH, *features.shape[1:]], tf.float16) for features in images.maps),
        "size": tf.TensorSpec([BATCH, 2], tf.int32),
        "more": tf.TensorSpec([BATCH, BATCH], tf.float32),
    }
    return tf.data.Dataset.from_generator(draw, output_signature=signature).prefetch(2)


def potentials(method: ranking.Ranking, images: Features) -> np.ndarray:
    """Returns the potential of each image, `(images,)`."""
    found = []
    for start in range(0, len(images.counts), BATCH):
        batch = images.batch(np.arange(start, min(start + BATCH, len(images.counts))))
        features = tuple(tf.constant(value) for value in batch["image"])
        found.append(ranking.potentials(method.counter(features), tf.constant(batch["size"]), method.counter.stride))
    return np.concatenate(found)


def measure(train: Features, test: Features, labels: PairLabels, seed: int) -> dict:
    """Trains with labels, and returns what comes out on the test images."""
    pairs = order_of(labels.greater, len(train.counts)).pairs()
    keras.utils.set_random_seed(seed)
    counter = resnet50("none", width=WIDTH)
    counter.encoder.trainable = False
    method = ranking.Ranking(counter, ranking.Config())
    optimizer = assembly.build_optimizer(TRAIN)
    optimizer.build(method.trainable_variables)
    method.compile(optimizer=optimizer, jit_compile=False)
    method.fit(batches(train, pairs, seed), steps_per_epoch=TRAIN.steps, shuffle=False, verbose=0)
    with averaged_weights(method):
        found, sums = potentials(method, train), potentials(method, test)
    chosen = spread(train.counts, ANCHORS)
    line = fit(found[chosen], train.counts[chosen])
    predicted = np.array([line.count(value) for value in sums])
    return {
        "known": len(pairs),
        "mae": float(counting.mae(test.counts, predicted)),
        "kendall_tau": counting.kendall_tau(test.counts, sums),
        "ranking_accuracy": counting.ranking_accuracy(test.counts, sums),
    }


def main(data: str, weights: str = "imagenet") -> None:
    """Trains, prints and writes."""
    counter = resnet50(weights)
    train, test = (Features(counter, Records.open(data, split)) for split in ("train", "test"))
    rows = []
    for seed, strategy in itertools.product(SEEDS, STRATEGIES):
        rounds = pair_selection.rounds(train.counts, ROUND, RATIO, seed, strategy == "proposed")
        for questions, labels in itertools.takewhile(lambda asked: asked[0] <= max(QUESTIONS), rounds):
            if questions in QUESTIONS:
                row = {"strategy": strategy, "questions": questions, "seed": seed}
                rows.append(row | measure(train, test, labels, seed))
                sys.stdout.write(f"{rows[-1]}\n")
                sys.stdout.flush()
    result = {
        "images": len(train.counts),
        "pairs": len(pair_selection.from_counts(train.counts, RATIO)),
        "mean_count_mae": evaluation.mean_count_mae(train.counts, test.counts),
        "rows": rows,
    }
    write_file(str(OUTPUT / "questions.json"), json.dumps(result, indent=1) + "\n")
    write_file(str(OUTPUT / "questions.png"), draw(result))
    sys.stdout.write(table(result))


def values(result: dict, name: str, strategy: str) -> np.ndarray:
    """Returns what was measured with a strategy, `(numbers of questions, seeds)`."""
    rows = [row for row in result["rows"] if row["strategy"] == strategy]
    return np.array([[row[name] for row in rows if row["questions"] == number] for number in QUESTIONS])


def table(result: dict) -> str:
    """Returns means over the seeds, in Markdown."""
    lines = [
        "| questions | " + " | ".join(f"pairs known, {name} | MAE, {name}" for name in STRATEGIES) + " |",
        "| --- |" + " --- |" * (2 * len(STRATEGIES)),
    ]
    for index, number in enumerate(QUESTIONS):
        cells = [
            f"{values(result, 'known', name)[index].mean():.0f} | {values(result, 'mae', name)[index].mean():.1f}"
            for name in STRATEGIES
        ]
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return "".join(f"{line}\n" for line in lines)


def draw(result: dict) -> bytes:
    """Returns a PNG: the error, the order and the known pairs by the number of questions."""
    figure = matplotlib.figure.Figure(figsize=(13, 3.8), layout="constrained")
    panels = {
        "mae": "MAE of the test images",
        "ranking_accuracy": "share of test pairs in order",
        "known": "pairs known",
    }
    for axes, (name, label) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for strategy, color in zip(STRATEGIES, ("C0", "C1"), strict=True):
            found = values(result, name, strategy)
            axes.plot(QUESTIONS, found.mean(1), color=color, label=strategy)
            axes.plot(QUESTIONS, found, ".", color=color, alpha=0.5)
        axes.set_xscale("log")
        axes.set_xticks(QUESTIONS, [str(number) for number in QUESTIONS])
        axes.minorticks_off()
        axes.set(xlabel="questions", ylabel=label)
    mae, _, known = figure.axes
    mae.set_ylim(bottom=0)
    mae.axhline(result["mean_count_mae"], color="0.6", linestyle="--", label="always the mean count")
    known.axhline(result["pairs"], color="0.6", linestyle="--", label="all that can be told apart")
    mae.legend(frameon=False, fontsize="small", loc="lower left")
    known.legend(frameon=False, fontsize="small", loc="center left")
    return to_png(figure)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
