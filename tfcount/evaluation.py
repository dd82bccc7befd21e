"""The one definition of every reported number."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tfcount.metrics import counting, localization
from tfcount.metrics.game import game
from tfcount.models.anchors import SUM, Anchors
from tfcount.ops.peaks import local_maxima
from tfcount.ops.tiling import density_in_tiles

# Upper limits of the groups in which the bias is reported.
_COUNT_GROUPS = (50, 100, 200, 500, 1000, 2000, np.inf)
_SIZE_GROUPS = (0.1, 0.25, 0.5, 1, 2, 4, np.inf)

# Cells with less are empty (Wan et al., CVPR 2021, Fig. 5), people a cell.
_EMPTY = 1e-3
# Peaks that are lower are never looked at, people a cell; more than that many are none of any image.
_LOWEST_PEAK = 1e-3
MOST_PEAKS = 50_000
# Threshold of peaks where none was chosen: the paper's.
THRESHOLD = 0.05
# Radius at which the threshold is chosen, pixels.
_CHOSEN_AT = 8.0


@dataclasses.dataclass(frozen=True)
class Located:
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
      predicted: the count, which is the sum of the density but for counters that were trained to rank.
      potential: the sum of the density, or of the map that only ranks, which orders images also where the line through
        the anchors gives no count above 0.
      height: of the image, pixels.
      width: of the image, pixels.
      sparsity: share of the cells with less than 0.001 people, or None of a map that only ranks.
      game: `(4,)` errors at levels 0 to 3, or None where only the number of people is known.
      located: where the people are, or None where only their number is known or this was not asked for.
    """

    image_id: str
    ground_truth: float
    predicted: float
    potential: float
    height: int
    width: int
    sparsity: float | None
    game: np.ndarray | None
    located: Located | None


def density_function(counter):
    """Compiles a counter for images of any size: one graph, whatever sizes come, and large ones in tiles.

    Args:
      counter: a `tfcount.models.Counter`.

    Returns:
      A function of uint8 images `(batch, height, width, 3)` to density `(batch, h, w, 1)`.
    """
    compiled = tf.function(
        lambda images: counter(images, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    return functools.partial(density_in_tiles, compiled, stride=counter.stride, reach=counter.reach, tile=counter.tile)


@tf.function(reduce_retracing=True)
def _find_peaks(density, stride, threshold):
    return local_maxima(density, stride, threshold, MOST_PEAKS)


def find_points(density, stride: int, height: int, width: int, threshold: float = _LOWEST_PEAK):
    """Finds people in the density of an image.

    Args:
      density: `(h, w)` people per cell.
      stride: side of a cell, pixels.
      height: of the image, pixels.
      width: of the image, pixels.
      threshold: peaks are higher, people per cell.

    Returns:
      `(n, 2)` points, (x, y) in pixels, inside the image, and `(n,)` their densities, the highest first.
    """
    peaks = _find_peaks(tf.constant(density)[None, ..., None], stride, tf.constant(threshold))
    return np.clip(peaks.points[0], 0, [width, height]), np.asarray(peaks.scores[0])


def evaluate(density, stride: int, dataset, locate: bool = False, anchors: Anchors = SUM) -> list[ImageResult]:
    """Counts whole images.

    Args:
      density: function of `(1, height, width, 3)` uint8 images to `(1, h, w, 1)` people per cell.
      stride: side of a cell, pixels.
      dataset: `tfcount.data.streams.evaluation`; images whose count is unknown are passed over.
      locate: whether to find people, too, which a map that only ranks does not show.
      anchors: what makes counts of the sums of maps.

    Returns:
      One result an image, in the order of the dataset.
    """
    results = []
    for example in dataset:
        count = float(example["count"])
        if np.isnan(count):
            continue
        height, width = example["image"].shape[1:3]
        predicted = np.asarray(density(example["image"]))[0, ..., 0]
        points = example["points"].numpy()
        errors, located = None, None
        # A map that only ranks says nothing of parts of the image.
        is_density = anchors == SUM
        if is_density and len(points) == count:
            errors = game(predicted, points, stride, height, width)
            if locate:
                boxes = example["boxes"].numpy()
                found, scores = find_points(predicted, stride, height, width)
                # Distances are given in pixels of the image as it was annotated.
                zoom = example["zoom"].numpy()
                known = boxes if len(boxes) == len(points) > 0 else None
                located = Located(found / zoom, scores, points / zoom, known)
        image_id = example["id"].numpy().decode()
        potential = float(predicted.sum(dtype=np.float64))
        total = anchors.count(potential)
        sparsity = float(np.mean(predicted < _EMPTY)) if is_density else None
        results.append(ImageResult(image_id, count, total, potential, height, width, sparsity, errors, located))
    return results


def summarize(results: list[ImageResult]) -> dict:
    """Computes the metrics of a set of images.

    Returns:
      `images`, `mae`, `rmse`, `nae`, `mre`, `game` (levels 0 to 3, or None where an image has no points), `interval`
      (of each metric, the bootstrap 95 % interval), `kendall_tau`, `ranking_accuracy`, `sparsity` (mean over images of
      the share of cells with less than 0.001 people; None of maps that only rank), and the errors and the relative
      accuracy by groups: `bias_by_count` and `bias_by_megapixels`.

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
        "bias_by_megapixels": _bias(megapixels, truth, predicted, _SIZE_GROUPS),
    }


def choose_threshold(results: list[ImageResult]) -> tuple[float, float] | None:
    """Chooses the threshold of peaks with the largest F1 over a set of images, heads at 8 pixels at most.

    Args:
      results: of `evaluate` with `locate`; not of images that are then reported.

    Returns:
      The threshold, people per cell, and its F1; None where nobody was found, or nobody is there.
    """
    located = [result.located for result in results if result.located]
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
      results: of `evaluate` with `locate`.
      threshold: peaks are higher, people per cell.

    Returns:
      `images`, `threshold`, `sigma_4` and `sigma_8` (heads at 4 and 8 pixels at most), `nwpu_small` and `nwpu_large`
      (radii from the boxes of the heads; None where an image lacks them), each with `precision`, `recall` and `f1`, and
      `ucf_qnrf`, with `precision`, `recall` and `auc`; see `tfcount.metrics.localization`.

    Raises:
      ValueError: if no image has points.
    """
    located = [result.located for result in results if result.located]
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
            groups.append(
                {
                    "from": lower,
                    "to": None if np.isinf(upper) else upper,
                    "images": int(inside.sum()),
                    "bias": float(np.mean(predicted[inside] - truth[inside])),
                    "mae": float(counting.mae(truth[inside], predicted[inside])),
                    "relative_accuracy": float(counting.relative_accuracy(truth[inside], predicted[inside])),
                }
            )
        lower = upper
    return groups
