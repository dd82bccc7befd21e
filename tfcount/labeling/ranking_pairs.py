"""Which of two images shows more objects: what labels of pairs imply, which of them are needed, and where they clash.

A label "a shows more than b" is an arc from a to b, and an image shows more than every image that it reaches ("Glance
to Count", section 3.2). Images are numbers 0 to `images - 1` here, and labels an array `(p, 2)`: the image that shows
more, the one that shows fewer.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from scipy.sparse import csgraph

from tfcount.records.files import write_file
from tfcount.records.labels import RELATIONS, RankingPair

HEADER = ("image_a", "image_b", "relation")
GREATER, LESS, CLOSE = RELATIONS

_WORD = 64

# Of the logarithms of counts: their standard deviation over images of one data set, that of a model's errors, and the
# width of the transition between ratios that a person does not tell apart and those that he does. Found on Part A of
# ShanghaiTech, where half of the questions are saved, or more, that random ones take.
_SPREAD, _MODEL_ERROR, _GLANCE = 0.9, 0.4, 0.1
# Slope at which the logistic function is nearest to the normal distribution function.
_LOGISTIC = 1.7


class Labels(NamedTuple):
    """What a person said of pairs of images.

    Attributes:
      greater: `(p, 2)` int64, the image that shows more and the one that shows fewer, in the order of the answers.
      close: `(q, 2)` int64, images that show about as many.
    """

    greater: np.ndarray
    close: np.ndarray


@dataclasses.dataclass(frozen=True)
class Order:
    """What labels say of all pairs.

    Attributes:
      reached: `(images, words)` uint64: bit `j % 64` of word `j // 64` of row i is 1 where image i shows more than j.
    """

    reached: np.ndarray

    def implies(self, more: np.ndarray, fewer: np.ndarray) -> np.ndarray:
        """Returns whether images `more` are known to show more than the images `fewer`, element by element: bool."""
        more, fewer = np.asarray(more), np.asarray(fewer)
        word, bit = np.divmod(fewer, _WORD)
        return (self.reached[more, word] >> bit.astype(np.uint64) & np.uint64(1)).astype(bool)

    def count(self) -> int:
        """Returns how many pairs are known, those that are labeled among them."""
        return int(np.bitwise_count(self.reached).sum())

    def pairs(self) -> np.ndarray:
        """Returns the pairs that are known, `(n, 2)` int64, those that are labeled among them."""
        images = len(self.reached)
        bits = np.unpackbits(self.reached.astype("<u8").view(np.uint8), axis=1, count=images, bitorder="little")
        return np.argwhere(bits)


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


def answered(labels: Labels, pairs: np.ndarray, counts: np.ndarray, ratio: float) -> Labels:
    """Returns labels with those added that somebody gives for pairs `(n, 2)` who knows the counts `(images,)`."""
    one, other = counts[pairs].T
    greater, less = one > ratio * other, other > ratio * one
    return Labels(
        np.concatenate([labels.greater, pairs[greater], pairs[less][:, ::-1]]),
        np.concatenate([labels.close, pairs[~(greater | less)]]),
    )


def rounds(counts: np.ndarray, number: int, ratio: float, seed: int, proposed: bool) -> Iterator[tuple[int, Labels]]:
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
    labels, questions = Labels(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)), 0
    while True:
        if proposed:
            pairs = propose(labels, images, number, seed + questions, ratio=ratio)
        else:
            pairs = everything[questions : questions + number]
        if not len(pairs):
            return
        questions += len(pairs)
        labels = answered(labels, pairs, counts, ratio)
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
    labels: Labels, images: int, number: int, seed: int, counts: np.ndarray | None = None, ratio: float = 2.0
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


def log_counts(labels: Labels, prior: np.ndarray, spread: float = _SPREAD, ratio: float = 2.0) -> np.ndarray:
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


def order_of(greater: np.ndarray, images: int) -> Order:
    """Computes what labels imply: the transitive closure.

    Args:
      greater: `(p, 2)` labels; the same label may be there several times.
      images: how many images there are.

    Raises:
      ValueError: if the labels contradict each other; see `find_cycle`.
    """
    return _sweep(greater, images)[0]


def needed(greater: np.ndarray, images: int) -> np.ndarray:
    """Returns the smallest set of labels that implies the others: the transitive reduction, which is unique.

    Args:
      greater: `(p, 2)` labels; the same label may be there several times.
      images: how many images there are.

    Returns:
      `(r, 2)` int64, sorted.

    Raises:
      ValueError: if the labels contradict each other; see `find_cycle`.
    """
    return _sweep(greater, images)[1]


def find_cycle(greater: np.ndarray, images: int) -> list[int]:
    """Finds labels that contradict each other: the first image shows more than the second, and so on, and the last more
    than the first.

    Args:
      greater: `(p, 2)` labels.
      images: how many images there are.

    Returns:
      The numbers of the labels of a short cycle, each beginning where the one before ends; empty if there is none. The
      first of them is the label to look at first: the one against which most other labels speak, by themselves or in
      twos, and of several the last.
    """
    greater = _checked(greater, images)
    arcs = scipy.sparse.csr_matrix((np.ones(len(greater)), (greater[:, 0], greater[:, 1])), (images, images))
    _, component = csgraph.connected_components(arcs, connection="strong")
    inside = greater[component[greater[:, 0]] == component[greater[:, 1]]]
    if not len(inside):
        return []
    cycle = _short_cycle(inside, images)
    labels = [
        int(np.flatnonzero((greater == pair).all(axis=1))[-1])
        for pair in zip(cycle, cycle[1:] + cycle[:1], strict=True)
    ]

    def doubt(label):
        more, fewer = greater[label]
        below, above = greater[greater[:, 0] == fewer, 1], greater[greater[:, 1] == more, 0]
        return np.sum(below == more) + len(np.intersect1d(below, above)), label

    first = labels.index(max(labels, key=doubt))
    return labels[first:] + labels[:first]


def _short_cycle(greater, images):
    """Returns the images of a cycle, each of which shows more than the next, if all labels lie on cycles.

    No cycle through one of these images is shorter: if one label alone is wrong, this is a shortest cycle of all.
    """
    codes, reversed_codes = (greater[:, a] * images + greater[:, 1 - a] for a in (0, 1))
    opposite = np.flatnonzero(np.isin(codes, reversed_codes))
    if opposite.size:
        return greater[opposite[0]].tolist()
    arcs = scipy.sparse.csr_matrix((np.ones(len(greater)), (greater[:, 0], greater[:, 1])), (images, images))

    def through(start):
        order, before = csgraph.breadth_first_order(arcs, start)
        # The nearest of the images that show more than this one, of all that it reaches.
        path = [int(order[np.isin(order, greater[greater[:, 1] == start, 0])][0])]
        while path[-1] != start:
            path.append(int(before[path[-1]]))
        return path[::-1]

    cycle: list[int] = []
    shorter = through(int(greater[0, 0]))
    while len(shorter) != len(cycle):
        cycle = shorter
        shorter = min(map(through, cycle), key=len)
    return cycle


def check(labels: Labels, ids: Sequence[str]) -> Order:
    """Checks that labels do not contradict each other, and returns what they imply.

    Args:
      labels: the labels.
      ids: names of the images.

    Raises:
      ValueError: if they do; the message names the labels and the one to look at first.
    """
    cycle = find_cycle(labels.greater, len(ids))
    if cycle:
        said = [f"{ids[more]!r} shows more than {ids[fewer]!r}" for more, fewer in labels.greater[cycle].tolist()]
        raise ValueError(
            f"Labels contradict each other: {', '.join(said)}. Look at the first of these {len(cycle)} first: most "
            "others speak against it. A new answer for the same two images takes its place."
        )
    order = order_of(labels.greater, len(ids))
    for pairs in (labels.close, labels.close[:, ::-1]):
        for more, fewer in pairs[order.implies(*pairs.T)].tolist():
            raise ValueError(
                f"Labels contradict each other: {ids[more]!r} shows about as many as {ids[fewer]!r}, and more by other "
                "labels. A new answer for the same two images takes the place of the label."
            )
    return order


def read_answers(path: str, ids: Iterable[str]) -> list[RankingPair]:
    """Reads labels of pairs from a CSV file with the header `image_a,image_b,relation`.

    `relation` is "greater" if image_a shows more, "less" if it shows fewer, "close", or empty where nobody has answered
    yet: such lines are passed over.

    Args:
      path: of the file.
      ids: names of the images; those of the file are among them.

    Raises:
      ValueError: if a line cannot be understood, names an image twice, or one that does not exist.
    """
    known, pairs = set(ids), []
    try:
        # "utf-8-sig" since spreadsheets put a byte order mark in front.
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file, skipinitialspace=True)
            header = tuple(name.strip().lower() for name in next(table, ()))
            if header != HEADER:
                raise ValueError(f"{path} has the header {','.join(header)!r}. It must be `{','.join(HEADER)}`.")
            for row in table:
                where = f"{path}, line {table.line_num}"
                if not row:
                    continue
                if len(row) != len(HEADER):
                    raise ValueError(f"{where}: must have {len(HEADER)} values. Received: {','.join(row)!r}.")
                one, other, relation = (value.strip() for value in row)
                for name in (one, other):
                    if name not in known:
                        raise ValueError(f"{where}: there is no image {name!r}. Correct the name, or remove the line.")
                if one == other:
                    raise ValueError(f"{where}: compares the image {one!r} with itself. Remove the line.")
                if relation and relation not in RELATIONS:
                    raise ValueError(f"{where}: `relation` must be one of {RELATIONS}. Received: {relation!r}.")
                if relation:
                    pairs.append(RankingPair(one, other, relation, "human"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded as UTF-8 ({error}): save it as UTF-8.") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file ({error}).") from error
    return pairs


def merge(kept: Iterable[RankingPair], answers: Iterable[RankingPair]) -> list[RankingPair]:
    """Adds answers to labels: of the same two images, an answer takes the place of what was said before.

    Answers that say the same are one. Those that contradict each other stay, for `check` to tell.
    """

    def statement(pair):
        """Returns a pair in the one form of all that say the same."""
        if pair.relation == LESS or (pair.relation == CLOSE and pair.id_b < pair.id_a):
            relation = GREATER if pair.relation == LESS else CLOSE
            return pair._replace(id_a=pair.id_b, id_b=pair.id_a, relation=relation)
        return pair

    new = list(dict.fromkeys(map(statement, answers)))
    answered_again = {frozenset((pair.id_a, pair.id_b)) for pair in new}
    return [pair for pair in kept if frozenset((pair.id_a, pair.id_b)) not in answered_again] + new


def against_counts(greater: np.ndarray, counts: np.ndarray, ids: Sequence[str]) -> list[str]:
    """Tells of labels that counts contradict.

    Args:
      greater: `(p, 2)` labels.
      counts: `(images,)`, NaN where it is unknown.
      ids: names of the images.

    Returns:
      A line for each of these labels.
    """
    # Of many labels, or of all that follows from them, few are told.
    wrong = greater[counts[greater[:, 0]] < counts[greater[:, 1]]]
    return [
        f"{ids[more]!r} is said to show more than {ids[fewer]!r}, and has {counts[more]:g} to {counts[fewer]:g}."
        for more, fewer in np.unique(wrong, axis=0).tolist()
    ]


def write_questions(path: str, pairs: np.ndarray, ids: Sequence[str]) -> None:
    """Writes pairs `(n, 2)` of images as `read_answers` reads them, without the answers."""
    text = io.StringIO()
    rows = [(ids[one], ids[other], "") for one, other in pairs.tolist()]
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    write_file(path, text.getvalue())


def numbered(pairs: Iterable[RankingPair], ids: Sequence[str]) -> Labels:
    """Returns labels with the numbers of the images, their places among `ids`, in place of their names."""
    number = {name: index for index, name in enumerate(ids)}
    greater, close = [], []
    for pair in pairs:
        images = (number[pair.id_a], number[pair.id_b])
        if pair.relation == CLOSE:
            close.append(images)
        else:
            greater.append(images if pair.relation == GREATER else images[::-1])
    return Labels(*(np.array(labels, np.int64).reshape(-1, 2) for labels in (greater, close)))


def _checked(greater, images):
    greater = np.asarray(greater, np.int64).reshape(-1, 2)
    if greater.size and (greater.min() < 0 or greater.max() >= images):
        raise ValueError(f"Images must be 0 to {images - 1}. Received: {greater.min()} to {greater.max()}.")
    alone = greater[greater[:, 0] == greater[:, 1], 0]
    if alone.size:
        raise ValueError(f"Image {alone[0]} is compared with itself.")
    return greater


def _sweep(greater, images):
    """Returns the closure and the reduction, in one pass from the images that show least to those that show most."""
    greater = _checked(greater, images)
    # Sorted by the image that shows more, each label once.
    more, fewer = np.divmod(np.unique(greater[:, 0] * images + greater[:, 1]), max(images, 1))
    starts = np.searchsorted(more, np.arange(images + 1))
    reached = np.zeros((images, -(-images // _WORD)), np.uint64)
    bits = np.uint64(1) << (np.arange(images) % _WORD).astype(np.uint64)
    keep = np.zeros(len(more), bool)
    for image in _from_least_to_most(more, fewer, images):
        labels = slice(starts[image], starts[image + 1])
        below = fewer[labels]
        if not below.size:
            continue
        # What is reached through another image needs no label of its own.
        through = np.bitwise_or.reduce(reached[below], axis=0)
        keep[labels] = (through[below // _WORD] & bits[below]) == 0
        np.bitwise_or.at(through, below // _WORD, bits[below])
        reached[image] = through
    return Order(reached), np.stack([more[keep], fewer[keep]], axis=1)


def _from_least_to_most(more, fewer, images):
    """Returns the images so that each comes after those that it shows more than; raises ValueError at a cycle."""
    by_fewer = np.argsort(fewer, kind="stable")
    above = more[by_fewer]
    starts = np.searchsorted(fewer[by_fewer], np.arange(images + 1))
    waiting = np.bincount(more, minlength=images)
    front = np.flatnonzero(waiting == 0)
    ordered = []
    while front.size:
        ordered.append(front)
        next_above = np.concatenate([above[starts[image] : starts[image + 1]] for image in front])
        done, times = np.unique(next_above, return_counts=True)
        waiting[done] -= times
        front = done[waiting[done] == 0]
    result = np.concatenate(ordered) if ordered else np.zeros(0, np.int64)
    if len(result) < images:
        raise ValueError("The labels contradict each other: see `find_cycle`.")
    return result
