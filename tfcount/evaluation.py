"""The one definition of every reported number."""

import dataclasses
import math
import os
from collections.abc import Iterable

import numpy as np
import tqdm

from tfcount.data.streams.evaluation import whole_images
from tfcount.inference import CountingModel, Prediction
from tfcount.metrics import counting, localization
from tfcount.metrics.game import game
from tfcount.ops.anchor_line import AnchorLine
from tfcount.records import schema
from tfcount.records.folder import Records, naming_damage, read_index, read_manifest

# Upper limits of the groups in which the bias is reported.
_COUNT_GROUPS = (50, 100, 200, 500, 1000, 2000, np.inf)
_SIZE_GROUPS = (0.1, 0.25, 0.5, 1, 2, 4, np.inf)

# Groups of about as many images each, by true count, and how many images a group has at least.
_QUANTILES, _FEWEST = 5, 5

# How many images with large errors are shown.
_WORST = 4

# What the manifest calls pictures of one's own, whatever they show.
_OWN_PICTURES = "folder"

# Cells with less are empty (Wan et al., CVPR 2021, Fig. 5), people a cell.
_EMPTY = 1e-3
# Peaks that are lower are never looked at, people a cell.
_LOWEST_PEAK = 1e-3
# Radius at which the threshold is chosen, pixels.
_CHOSEN_AT = 8.0


@dataclasses.dataclass(frozen=True)
class PointsResult:
    """Where a counter saw people in an image, and where they are, in pixels of the image before it was reduced.

    Attributes:
      points: `(n, 2)`, (x, y) in pixels, of all peaks of the density.
      scores: `(n,)` densities of the peaks' cells, people per cell.
      heads: `(m, 2)`, (x, y) in pixels.
      boxes: `(m, 4)` left, top, right, bottom, pixels, or None where there are none.
    """

    points: np.ndarray
    scores: np.ndarray
    heads: np.ndarray
    boxes: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """What a counter said of one image.

    Attributes:
      image_id: its id.
      ground_truth: number of people that its annotation gives.
      predicted: the count, which is the sum of the density but for counters that were trained to rank or calibrated.
      potential: the sum of the density, or of the map that only ranks, which orders images also where the line through
        the anchors gives no count above 0.
      extrapolated: whether no anchor shows so few people, or so many.
      height: of the image as the counter sees it, pixels.
      width: of the image as the counter sees it, pixels.
      sparsity: share of the cells with less than 0.001 people, or None of a map that only ranks.
      game: `(4,)` errors at levels 0 to 3, or None where only the number of people is known.
      localization: where the people are, or None where only their number is known, and of a map that only ranks.
    """

    image_id: str
    ground_truth: float
    predicted: float
    potential: float
    extrapolated: bool
    height: int
    width: int
    sparsity: float | None
    game: np.ndarray | None
    localization: PointsResult | None


def evaluate(model: CountingModel, images: Iterable[dict]) -> list[ImageResult]:
    """Counts whole images.

    Args:
      model: the counter.
      images: `tfcount.data.streams.evaluation.whole_images`; those whose count is unknown are passed over.

    Returns:
      One result an image, in the order of the images.
    """
    results = []
    for example in images:
        count = float(example["count"])
        if np.isnan(count):
            continue
        found: Prediction = model.predict(example["image"].numpy(), _LOWEST_PEAK)
        heads, boxes = example["points"].numpy(), example["boxes"].numpy()
        errors = localization = sparsity = None
        # A map that only ranks says nothing of parts of the image.
        if found.points is not None:
            sparsity = float(np.mean(found.density < _EMPTY))
            # The count may be larger than the number of points: it holds heads annotated beyond the image.
            if example["labels"].numpy().decode() == schema.POINTS:
                # Where a calibration corrects the count, every part of the map has its share in that.
                share = found.count / found.potential if found.potential > 0 else 1.0
                errors = game(found.density * share, heads * found.zoom, model.stride, *found.size)
                of_heads = boxes if len(boxes) == len(heads) > 0 else None
                localization = PointsResult(found.points, found.scores, heads, of_heads)
        identity = example["id"].numpy().decode()
        results.append(
            ImageResult(
                identity,
                count,
                found.count,
                found.potential,
                found.extrapolated,
                *found.size,
                sparsity,
                errors,
                localization,
            )
        )
    return results


