"""The line through anchors, images with known counts: it makes a count of the sum of a map that only ranks."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class AnchorLine:
    """The line from the potential of an image, the sum of its map, to a count: `max(0, slope * sum + intercept)`.

    Source: "Glance to Count", section 3.4 and "Anchoring Mapping" of section 4.1. A counter that was trained with
    counts or points has the line that changes nothing, but where `tfcount.calibration` fitted another.

    Attributes:
      slope: people for each unit of the sum.
      intercept: people where the sum is 0.
      lowest: smallest count of an anchor; below it counts are extrapolated.
      highest: largest count of an anchor; above it counts are extrapolated.
      images: how many anchors there are.
      error: root of the mean squared difference between the line and the counts of the anchors, people.
    """

    slope: float = 1.0
    intercept: float = 0.0
    lowest: float = 0.0
    highest: float = math.inf
    images: int = 0
    error: float = 0.0

    def count(self, potential: float) -> float:
        """Returns the count of an image with this sum."""
        return max(0.0, self.slope * potential + self.intercept)

    def extrapolates(self, count: float) -> bool:
        """Returns whether no anchor has so few, or so many, people."""
        return not self.lowest <= count <= self.highest


def fit(potentials, counts) -> AnchorLine:
    """Fits the line by least squares.

    Args:
      potentials: `(n,)` sums of the maps of the anchors.
      counts: `(n,)` numbers of people in them.

    Raises:
      ValueError: if fewer than two anchors differ in their counts, a number is not finite, or potentials do not grow
        with the counts.
    """
    potentials, counts = np.asarray(potentials, np.float64), np.asarray(counts, np.float64)
    if not (np.isfinite(potentials).all() and np.isfinite(counts).all()):
        raise ValueError("Anchors need potentials and counts that are finite.")
    if len(np.unique(counts)) < 2:
        raise ValueError(
            f"{len(counts)} anchors with {len(np.unique(counts))} different counts give no line: take more anchors, "
            "from images with few and with many people."
        )
    spread = potentials - potentials.mean()
    covariance = float(np.mean(spread * counts))
    if covariance <= 0:
        raise ValueError(
            f"The potentials of the {len(counts)} anchors do not grow with their counts (correlation "
            f"{_correlation(potentials, counts):.2f}): the counter does not rank. Train it longer, or look at the "
            "labels of pairs and at the counts of the anchors."
        )
    slope = covariance / float(np.mean(spread**2))
    intercept = float(counts.mean() - slope * potentials.mean())
    error = float(np.sqrt(np.mean((slope * potentials + intercept - counts) ** 2)))
    return AnchorLine(slope, intercept, float(counts.min()), float(counts.max()), len(counts), error)


def _correlation(one, other):
    if one.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
