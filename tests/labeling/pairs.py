"""Labels of pairs, as tests make them."""

import numpy as np

from tfcount.labeling.order import PairLabels


def as_labels(greater, close=()):
    return PairLabels(*(np.array(pairs, np.int64).reshape(-1, 2) for pairs in (greater, close)))


def random_labels(rng, images, number):
    """Labels without contradiction, some of them twice."""
    rank = rng.permutation(images)
    pairs = rng.integers(0, images, (number, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.where((rank[pairs[:, 0]] > rank[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])


def as_set(pairs):
    return set(map(tuple, np.asarray(pairs).tolist()))
