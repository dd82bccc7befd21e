"""Measures a trained counter: `python -m tfcount.evaluate --model_dir=runs/sha --data_dir=data/sha --split=test`."""

import csv
import io
import math
import os
import sys

import matplotlib.figure
import numpy as np
import tqdm
from absl import flags

import tfcount.flags
from tfcount import evaluation, experiment, pictures
from tfcount.data import streams
from tfcount.models.anchors import SUM
from tfcount.records import schema
from tfcount.records.files import write_file, write_json
from tfcount.records.folder import Records, read_index, read_manifest

_WORST = 4


def main(argv):
    """Counts a split, prints a table, and writes `evaluation.json`, `predictions.csv` and `evaluation.png`."""
    values = flags.FLAGS
    counter, config = experiment.load_counter(values.model_dir)
    ranks = counter.anchors != SUM
    if values.localization and ranks:
        raise ValueError(f"--localization needs a density, and the map of {values.model_dir!r} only ranks images.")
    records = Records.open(values.data_dir or config.data.dir, values.split)
    _check_labels(records, values.split, values.localization)
    manifest = read_manifest(records.folder)
    bar = tqdm.tqdm(
        streams.evaluation(records, config.data), total=len(records.rows), unit="image", desc=values.split, leave=False
    )
    density = evaluation.density_function(counter)
    results = evaluation.evaluate(density, counter.stride, bar, values.localization, counter.anchors)
    summary = {"dataset": manifest["dataset"], "split": values.split, **evaluation.summarize(results)}
    if values.localization:
        threshold = experiment.read_threshold(values.model_dir)
        summary["localization"] = evaluation.summarize_localization(results, threshold)
    if "train" in manifest["splits"]:
        train_counts = [row.count for row in read_index(records.folder, "train")]
        truth = [result.ground_truth for result in results]
        summary["mean_count_mae"] = evaluation.mean_count_mae(train_counts, truth)
    if ranks:
        summary["extrapolated"] = sum(counter.anchors.extrapolates(result.predicted) for result in results)
    summary["run"] = experiment.read_run(values.model_dir)

    # What was measured elsewhere must not replace the evaluation of the run's own test images.
    own = os.path.abspath(records.folder) == os.path.abspath(config.data.dir) and values.split == "test"
    other = os.path.join(values.model_dir, f"{manifest['dataset']}_{values.split}")
    output = values.output or (values.model_dir if own else other)
    write_file(os.path.join(output, "predictions.csv"), predictions_csv(results))
    write_file(os.path.join(output, "evaluation.png"), draw(results, summary, records))
    write_json(os.path.join(output, "evaluation.json"), summary)
    sys.stdout.write(table(summary))
    sys.stdout.write(f"Written: {output} (evaluation.json, predictions.csv, evaluation.png)\n")


def _check_labels(records, split, points_needed):
    """Raises ValueError, before anything is counted, if the images of a split cannot be evaluated."""
    if all(math.isnan(row.count) for row in records.rows):
        raise ValueError(
            f"No image of split {split!r} in {records.folder!r} has a known count. Give another --split, or count the "
            "images with `python -m tfcount.predict`."
        )
    if points_needed and not any(row.labels == schema.POINTS for row in records.rows):
        raise ValueError(
            f"--localization needs images with points, and no image of split {split!r} in {records.folder!r} has them."
        )


