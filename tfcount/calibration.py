"""Corrects the counts of a trained counter by a few counted images: with one factor, or with a line."""

import math
from typing import Any

import numpy as np

from tfcount.metrics import counting
from tfcount.ops.anchor_line import AnchorLine

FORMS = ("factor", "line")
# How a line that is no line is called where it takes the place of one.
NONE = "none"
# With fewer images the interval is that of chance.
_FEWEST = 5


def fit(form: str, sums, counts) -> tuple[AnchorLine, dict]:
    """Fits what makes counts of the sums of a counter's densities, and measures what that brings.

    A factor is the ratio of the totals, `sum(counts) / sum(sums)`: the ratio estimator (Cochran, "Sampling techniques",
    1977, section 6.2). An error in proportion to the count, which is what another camera brings, weighs the same in
    every image. A line is that of least squares; where nobody is, it may count somebody.

    What it brings is measured by leaving one out: each image is corrected by what the others give, for a correction
    always fits the images that it was made of. Where the others give none, the image stays as it is.

    Args:
      form: one of `FORMS`.
      sums: `(images,)` sums of the densities, people.
      counts: `(images,)` true counts, all known.

    Returns:
      The line, which extrapolates nowhere, and a summary: `form`, `images`, `slope`, `intercept`, `interval` of both
      (bootstrap over images, 95 %), `before` and `after`, each with `mae` and `bias` of the images, and `shown`:
      whether an interval leaves out what changes nothing, and the MAE falls.

    Raises:
      ValueError: if there are too few images, nobody is in them or is found, or counts do not grow with the sums.
    """
    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    _check(form, sums, counts)
    slope, intercept = (float(value) for value in _solve(form, sums, counts))
    error = float(counting.rmse(counts, np.maximum(slope * sums + intercept, 0)))
    line = AnchorLine(slope, intercept, images=len(counts), error=error)
    left_out = _leave_one_out(form, sums, counts)
    interval = _bootstrap(form, sums, counts)
    before, after = (
        {"mae": float(counting.mae(counts, found)), "bias": float(counting.bias(counts, found))}
        for found in (sums, left_out)
    )
    differs = any(not low <= plain <= high for (low, high), plain in zip(interval.values(), (1, 0), strict=True))
    summary: dict[str, Any] = {
        "form": form,
        "images": len(counts),
        "slope": slope,
        "intercept": intercept,
        "interval": interval,
        "before": before,
        "after": after,
        "shown": differs and after["mae"] < before["mae"],
    }
    return line, summary


def table(summary: dict) -> str:
    """Returns the summary of `fit` as text."""
    names = {"slope": "factor"} if summary["form"] == "factor" else {"slope": "slope", "intercept": "at 0"}
    lines = [f"{summary['images']} counted images"]
    for name, text in names.items():
        low, high = summary["interval"][name]
        lines.append(f"  {text:<8}{summary[name]:>9.3f}   95 % interval {low:.3f} to {high:.3f}")
    lines.append(f"  {'':<8}{'MAE':>9}{'bias':>9}")
    for name, text in (("before", ""), ("after", "   each image corrected by the others")):
        lines.append(f"  {name:<8}{summary[name]['mae']:>9.2f}{summary[name]['bias']:>+9.2f}{text}")
    return "\n".join(lines) + "\n"


def warnings(summary: dict) -> list[str]:
    """Returns what speaks against a correction, a sentence each."""
    found = []
    if summary["images"] < _FEWEST:
        found.append(
            f"{summary['images']} images are few: the interval is that of chance. Count {_FEWEST} or more, better 10."
        )
    if not summary["shown"]:
        found.append(
            "the correction is not shown to help: its interval holds what changes nothing, or the MAE of images that "
            "are left out does not fall. Count more images, or take it away with --form=none."
        )
    return found


def _check(form, sums, counts):
    """Raises ValueError where no correction follows from the images."""
    fewest = {"factor": 2, "line": 3}[form]
    if len(counts) < fewest:
        raise ValueError(
            f"A {form} needs {fewest} images or more with known counts, better 10. Received: {len(counts)}."
        )
    if not counts.any():
        raise ValueError(f"Nobody is in any of the {len(counts)} counted images: take some that show people.")
    if not sums.sum() > 0:
        raise ValueError(
            f"The counter finds nobody in the {len(counts)} counted images, which no {form} mends: train it longer, or "
            "on images of this kind."
        )
    if math.isnan(_solve(form, sums, counts)[0]):
        raise ValueError(
            f"The sums of the densities do not grow with the {len(counts)} counts, which gives no line: take images "
            "with few and with many people, or --form=factor."
        )


def _solve(form, sums, counts):
    """Returns slope and intercept `(...)` of sums and counts `(..., images)`; NaN where there are none."""
    if form == "factor":
        total = sums.sum(-1)
        slope = np.where(total > 0, counts.sum(-1) / np.where(total > 0, total, 1), np.nan)
        return slope, np.where(np.isnan(slope), np.nan, 0)
    spread = sums - sums.mean(-1, keepdims=True)
    variance, covariance = np.mean(spread**2, -1), np.mean(spread * counts, -1)
    # Counts that fall with the sums make a line by which a crowd is empty.
    grows = (variance > 0) & (covariance > 0)
    slope = np.where(grows, covariance / np.where(variance > 0, variance, 1), np.nan)
    return slope, counts.mean(-1) - slope * sums.mean(-1)


def _leave_one_out(form, sums, counts):
    """Returns `(images,)` counts, each by what the other images give."""
    found = []
    for index in range(len(counts)):
        slope, intercept = _solve(form, np.delete(sums, index), np.delete(counts, index))
        found.append(sums[index] if np.isnan(slope) else max(slope * sums[index] + intercept, 0))
    return np.array(found)


def _bootstrap(form, sums, counts):
    """Returns the 95 % intervals of slope and intercept, (low, high), of images that are drawn with replacement."""
    generator = np.random.default_rng(0)
    parts = [_solve(form, sums[drawn], counts[drawn]) for drawn in counting.draws(generator, len(counts), 10_000)]
    intervals = {}
    for name, drawn in zip(("slope", "intercept"), map(np.concatenate, zip(*parts, strict=True)), strict=True):
        # Draws of one image again and again give no line.
        low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975])
        intervals[name] = (float(low), float(high))
    return intervals
