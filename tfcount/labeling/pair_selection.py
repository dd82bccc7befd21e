"""Which pairs of images to ask a person next, and what somebody would say who knows the counts.

Sections and tables are those of "Glance to Count". Images are numbers, and labels pairs of them, as in `order`.
"""

from collections.abc import Iterator

import numpy as np
import scipy.optimize
import scipy.special

from tfcount.labeling.order import PairLabels, order_of

# Of the logarithms of counts: their standard deviation over images of one data set, that of a model's errors, and the
# width of the transition between ratios that a person does not tell apart and those that he does. Found on Part A of
# ShanghaiTech, where half of the questions are saved, or more, that random ones take.
_SPREAD, _MODEL_ERROR, _GLANCE = 0.9, 0.4, 0.1
# Slope at which the logistic function is nearest to the normal distribution function.
_LOGISTIC = 1.7


def from_counts(counts: np.ndarray, ratio: float) -> np.ndarray:
    """Returns the pairs that a person tells at a glance: those with `counts[a] > ratio * counts[b]`.

    Source: section 3.2 ("more than twice") and Table 2 (ratios 1, 1.5, 2 and 3).

    Args:
      counts: `(images,)`, number of objects in each image; NaN where it is unknown, which makes no pair.
      ratio: at least 1.

    Returns:
      `(p, 2)` int64: the image that shows more, the one that shows fewer.

    Raises:
      ValueError: if the ratio is below 1.
    """
    if not ratio >= 1:
        raise ValueError(f"`ratio` must be at least 1. Received: ratio={ratio}.")
    counts = np.asarray(counts, np.float64)
    return np.argwhere(counts[:, None] > ratio * counts)


def answer(labels: PairLabels, pairs: np.ndarray, counts: np.ndarray, ratio: float) -> PairLabels:
    """Returns labels with those added that somebody gives for pairs `(n, 2)` who knows the counts `(images,)`."""
    one, other = counts[pairs].T
    greater, less = one > ratio * other, other > ratio * one
    return PairLabels(
        np.concatenate([labels.greater, pairs[greater], pairs[less][:, ::-1]]),
        np.concatenate([labels.close, pairs[~(greater | less)]]),
    )


def rounds(
    counts: np.ndarray, number: int, ratio: float, seed: int, proposed: bool
) -> Iterator[tuple[int, PairLabels]]:
    """Asks somebody who knows the counts, a round of questions after the other, until nothing is left to ask.

    Args:
      counts: `(images,)`.
      number: questions a round.
      ratio: of counts that this somebody tells apart; others are close.
      seed: of what is drawn at random.
      proposed: whether `propose` chooses the questions; if not, they are drawn at random.

    Yields:
      How many questions were asked so far, and what was said.
    """
    images = len(counts)
    if not proposed:
        everything = np.random.default_rng(seed).permutation(np.argwhere(np.triu(np.ones((images, images)), 1)))
    labels, questions = PairLabels(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)), 0
    while True:
        if proposed:
            pairs = propose(labels, images, number, seed + questions, ratio=ratio)
        else:
            pairs = everything[questions : questions + number]
        if not len(pairs):
            return
        questions += len(pairs)
        labels = answer(labels, pairs, counts, ratio)
        yield questions, labels


