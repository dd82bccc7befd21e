"""The one definition of every reported number."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tfcount.metrics import counting
from tfcount.metrics.game import game
from tfcount.ops.tiling import density_in_tiles

# Upper limits of the groups in which the bias is reported.
_COUNT_GROUPS = (50, 100, 200, 500, 1000, 2000, np.inf)
_SIZE_GROUPS = (0.1, 0.25, 0.5, 1, 2, 4, np.inf)


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """What a counter said of one image.

    Attributes:
      image_id: its id.
      ground_truth: number of people that its annotation gives.
      predicted: sum of the density.
      height: of the image, pixels.
      width: of the image, pixels.
      game: `(4,)` errors at levels 0 to 3, or None where only the number of people is known.
    """

    image_id: str
    ground_truth: float
    predicted: float
    height: int
    width: int
    game: np.ndarray | None


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


def evaluate(density, stride: int, dataset) -> list[ImageResult]:
    """Counts whole images.

    Args:
      density: function of `(1, height, width, 3)` uint8 images to `(1, h, w, 1)` people per cell.
      stride: side of a cell, pixels.
      dataset: `tfcount.data.streams.evaluation`; images whose count is unknown are passed over.

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
        errors = game(predicted, points, stride, height, width) if len(points) == count else None
        image_id = example["id"].numpy().decode()
        total = float(predicted.sum(dtype=np.float64))
        results.append(ImageResult(image_id, count, total, height, width, errors))
    return results


def summarize(results: list[ImageResult]) -> dict:
    """Computes the metrics of a set of images.

    Returns:
      `images`, `mae`, `rmse`, `nae`, `mre`, `game` (levels 0 to 3, or None where an image has no points), `interval`
      (of each metric, the bootstrap 95 % interval), `kendall_tau`, and the mean error by groups:
      `bias_by_count` and `bias_by_megapixels`.

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
    errors = [result.game for result in results if result.game is not None]
    return {
        "images": len(results),
        **count_metrics(truth, predicted),
        "game": np.mean(errors, 0).tolist() if len(errors) == len(results) else None,
        "kendall_tau": _number(counting.kendall_tau(truth, predicted)),
        "bias_by_count": _bias(truth, truth, predicted, _COUNT_GROUPS),
        "bias_by_megapixels": _bias(megapixels, truth, predicted, _SIZE_GROUPS),
    }


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
                }
            )
        lower = upper
    return groups