def evaluate_split(model: CountingModel, records: Records, localization: bool) -> tuple[list[ImageResult], dict]:
    """Counts the images of a split, with a progress bar, and measures the errors.

    Args:
      model: the counter.
      records: the images of one split.
      localization: whether the points that the counter finds are measured, too.

    Returns:
      One result an image whose count is known, and the summary: `dataset` (of pictures of one's own, the name of the
      folder of records), `split`, what `summarize` gives,
      `localization` (see `summarize_localization`) if it is asked for, `mean_count_mae` where counts of training
      images are known, `extrapolated`, the number of counts beyond those of all anchors, of a counter that ranks, and
      `line`, with `slope`, `intercept` and `images`, of one whose counts `tfcount.calibrate` corrected.

    Raises:
      ValueError: if no count of the images is known, points are asked for where there are none, or a shard is
        damaged.
    """
    ranks, split = model.calibration.ranks, records.rows[0].split
    if localization and ranks:
        raise ValueError("--localization needs a density, and the map of this counter only ranks images.")
    _check_labels(records, split, localization)
    manifest = read_manifest(records.folder)
    bar = tqdm.tqdm(whole_images(records), total=len(records.rows), unit="image", desc=split, leave=False)
    with naming_damage(records):
        results = evaluate(model, bar)
    summary = {"dataset": dataset_name(records), "split": split, **summarize(results)}
    if localization:
        summary["localization"] = summarize_localization(results, model.calibration.threshold)
    if "train" in manifest["splits"]:
        train_counts = [row.count for row in read_index(records.folder, "train")]
        if not np.isnan(train_counts).all():
            summary["mean_count_mae"] = mean_count_mae(train_counts, [result.ground_truth for result in results])
    if ranks:
        summary["extrapolated"] = sum(result.extrapolated for result in results)
    elif model.calibration.line != AnchorLine():
        line = model.calibration.line
        summary["line"] = {"slope": line.slope, "intercept": line.intercept, "images": line.images}
    return results, summary


def dataset_name(records: Records) -> str:
    """Returns the name of a data set; of pictures of one's own, that of the folder of records."""
    name = read_manifest(records.folder)["dataset"]
    return os.path.basename(os.path.abspath(records.folder)) if name == _OWN_PICTURES else name


def count_images(model: CountingModel, records: Records) -> np.ndarray:
    """Returns what a counter counts in each image of the records, `(images,)`, with a progress bar."""
    bar = tqdm.tqdm(whole_images(records), total=len(records.rows), unit="image", desc="count", leave=False)
    with naming_damage(records):
        counts = {example["id"].numpy().decode(): model.count(example["image"].numpy()) for example in bar}
    return np.array([counts[row.id] for row in records.rows])


@dataclasses.dataclass(frozen=True)
class LargeError:
    """An image with a large error, as the counter sees it.

    Attributes:
      result: what the counter said of it.
      image: `(height, width, 3)` uint8.
      heads: `(n, 2)`, (x, y) in its pixels; none where only the number of people is known.
      density: `(h, w)` people per cell; of a counter that ranks, its map.
      stride: side of a cell, pixels.
      ranks: whether the map only ranks images.
    """

    result: ImageResult
    image: np.ndarray
    heads: np.ndarray
    density: np.ndarray
    stride: int
    ranks: bool


