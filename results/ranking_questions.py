"""How errors fall with the number of questions "which image shows more?", proposed by select_labels or drawn at random.

A person is simulated who tells images of cells apart whose counts differ by more than 1.5 times. A counter learns from
the answers alone, and the counts of 10 anchors give the line. Writes `questions.json` and `questions.png` into
results/ranking_questions, and prints a table.

python results/ranking_questions.py data/vgg_cells runs/ranking_questions
"""

import itertools
import json
import os
import pathlib
import shutil
import sys
import tempfile

import matplotlib.figure
import numpy as np

from tfcount import evaluation, experiment
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data import schema, streams
from tfcount.data.records import Records
from tfcount.data.streams import DataConfig
from tfcount.files import write_file
from tfcount.labeling import ranking_pairs
from tfcount.methods import ranking
from tfcount.pictures import to_png

OUTPUT = pathlib.Path(__file__).resolve().parent / "ranking_questions"
QUESTIONS = (25, 50, 100, 200, 400, 800)
SEEDS = (0, 1, 2)
STRATEGIES = ("proposed", "at random")
RATIO = 1.5
# Questions that are asked before the next are proposed.
ROUND = 25


def config_of(folder: str, seed: int) -> ExperimentConfig:
    """Returns how each counter is trained."""
    return ExperimentConfig(
        method="ranking",
        counter="compact",
        seed=seed,
        data=DataConfig(dir=folder, validation_fraction=0.0, crop=0, long_side=128, color=0.0, grey=0.0),
        train=TrainConfig(steps=200, learning_rate=2e-3, warmup_steps=20, ema=0.95, validation_interval=200),
        options=ranking.Config(labels="records", anchors=10),
    )


def measure(records: Records, labels, runs: pathlib.Path, seed: int) -> dict:
    """Trains with labels, and returns what comes out on the test images."""
    folder = runs / "records"
    shutil.copytree(records.folder, folder)
    ids = [row.id for row in records.rows]
    told = [(more, fewer, ranking_pairs.GREATER) for more, fewer in labels.greater.tolist()]
    told += [(one, other, ranking_pairs.CLOSE) for one, other in labels.close.tolist()]
    pairs = [schema.RankingPair(ids[one], ids[other], relation, "counts") for one, other, relation in told]
    schema.write_pairs(str(folder), "train", pairs)
    if experiment.train(config_of(str(folder), seed), str(runs / "run")):
        sys.exit("Stopped.")
    counter, config = experiment.load_counter(str(runs / "run"))
    test = streams.evaluation(Records.open(str(folder), "test"), config.data)
    found = evaluation.evaluate(evaluation.density_function(counter), counter.stride, test, anchors=counter.anchors)
    summary = evaluation.summarize(found)
    return {
        "known": ranking_pairs.order_of(labels.greater, len(ids)).count(),
        **{name: summary[name] for name in ("mae", "rmse", "kendall_tau", "ranking_accuracy")},
    }


def main(data: str, runs: str) -> None:
    """Trains, prints and writes."""
    records = Records.open(data, "train")
    counts = np.array([row.count for row in records.rows])
    truth = [row.count for row in Records.open(data, "test").rows]
    rows = []
    os.makedirs(runs, exist_ok=True)
    for seed in SEEDS:
        for strategy in STRATEGIES:
            rounds = ranking_pairs.rounds(counts, ROUND, RATIO, seed, strategy == "proposed")
            for questions, labels in itertools.takewhile(lambda asked: asked[0] <= max(QUESTIONS), rounds):
                if questions not in QUESTIONS:
                    continue
                row = {"strategy": strategy, "questions": questions, "seed": seed}
                with tempfile.TemporaryDirectory(dir=runs) as runs_of_one:
                    rows.append(row | measure(records, labels, pathlib.Path(runs_of_one), seed))
                sys.stdout.write(f"{rows[-1]}\n")
    result = {
        "images": len(counts),
        "pairs": len(ranking_pairs.from_counts(counts, RATIO)),
        "mean_count_mae": evaluation.mean_count_mae(counts, truth),
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
        "ranking_accuracy": "test pairs in order, counts more than 2 times apart",
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
    mae.axhline(result["mean_count_mae"], color="0.6", linestyle="--", label="always the mean count")
    known.axhline(result["pairs"], color="0.6", linestyle="--", label="all that can be told apart")
    for axes in (mae, known):
        axes.legend(frameon=False, fontsize="small")
    return to_png(figure)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