def sparse_first(pairs: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Draws pairs to ask a person, at random, but first of images that are in no other one.

    Source: section 4.4: before training every image is in one pair, zeta(D) = 1.

    Args:
      pairs: `(p, 2)` pairs to choose from.
      number: how many to draw at most.
      seed: of the order.

    Returns:
      `(min(number, p), 2)` int64.
    """
    pairs = np.random.default_rng(seed).permutation(np.asarray(pairs, np.int64))
    seen: set[int] = set()
    fresh = np.zeros(len(pairs), bool)
    for index, pair in enumerate(pairs.tolist()):
        if seen.isdisjoint(pair):
            seen.update(pair)
            fresh[index] = True
    return np.concatenate([pairs[fresh], pairs[~fresh]])[:number]


def propose(
    labels: PairLabels, images: int, number: int, seed: int, counts: np.ndarray | None = None, ratio: float = 2.0
) -> np.ndarray:
    """Chooses the pairs to ask a person next: none that was asked, or whose answer follows from others.

    First come images that are in no label, in couples drawn at random (section 4.4: zeta(D) = 1). Then the pairs from
    whose answer most is expected: the probability that a person tells them apart, times the square root of how many
    pairs become known. How many objects an image shows is estimated from the labels, and from `counts`. No image is in
    two of the pairs, unless there are too few.

    Args:
      labels: what was said.
      images: how many images there are; time and memory grow with their square.
      number: how many pairs to choose at most.
      seed: of what is drawn at random.
      counts: `(images,)` what a model counts, or None.
      ratio: of counts that a person tells apart.

    Returns:
      `(n, 2)` int64.

    Raises:
      ValueError: if the labels contradict each other; see `find_cycle`.
    """
    generator = np.random.default_rng(seed)
    reached = np.zeros((images, images), bool)
    reached[tuple(order_of(labels.greater, images).pairs().T)] = True
    done = reached | np.eye(images, dtype=bool)
    done[tuple(labels.close.T)] = True
    done |= done.T
    said = np.bincount(np.concatenate([labels.greater.ravel(), labels.close.ravel()]), minlength=images)
    alone = generator.permutation(np.flatnonzero(said == 0))
    first = np.sort(alone[: len(alone) // 2 * 2].reshape(-1, 2))
    done[tuple(first.T)] = True

    spread = _SPREAD if counts is None else _MODEL_ERROR
    prior = np.zeros(images) if counts is None else np.log(np.maximum(counts, 1))
    logs = log_counts(labels, prior, spread, ratio)
    # Every label halves, about, what is left of an image's doubt.
    doubt = spread**2 / (1 + said / 2)
    width = np.sqrt(_GLANCE**2 + doubt[:, None] + doubt)
    told = scipy.special.expit(_LOGISTIC * (logs[:, None] - logs - np.log(ratio)) / width)
    worth = told * np.sqrt(_would_follow(reached))
    worth += worth.T
    # Of equal worth at random.
    worth = np.triu(np.where(done, 0, worth * (1 + 1e-6 * generator.random(worth.shape))), 1)
    ranked = np.argsort(-worth, axis=None)[: np.count_nonzero(worth)]
    # In rounds: in each, an image is in one pair.
    waiting = np.concatenate([first, np.stack(np.divmod(ranked, images), 1)]).tolist()
    chosen: list[list[int]] = []
    while waiting and len(chosen) < number:
        used: set[int] = set()
        later = []
        for pair in waiting:
            if len(chosen) < number and used.isdisjoint(pair):
                chosen.append(pair)
                used.update(pair)
            else:
                later.append(pair)
        waiting = later
    return np.array(chosen, np.int64).reshape(-1, 2)


def log_counts(labels: PairLabels, prior: np.ndarray, spread: float = _SPREAD, ratio: float = 2.0) -> np.ndarray:
    """Estimates the logarithms of the counts of images from labels of pairs.

    The most probable values, if image a is said to show more than b with the probability
    `sigmoid((x_a - x_b - log(ratio)) / 0.1)`, and neither of them more otherwise.

    Source: Rao and Kupper, "Ties in paired-comparison experiments", JASA 1967.

    Args:
      labels: what was said.
      prior: `(images,)` what is expected without labels.
      spread: standard deviation of that.
      ratio: of counts that a person tells apart.
    """
    more, fewer = labels.greater.T
    one, other = labels.close.T
    threshold = np.log(ratio)

    def loss(logs):
        """Returns the negative logarithm of the probability, and its gradient."""
        value = np.sum((logs - prior) ** 2) / (2 * spread**2)
        gradient = (logs - prior) / spread**2
        # "Close" says of both that it is not more.
        for sign, high, low in ((1, more, fewer), (-1, one, other), (-1, other, one)):
            margin = sign * (logs[high] - logs[low] - threshold) / _GLANCE
            value -= np.sum(scipy.special.log_expit(margin))
            slope = sign * scipy.special.expit(-margin) / _GLANCE
            gradient -= np.bincount(high, slope, len(logs)) - np.bincount(low, slope, len(logs))
        return value, gradient

    return scipy.optimize.minimize(loss, prior, jac=True, method="L-BFGS-B").x


def _would_follow(reached):
    """Returns how many pairs become known if image i shows more than j: those between images above and below."""
    itself = np.eye(len(reached), dtype=bool)
    above, below = ((matrix | itself).astype(np.float32) for matrix in (reached.T, reached))
    known = above @ reached.astype(np.float32) @ below.T
    return above.sum(1)[:, None] * below.sum(1) - known
