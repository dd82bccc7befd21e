"""Precision, recall and F1 of predicted points: how many heads were found, and how many of the points are heads.

A prediction and a head may be paired if their distance is at most sigma, each with one other at most; the true
positives are the largest number of pairs. Over a set of images, true positives, predictions and heads are added up and
divided at the end: every head counts the same, in whatever image it is.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial

# Radii in pixels: of ShanghaiTech and JHU-CROWD++, and those over which UCF-QNRF averages.
FIXED_SIGMAS = (4.0, 8.0)
UCF_QNRF_SIGMAS = tuple(float(sigma) for sigma in range(1, 101))
# Radius of heads that NWPU gives radius 0: only a prediction right on them finds them, and it is a legal radius.
_NO_RADIUS = 1e-9


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall over a whole set, by the score that predictions must have.

    Attributes:
      thresholds: `(t,)` the distinct scores, falling; at the k-th, predictions of `thresholds[k]` or more are kept.
      precision: `(..., t)` part of the kept predictions that are true positives.
      recall: `(..., t)` part of the heads that are found; NaN if there are none.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def match(predicted, heads, sigma) -> np.ndarray:
    """Pairs predictions with heads, as many as possible.

    Candidates are the pairs at a distance of sigma at most, from a k-d tree. A pairing of maximum cardinality is a
    maximum flow from the predictions to the heads through edges of capacity 1 (Dinic's algorithm, `O(E sqrt(V))` for
    such graphs). Of several such pairings any one is returned, not that of the smallest distances: only the number of
    pairs means something.

    `scipy.sparse.csgraph.maximum_bipartite_matching` is not used: in SciPy 1.17 it visits dead ends again and again, in
    time that grows exponentially with the length of paths (SciPy issue 26147), and does not come to an end on 10,000
    points with a sigma of 100 pixels.

    Source: Wang et al., "NWPU-Crowd: a large-scale benchmark for crowd counting and localization", TPAMI 2020.

    Args:
      predicted: `(n, 2)`, (x, y) in pixels.
      heads: `(m, 2)`, (x, y) in pixels.
      sigma: a number, or `(m,)` one for each head: pixels, positive.

    Returns:
      `(k, 2)` int64: the index of a prediction and of its head, sorted by prediction.

    Raises:
      ValueError: if points are not finite or not `(n, 2)`, or a sigma is not positive and finite.

    Example:
      >>> match([[0, 0], [6, 0]], [[3, 0], [1, 0]], sigma=3)
      array([[0, 1],
             [1, 0]])
    """
    predicted, heads = _points(predicted, "predicted"), _points(heads, "heads")
    sigma = np.asarray(sigma, np.float64)
    if sigma.shape not in ((), (len(heads),)):
        raise ValueError(f"`sigma` must be a number or one for each of {len(heads)} heads. Received: {sigma.shape}.")
    _check_positive(sigma, "sigma")
    n, m = len(predicted), len(heads)
    prediction, head, _ = _candidates(predicted, heads, np.broadcast_to(sigma, m))
    if not len(prediction):
        return np.zeros((0, 2), np.int64)
    # Nodes: predictions, heads, source, sink.
    start = np.concatenate([prediction, np.full(n, n + m), n + np.arange(m)]).astype(np.int32)
    end = np.concatenate([n + head, np.arange(n), np.full(m, n + m + 1)]).astype(np.int32)
    capacity = np.ones(len(start), np.int32)
    graph = scipy.sparse.csr_array((capacity, (start, end)), shape=(n + m + 2, n + m + 2))
    flow = scipy.sparse.csgraph.maximum_flow(graph, n + m, n + m + 1).flow.tocoo()
    # Against each edge SciPy gives the negative flow.
    paired = (flow.data > 0) & (flow.row < n)
    pairs = np.stack([flow.row[paired], flow.col[paired] - n], -1).astype(np.int64)
    return pairs[np.argsort(pairs[:, 0])]


def localization_metrics(true_positives, predicted, heads) -> dict:
    """Computes precision, recall and F1 over a set of images.

    With sums over the images, `precision = true_positives / predicted`, `recall = true_positives / heads` and
    `f1 = 2 * true_positives / (predicted + heads)`, which is their harmonic mean.

    Args:
      true_positives: `(images,)` or `(..., images)`, number of pairs in each image, for example by sigma.
      predicted: `(images,)` or `(..., images)`, number of predictions.
      heads: `(images,)` or `(..., images)`, number of heads.

    Returns:
      `precision`, NaN if nothing was predicted; `recall`, NaN if there is no head; `f1`, NaN if neither. Each of shape
      `(...)`, in [0, 1].
    """
    true_positives, predicted, heads = (np.sum(values, -1) for values in (true_positives, predicted, heads))
    return {
        "precision": _ratio(true_positives, predicted),
        "recall": _ratio(true_positives, heads),
        "f1": _ratio(2 * true_positives, predicted + heads),
    }


def nwpu_sigmas(boxes) -> tuple[np.ndarray, np.ndarray]:
    """Computes the two radii of each head from its box: `int(min(w, h) / 2)` and `int(sqrt(w^2 + h^2) / 2)`.

    Boxes narrower than 2 pixels have a small radius of 0, returned as 1e-9: only a prediction right on the head is as
    near.

    Source: Wang et al., "NWPU-Crowd", TPAMI 2020.

    Args:
      boxes: `(n, 4)`, left, top, right, bottom, pixels.

    Returns:
      sigma_s and sigma_l, `(n,)` float64, pixels, positive.

    Raises:
      ValueError: if boxes are not finite or not `(n, 4)`, or a right or bottom edge comes before the opposite one.
    """
    boxes = _finite_rows(boxes, "boxes", 4)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    if np.any(width < 0) or np.any(height < 0):
        wrong = boxes[np.minimum(width, height) < 0][0].tolist()
        raise ValueError(f"`boxes` must be left, top, right, bottom. Received: {wrong}.")
    small, large = np.floor(np.minimum(width, height) / 2), np.floor(np.sqrt(width**2 + height**2) / 2)
    return np.maximum(small, _NO_RADIUS), np.maximum(large, _NO_RADIUS)


def true_positive_gains(predicted, scores, heads, sigmas) -> np.ndarray:
    """Finds which predictions add a true positive when they are added in the order of falling scores.

    The number of true positives of the predictions above any threshold, that is the size of a maximum matching, is the
    sum of their gains: one pass gives the whole precision-recall curve, exactly. A matching is grown by augmenting
    paths, which keep those predictions paired that are; sets of predictions that can be paired at once are the
    independent sets of a matroid, so that a prediction that cannot be added to the best matching of those before it
    adds nothing later either.

    Two facts make it quick. Heads that a failed search has met are met by no successful one after it, as none of them
    leads to a free head: each is passed over from then on. And a matching at one sigma is one at any larger sigma,
    where predictions first try the head that they had: most do so without a search.

    Args:
      predicted: `(n, 2)`, (x, y) in pixels.
      scores: `(n,)`, larger for surer predictions. The order of equal ones is free: see `precision_recall_curve`.
      heads: `(m, 2)`, (x, y) in pixels.
      sigmas: `(s,)` radii in any order, pixels, positive.

    Returns:
      `(s, n)` bool, in the order of `predicted`.

    Raises:
      ValueError: if points or scores are not finite, their shapes do not fit, or a sigma is not positive and finite.
    """
    predicted, heads = _points(predicted, "predicted"), _points(heads, "heads")
    scores, sigmas = np.asarray(scores, np.float64), np.asarray(sigmas, np.float64)
    if scores.shape != (len(predicted),):
        raise ValueError(f"`scores` must have shape ({len(predicted)},). Received: {scores.shape}.")
    if not np.all(np.isfinite(scores)):
        raise ValueError(f"`scores` must be finite. Received: {scores[~np.isfinite(scores)][0]}.")
    if sigmas.ndim != 1:
        raise ValueError(f"`sigmas` must have shape (s,). Received: {sigmas.shape}.")
    _check_positive(sigmas, "sigmas")
    n, m = len(predicted), len(heads)
    gains = np.zeros((len(sigmas), n), bool)
    if not gains.size:
        return gains
    order = np.argsort(-scores, kind="stable")
    prediction, head, squared = _candidates(predicted[order], heads, np.full(m, sigmas.max()))
    # The candidates of a prediction, the nearest first: those of a smaller sigma are the first ones.
    by_distance = np.lexsort((squared, prediction))
    prediction, head, squared = prediction[by_distance], head[by_distance], squared[by_distance]
    starts = np.searchsorted(prediction, np.arange(1, n))
    candidates = [some.tolist() for some in np.split(head, starts)]
    partners = [-1] * n
    for index in np.argsort(sigmas):
        near = np.bincount(prediction[squared <= sigmas[index] ** 2], minlength=n).tolist()
        partners = _augment(candidates, near, partners, m)
        gains[index, order] = np.array(partners) >= 0
    return gains


def precision_recall_curve(scores, gains, heads: int) -> PrecisionRecallCurve:
    """Computes precision and recall over a set of images at every threshold of the score.

    Args:
      scores: `(n,)` of the predictions of all images.
      gains: `(..., n)` bool, their `true_positive_gains`.
      heads: number of heads in all images.

    Returns:
      A point for each distinct score: predictions with equal scores are kept or dropped together.
    """
    scores = np.asarray(scores)
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: len(falling)])
    true_positives = np.cumsum(np.asarray(gains)[..., order], -1)[..., last]
    return PrecisionRecallCurve(falling[last], true_positives / (last + 1), _ratio(true_positives, heads))


def average_precision(scores, gains, heads: int) -> np.ndarray:
    """Computes the area under the precision-recall curve over a set of images.

    It is the sum over the thresholds of the precision times the growth of the recall, without interpolation, and
    without anything for recall that no threshold reaches. Predictions should therefore come from a low threshold: those
    that were dropped before cannot add to the area.

    Args:
      scores: `(n,)` of the predictions of all images.
      gains: `(..., n)` bool, their `true_positive_gains`.
      heads: number of heads in all images.

    Returns:
      `(...)` in [0, 1]; 0 if nothing was predicted, NaN if there is no head.
    """
    _, precision, recall = precision_recall_curve(scores, gains, heads)
    area = np.sum(precision * np.diff(recall, axis=-1, prepend=0), -1)
    return np.where(heads > 0, area, np.nan)[()]


def ucf_qnrf_metrics(scores, gains, heads, threshold: float) -> dict:
    """Computes the localization metrics of UCF-QNRF over a set of images: means over sigma = 1, 2, ... 100 pixels.

    At each sigma, precision and recall are those of `localization_metrics`, with true positives, predictions and heads
    added up over the images, and the area is `average_precision` of the predictions of all images in one order; then
    each is averaged over the sigmas.

    Source: Idrees et al., "Composition loss for counting, density map estimation and localization in dense crowds",
    ECCV 2018; Wan et al., "A generalized loss function for crowd counting and localization", CVPR 2021,
    Table 5. Neither says how the area is computed, and no code of theirs is public.

    Args:
      scores: for each image `(n,)`, people per cell.
      gains: for each image `(s, n)` bool, the `true_positive_gains` with `UCF_QNRF_SIGMAS`.
      heads: for each image the number of heads.
      threshold: precision and recall are those of the predictions with higher scores; the area is that of all of them.

    Returns:
      `precision`, `recall` and `auc`, in [0, 1]; NaN where not defined, see `localization_metrics`.

    Raises:
      ValueError: if there is no image.
    """
    if not len(scores):
        raise ValueError("No image with points was evaluated.")
    total = int(np.sum(heads))
    joined, joined_gains = np.concatenate(scores), np.concatenate(gains, -1)
    kept = joined > threshold
    metrics = localization_metrics(joined_gains[:, kept], kept, [total])
    # One sigma at a time: the curves of all at once would take a hundred times the memory.
    areas = [average_precision(joined, gain, total) for gain in joined_gains]
    return {
        "precision": float(np.mean(metrics["precision"])),
        "recall": float(np.mean(metrics["recall"])),
        "auc": float(np.mean(areas)),
    }


def _candidates(predicted, heads, sigma):
    """Lists the pairs that may be: index of a prediction, index of a head, squared distance; `sigma` is `(m,)`."""
    tree = scipy.spatial.cKDTree(predicted)
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    # The tree takes one radius for all: heads are asked for by powers of 2, so that few pairs come that are too far.
    exponents = np.frexp(sigma)[1]
    for exponent in np.unique(exponents) if len(predicted) else ():
        chosen = np.flatnonzero(exponents == exponent)
        # A little farther than needed: whether a pair at exactly sigma counts must not hang on how the tree rounds.
        radius = sigma[chosen].max() * (1 + 1e-9)
        near = tree.sparse_distance_matrix(scipy.spatial.cKDTree(heads[chosen]), radius, output_type="ndarray")
        prediction, head = near["i"], chosen[near["j"]]
        squared = np.sum(np.square(predicted[prediction] - heads[head]), -1)
        inside = squared <= sigma[head] ** 2
        parts.append((prediction[inside], head[inside], squared[inside]))
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def _augment(candidates, near, former, heads):
    """Pairs predictions in their order, each so that the matching grows, or not at all.

    Lists and not arrays: what is done, step by step, is read a value, change a value.

    Args:
      candidates: for each prediction the heads that it may be paired with.
      near: for each prediction how many of them, from the first on, are so at this sigma.
      former: for each prediction its head in a matching that is legal at this sigma, or -1.
      heads: number of heads.

    Returns:
      For each prediction its head, or -1.
    """
    count = len(candidates)
    owner, partner = [-1] * heads, [-1] * count
    # Which prediction's search met a head last, and from where; `count` for heads from which no free one is reached.
    met, reached_from = [-1] * heads, [-1] * heads
    # Candidates before these are taken, and stay so: no search need look at them again for a free one.
    taken = [0] * count
    for prediction in range(count):
        head = former[prediction]
        if head >= 0 and owner[head] < 0:
            owner[head], partner[prediction] = prediction, head
            continue
        # Breadth first over predictions that could leave their head to the one before them.
        queue, visited, free = [prediction], [], -1
        for at in queue:
            own, limit, first = candidates[at], near[at], taken[at]
            while first < limit and owner[own[first]] >= 0:
                first += 1
            taken[at] = first
            if first < limit:
                free = own[first]
                break
            for head in own[:limit]:
                if met[head] < prediction:
                    met[head], reached_from[head] = prediction, at
                    visited.append(head)
                    queue.append(owner[head])
        if free < 0:
            for head in visited:
                met[head] = count
            continue
        # Along the path back, everyone takes the head that the next one leaves.
        while at != prediction:
            left = partner[at]
            owner[free], partner[at] = at, free
            free, at = left, reached_from[left]
        owner[free], partner[prediction] = prediction, free
    return partner


def _ratio(numerator, denominator):
    """Returns the ratio, NaN where the denominator is 0."""
    denominator = np.asarray(denominator)
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)[()]


def _check_positive(values, name):
    wrong = values[~(np.isfinite(values) & (values > 0))]
    if wrong.size:
        raise ValueError(f"`{name}` must be positive and finite. Received: {wrong.flat[0]}.")


def _points(values, name):
    return _finite_rows(values, name, 2)


def _finite_rows(values, name, columns):
    """Returns `(n, columns)` float64; what holds nothing has no rows, whatever its shape."""
    values = np.asarray(values, np.float64)
    if not values.size:
        return np.zeros((0, columns))
    if values.ndim != 2 or values.shape[1] != columns:
        raise ValueError(f"`{name}` must have shape (n, {columns}). Received: {values.shape}.")
    wrong = np.flatnonzero(~np.isfinite(values).all(-1))
    if len(wrong):
        raise ValueError(f"`{name}` must be finite. Received: {values[wrong[0]].tolist()} in row {wrong[0]}.")
    return values