def largest_errors(model: CountingModel, results: list[ImageResult], records: Records) -> list[LargeError]:
    """Returns the images with the largest errors, the largest first.

    Args:
      model: the counter.
      results: of `evaluate`.
      records: the images that were evaluated.
    """
    worst = sorted(results, key=lambda result: -abs(result.predicted - result.ground_truth))[:_WORST]
    images = whole_images(records.select({result.image_id for result in worst}))
    with naming_damage(records):
        examples = {example["id"].numpy().decode(): example for example in images}
    errors = []
    for result in worst:
        image = examples[result.image_id]["image"].numpy()
        found = model.predict(image)
        heads = examples[result.image_id]["points"].numpy() * found.zoom
        ranks = model.calibration.ranks
        errors.append(LargeError(result, model.reduce(image), heads, found.density, model.stride, ranks))
    return errors


def summarize(results: list[ImageResult]) -> dict:
    """Computes the metrics of a set of images.

    Returns:
      `images`, `mae`, `rmse`, `nae`, `mre`, `bias`, `game` (levels 0 to 3, or None where an image has no points),
      `interval` (of each metric, the bootstrap 95 % interval), `kendall_tau`, `ranking_accuracy`, `sparsity` (mean over
      images of the share of cells with less than 0.001 people; None of maps that only rank), and the errors and the
      relative accuracy by groups: `bias_by_count` and `bias_by_megapixels` between limits that are the same for all
      data, and `bias_by_quantile`, groups of about as many images each by true count, whose `from` and `to` are the
      smallest and the largest one in the group.

    Raises:
      ValueError: if there is no result.
    """
    if not results:
        raise ValueError("No image with a known count was evaluated.")
    # In one order, whatever that of the records: which images a bootstrap draws depends on it.
    results = sorted(results, key=lambda result: result.image_id)
    truth = np.array([result.ground_truth for result in results])
    predicted = np.array([result.predicted for result in results])
    megapixels = np.array([result.height * result.width / 1e6 for result in results])
    potentials = np.array([result.potential for result in results])
    sparsities = [result.sparsity for result in results if result.sparsity is not None]
    errors = [result.game for result in results if result.game is not None]
    return {
        "images": len(results),
        **count_metrics(truth, predicted),
        "game": np.mean(errors, 0).tolist() if len(errors) == len(results) else None,
        "kendall_tau": _number(counting.kendall_tau(truth, potentials)),
        "ranking_accuracy": _number(counting.ranking_accuracy(truth, potentials)),
        "sparsity": float(np.mean(sparsities)) if sparsities else None,
        "bias_by_count": _bias(truth, truth, predicted, _COUNT_GROUPS),
        "bias_by_quantile": _bias_by_quantile(truth, predicted),
        "bias_by_megapixels": _bias(megapixels, truth, predicted, _SIZE_GROUPS),
    }


def choose_threshold(results: list[ImageResult]) -> tuple[float, float] | None:
    """Chooses the threshold of peaks with the largest F1 over a set of images, heads at 8 pixels at most.

    Args:
      results: of `evaluate`; not of images that are then reported.

    Returns:
      The threshold, people per cell, and its F1; None where nobody was found, or nobody is there.
    """
    located = [result.localization for result in results if result.localization]
    heads = sum(len(one.heads) for one in located)
    if not heads or not sum(len(one.scores) for one in located):
        return None
    scores = np.concatenate([one.scores for one in located])
    gains = [localization.true_positive_gains(one.points, one.scores, one.heads, [_CHOSEN_AT]) for one in located]
    curve = localization.precision_recall_curve(scores, np.concatenate(gains, -1)[0], heads)
    kept = np.searchsorted(np.sort(-scores), -curve.thresholds, side="right")
    f1 = 2 * curve.recall * heads / (kept + heads)
    best = int(np.argmax(f1))
    lower = curve.thresholds[best + 1] if best + 1 < len(curve.thresholds) else _LOWEST_PEAK
    # Between two scores: peaks are kept that are higher than the threshold.
    return float(curve.thresholds[best] + lower) / 2, float(f1[best])


