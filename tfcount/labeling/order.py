"""Which of two images shows more objects: what labels of pairs imply, which of them are enough, and where they clash.

A label "a shows more than b" is an arc from a to b, and an image shows more than every image that it reaches ("Glance
to Count", section 3.2). Images are numbers 0 to `images - 1` here, and labels an array `(p, 2)`: the image that shows
more, the one that shows fewer.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.sparse import csgraph

_WORD = 64


class PairLabels(NamedTuple):
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


def order_of(greater: np.ndarray, images: int) -> Order:
    """Computes what labels imply: the transitive closure.

    Args:
      greater: `(p, 2)` labels; the same label may be there several times.
      images: how many images there are.

    Raises:
      ValueError: if the labels contradict each other; see `find_cycle`.
    """
    return _sweep(greater, images)[0]


def reduction(greater: np.ndarray, images: int) -> np.ndarray:
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


def check(labels: PairLabels, ids: Sequence[str]) -> Order:
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
