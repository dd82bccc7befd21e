"""Errors of counts over a set of images.

Each function takes `ground_truth` and `predicted`, both `(images,)` or `(..., images)`, people an image.
"""

import numpy as np
import scipy.stats


def mae(ground_truth, predicted):
    """Returns the mean absolute error, people an image."""
    return np.mean(np.abs(predicted - ground_truth), -1)


def rmse(ground_truth, predicted):
    """Returns the root of the mean squared error, people an image: what papers print as "MSE"."""
    return np.sqrt(np.mean(np.square(predicted - ground_truth), -1))


def nae(ground_truth, predicted):
    """Returns the mean of |error| / count over the images that show anyone; NaN if none does."""
    shown = ground_truth > 0
    errors = np.abs(predicted - ground_truth) / np.where(shown, ground_truth, 1)
    images = np.sum(shown, -1)
    return np.where(images > 0, np.sum(errors * shown, -1) / np.maximum(images, 1), np.nan)[()]


def mre(ground_truth, predicted):
    """Returns the mean absolute error over the mean count (Xu et al., ICCV 2019); NaN if nobody is shown."""
    mean = np.mean(ground_truth, -1)
    return np.where(mean > 0, mae(ground_truth, predicted) / np.where(mean > 0, mean, 1), np.nan)[()]


def kendall_tau(ground_truth, predicted) -> float:
    """Returns Kendall's tau-b: 1 if all images are in the right order, 0 by chance, NaN if either is constant."""
    if len(ground_truth) < 2:
        return float("nan")
    return float(scipy.stats.kendalltau(ground_truth, predicted).statistic)


def ranking_accuracy(ground_truth, predicted, ratio: float = 2.0) -> float:
    """Returns the share of pairs in the right order, of those whose counts differ by more than a factor.

    Source: "Glance to Count", section 3.2: these are the pairs that a person tells apart at a glance.

    Args:
      ground_truth: `(images,)` counts.
      predicted: `(images,)` counts, or what orders the images.
      ratio: the factor.

    Returns:
      0 to 1, or NaN if no two counts differ enough; equal predictions are in no order.
    """
    told_apart = ground_truth[:, None] > ratio * ground_truth
    if not told_apart.any():
        return float("nan")
    return float(np.mean((predicted[:, None] > predicted)[told_apart]))


def relative_accuracy(ground_truth, predicted):
    """Returns the mean of min / max of both counts, 0 to 1 ("Glance to Count", Fig. 4); 1 where both are 0."""
    low, high = np.minimum(ground_truth, predicted), np.maximum(ground_truth, predicted)
    return np.mean(np.where(high > 0, np.maximum(low, 0) / np.where(high > 0, high, 1), 1.0), -1)


def bias(ground_truth, predicted):
    """Returns the mean of predicted - true, people an image: below 0 where counts are too low."""
    return np.mean(predicted - ground_truth, -1)


METRICS = {"mae": mae, "rmse": rmse, "nae": nae, "mre": mre, "bias": bias}


def bootstrap_intervals(ground_truth, predicted, resamples=10_000, confidence=0.95, seed=0) -> dict:
    """Computes percentile bootstrap intervals over images.

    Args:
      ground_truth: `(images,)` counts.
      predicted: `(images,)` counts.
      resamples: how many times as many images are drawn with replacement.
      confidence: mass inside the interval.
      seed: of the draws.

    Returns:
      For each of `METRICS` a pair (low, high).
    """
    generator = np.random.default_rng(seed)
    values: dict[str, list] = {name: [] for name in METRICS}
    for images in draws(generator, len(ground_truth), resamples):
        for name, metric in METRICS.items():
            values[name].append(metric(ground_truth[images], predicted[images]))
    tail = (1 - confidence) / 2
    intervals = {}
    for name, parts in values.items():
        drawn = np.concatenate(parts)
        # A resample in which nobody is shown has no relative error.
        defined = drawn[~np.isnan(drawn)]
        intervals[name] = tuple(np.quantile(defined, [tail, 1 - tail])) if len(defined) else (np.nan, np.nan)
    return intervals


def paired_bootstrap(errors, baseline, resamples=10_000, confidence=0.95, seed=0) -> tuple[float, float]:
    """Computes the interval of how much the mean of `errors` lies above that of `baseline`, on the same images.

    Images are drawn with replacement, the same for both; seeds are, for each by itself, where there are several. What
    makes an image hard for both cancels out, so that differences are seen that the intervals of the means would hide.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 8; percentiles.

    Args:
      errors: `(seeds, images)` absolute errors.
      baseline: `(other_seeds, images)` absolute errors; zeros give the interval of the mean itself.
      resamples: how many times images and seeds are drawn.
      confidence: mass inside the interval.
      seed: of the draws.

    Returns:
      (low, high).

    Raises:
      ValueError: if the numbers of images differ.
    """
    errors, baseline = np.atleast_2d(errors), np.atleast_2d(baseline)
    images = errors.shape[1]
    if baseline.shape[1] != images:
        raise ValueError(
            f"`errors` and `baseline` must be of the same images. Received: {images}, {baseline.shape[1]}."
        )
    generator = np.random.default_rng(seed)
    means = []
    for drawn in draws(generator, images, resamples):
        count = len(drawn)
        difference = _mean_of_drawn_seeds(generator, errors, count) - _mean_of_drawn_seeds(generator, baseline, count)
        means.append(np.take_along_axis(difference, drawn, 1).mean(1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def draws(generator, images, resamples):
    """Yields the resamples in parts, `(some, images)`: as many images as there are, drawn with replacement."""
    # In parts: 10,000 resamples of 10,000 images would fill the memory.
    part = max(1, 10_000_000 // max(images, 1))
    for start in range(0, resamples, part):
        yield generator.integers(images, size=(min(part, resamples - start), images))


def _mean_of_drawn_seeds(generator, errors, count):
    """Returns `(count, images)`: the mean over as many seeds as there are, drawn with replacement."""
    seeds = len(errors)
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=count) / seeds @ errors