def predictions_csv(results) -> str:
    """Returns `image_id,ground_truth,predicted` lines, sorted by id."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "ground_truth", "predicted"])
    for result in sorted(results, key=lambda result: result.image_id):
        writer.writerow([result.image_id, f"{result.ground_truth:g}", f"{result.predicted:.4f}"])
    return text.getvalue()


def table(summary: dict) -> str:
    """Returns the metrics, one a line, with their 95 % intervals."""
    lines = [f"{summary['dataset']} {summary['split']}: {summary['images']} images"]
    for name, digits in (("mae", 2), ("rmse", 2), ("nae", 3), ("mre", 3)):
        if summary[name] is None:
            lines.append(f"  {name.upper():<8} not defined: no image shows anyone")
            continue
        low, high = summary["interval"][name]
        lines.append(
            f"  {name.upper():<8}{summary[name]:>9.{digits}f}   95 % interval {low:.{digits}f} to {high:.{digits}f}"
        )
    if summary["game"]:
        lines.append(f"  {'GAME':<8}{''.join(f'{value:>9.2f}' for value in summary['game'])}   levels 0 to 3")
    if summary["kendall_tau"] is not None:
        lines.append(f"  {'TAU':<8}{summary['kendall_tau']:>9.3f}   Kendall: are the images in the right order?")
    if summary["ranking_accuracy"] is not None:
        accuracy = summary["ranking_accuracy"]
        lines.append(
            f"  {'RANKING':<8}{accuracy:>9.3f}   share of pairs in order, of those that differ more than twice"
        )
    if summary["sparsity"] is not None:
        lines.append(f"  {'SPARSITY':<8}{summary['sparsity']:>9.3f}   share of the cells with less than 0.001 people")
    if "extrapolated" in summary:
        lines.append(f"  {'BEYOND':<8}{summary['extrapolated']:>9}   images whose count is beyond that of all anchors")
    if "mean_count_mae" in summary:
        lines.append(f"  {'MAE':<8}{summary['mean_count_mae']:>9.2f}   of always answering the mean count of train")
    if "localization" in summary:
        lines += _localization_lines(summary["localization"])
    return "\n".join(lines) + "\n"


def _localization_lines(localization):
    lines = [
        f"  points: peaks above {localization['threshold']:.3g} people a cell, {localization['images']} images",
        f"  {'':<26}{'precision':>10}{'recall':>10}{'F1':>10}",
    ]
    rows = {
        "sigma_4": "heads at 4 pixels at most",
        "sigma_8": "heads at 8 pixels at most",
        "nwpu_small": "NWPU, small radii",
        "nwpu_large": "NWPU, large radii",
        "ucf_qnrf": "UCF-QNRF, 1 to 100 pixels",
    }
    for name, text in rows.items():
        metrics = localization[name]
        if metrics:
            cells = ["-" if value is None else f"{value:.3f}" for key, value in metrics.items() if key != "auc"]
            cells += [f"AUC {metrics['auc']:.3f}"] if metrics.get("auc") is not None else []
            lines.append(f"  {text:<26}" + "".join(f"{cell:>10}" for cell in cells))
    return lines


def draw(results, summary: dict, records: Records) -> bytes:
    """Draws predicted against true counts, the bias by count and by size, and the images with the largest errors.

    Returns:
      The picture as PNG.
    """
    figure = matplotlib.figure.Figure(figsize=(15, 8.6), layout="constrained")
    figure.suptitle(
        f"{summary['dataset']} {summary['split']}: MAE {summary['mae']:.1f}, RMSE {summary['rmse']:.1f} "
        f"({summary['images']} images)"
    )
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1.3, 1)))
    scatter, by_count, by_size = above.subplots(1, 3)

    truth = np.array([result.ground_truth for result in results])
    predicted = np.array([result.predicted for result in results])
    limit = 1.05 * max(truth.max(), predicted.max(), 1.0)
    pictures.compare_on(scatter, limit)
    scatter.scatter(truth, predicted, s=14, alpha=0.7, edgecolor="none")
    scatter.set(xlabel="true count", ylabel="predicted count")
    _draw_bias(by_count, summary["bias_by_count"], "true count")
    _draw_bias(by_size, summary["bias_by_megapixels"], "megapixels")

    worst = sorted(results, key=lambda result: -abs(result.predicted - result.ground_truth))[:_WORST]
    below.suptitle("largest errors", fontsize="medium")
    images = {
        example["id"].numpy().decode(): example["image"].numpy()[0]
        for example in streams.evaluation(records.select({result.image_id for result in worst}))
    }
    for axes, result in zip(np.atleast_1d(below.subplots(1, len(worst))), worst, strict=True):
        axes.imshow(pictures.thumbnail(images[result.image_id]))
        axes.set_title(
            f"{result.image_id}: {result.ground_truth:g} people, predicted {result.predicted:.0f}", fontsize="small"
        )
        axes.axis("off")
    return pictures.to_png(figure)


def _draw_bias(axes, groups, label):
    names = [f"{group['from']:g}" + ("+" if group["to"] is None else f"-{group['to']:g}") for group in groups]
    positions = np.arange(len(groups))
    axes.bar(positions - 0.2, [group["mae"] for group in groups], 0.4, label="MAE", color="0.75")
    axes.bar(positions + 0.2, [group["bias"] for group in groups], 0.4, label="bias (predicted - true)")
    ticks = [f"{name}\nn = {group['images']}" for name, group in zip(names, groups, strict=True)]
    axes.set_xticks(positions, ticks, fontsize="small")
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set(xlabel=label, ylabel="people an image")
    axes.legend(frameon=False)


if __name__ == "__main__":
    flags.DEFINE_string("model_dir", None, "Folder of the run.", required=True)
    flags.DEFINE_string("data_dir", None, "Folder of records; the one that the run was trained on if not given.")
    flags.DEFINE_string("split", "test", "Split to count.")
    flags.DEFINE_bool(
        "localization",
        False,
        "Also measure the points that the counter finds, in pixels of the images as the records hold them.",
    )
    flags.DEFINE_string(
        "output",
        None,
        "Folder of the results; if not given, --model_dir, or a folder in it for other data than its own test split.",
    )
    tfcount.flags.run(main)
