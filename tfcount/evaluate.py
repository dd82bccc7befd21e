"""Measures a trained counter: `python -m tfcount.evaluate --model_dir=runs/sha --data_dir=data/sha --split=test`."""

import csv
import io
import math
import os
import sys

import tqdm
from absl import flags

import tfcount.flags
from tfcount import evaluation, experiment
from tfcount.data import streams
from tfcount.drawing.evaluation_figure import draw_evaluation
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
    images = _images_with_largest_errors(results, records)
    write_file(os.path.join(output, "evaluation.png"), draw_evaluation(results, summary, images))
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


def _images_with_largest_errors(results, records):
    """Returns the images with the largest errors, `(height, width, 3)` uint8 by id, the largest error first."""
    worst = sorted(results, key=lambda result: -abs(result.predicted - result.ground_truth))[:_WORST]
    images = {
        example["id"].numpy().decode(): example["image"].numpy()[0]
        for example in streams.evaluation(records.select({result.image_id for result in worst}))
    }
    return {result.image_id: images[result.image_id] for result in worst}


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