def summarize_localization(results: list[ImageResult], threshold: float) -> dict:
    """Computes precision, recall and F1 of the points that were found in a set of images.

    Args:
      results: of `evaluate`.
      threshold: peaks are higher, people per cell.

    Returns:
      `images`, `threshold`, `sigma_4` and `sigma_8` (heads at 4 and 8 pixels at most), `nwpu_small` and `nwpu_large`
      (radii from the boxes of the heads; None where an image lacks them), each with `precision`, `recall` and `f1`, and
      `ucf_qnrf`, with `precision`, `recall` and `auc`; see `tfcount.metrics.localization`.

    Raises:
      ValueError: if no image has points.
    """
    located = [result.localization for result in results if result.localization]
    if not located:
        raise ValueError("--localization needs images with points, and none has them.")
    kept = [one.points[one.scores > threshold] for one in located]
    radii: dict[str, list | None] = {
        f"sigma_{sigma:g}": [sigma] * len(located) for sigma in localization.FIXED_SIGMAS
    } | {"nwpu_small": None, "nwpu_large": None}
    if all(one.boxes is not None for one in located if len(one.heads)):
        empty = np.zeros((0, 4))
        pairs = [localization.nwpu_sigmas(empty if one.boxes is None else one.boxes) for one in located]
        radii["nwpu_small"], radii["nwpu_large"] = ([pair[size] for pair in pairs] for size in (0, 1))
    summary: dict = {"images": len(located), "threshold": threshold}
    counts = [len(points) for points in kept], [len(one.heads) for one in located]
    for name, sigmas in radii.items():
        summary[name] = None
        if sigmas is not None:
            found = [
                len(localization.match(points, one.heads, sigma))
                for points, one, sigma in zip(kept, located, sigmas, strict=True)
            ]
            summary[name] = _numbers(localization.localization_metrics(found, *counts))
    gains = [
        localization.true_positive_gains(one.points, one.scores, one.heads, localization.UCF_QNRF_SIGMAS)
        for one in located
    ]
    summary["ucf_qnrf"] = _numbers(
        localization.ucf_qnrf_metrics([one.scores for one in located], gains, counts[1], threshold)
    )
    return summary


def count_metrics(ground_truth, predicted) -> dict:
    """Computes the metrics that need nothing but counts `(images,)`, with their intervals."""
    metrics = {name: _number(metric(ground_truth, predicted)) for name, metric in counting.METRICS.items()}
    intervals = counting.bootstrap_intervals(ground_truth, predicted)
    return {**metrics, "interval": {name: [_number(end) for end in ends] for name, ends in intervals.items()}}


def mean_count_mae(train_counts, ground_truth) -> float:
    """Returns the MAE of always answering the mean count of the training images: what a counter must beat."""
    return float(counting.mae(np.asarray(ground_truth), np.nanmean(train_counts)))


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


def _number(value):
    """Returns a float, or None (JSON has no NaN) where the metric is not defined."""
    return None if np.isnan(value) else float(value)


def _numbers(metrics):
    return {name: _number(value) for name, value in metrics.items()}


def _bias(values, truth, predicted, limits):
    groups = []
    lower = 0.0
    for upper in limits:
        inside = (values >= lower) & (values < upper)
        if inside.any():
            ends = {"from": lower, "to": None if np.isinf(upper) else upper}
            groups.append({**ends, **_errors(truth[inside], predicted[inside])})
        lower = upper
    return groups


def _bias_by_quantile(truth, predicted):
    """Returns the errors of groups of about as many images each; images with equal counts are in one group."""
    number = min(max(len(truth) // _FEWEST, 1), _QUANTILES)
    starts = np.quantile(truth, np.arange(1, number) / number, method="higher")
    group = np.searchsorted(np.unique(starts), truth, side="right")
    return [
        {
            "from": float(truth[group == index].min()),
            "to": float(truth[group == index].max()),
            **_errors(truth[group == index], predicted[group == index]),
        }
        for index in np.unique(group)
    ]


def _errors(truth, predicted):
    return {
        "images": len(truth),
        "bias": float(np.mean(predicted - truth)),
        "mae": float(counting.mae(truth, predicted)),
        "relative_accuracy": float(counting.relative_accuracy(truth, predicted)),
    }
