"""Which images to count so that they give a line: anchors, from few people to many."""

import numpy as np


def spread(values, number: int) -> np.ndarray:
    """Chooses images that are spread evenly over the order of some values, the smallest and the largest among them.

    Args:
      values: `(n,)` what orders the images: counts, potentials, or how many others each is known to exceed.
      number: how many to choose.

    Returns:
      `(number,)` int64, their positions, by rising values; of equal values the first come first.

    Raises:
      ValueError: if there are fewer images, or the number is below 2.
    """
    values = np.asarray(values)
    if not 2 <= number <= len(values):
        raise ValueError(
            f"The number of anchors must be from 2 to the number of images, {len(values)}. Received: {number}."
        )
    ranks = np.round(np.linspace(0, len(values) - 1, number)).astype(np.int64)
    return np.argsort(values, kind="stable")[ranks]
