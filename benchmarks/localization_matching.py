"""Matching of 10,000 predictions with 10,000 heads, and true positives at every threshold for 100 sigmas.

ratio: the largest share of its limit that a case takes, 2 s for a matching and 60 s for 100 sigmas; at most 1.
Predictions are heads moved by 4 pixels (standard deviation along each axis), a tenth of them missed, and as many others
that are like heads in where they are. On small crowds, the numbers of true positives must be those of trying all pairs.
"""

import functools
import time

from measuring import finish, medians
import numpy as np

from tfcount.metrics import localization

HEADS = 10_000
WIDTH, HEIGHT = 4000, 3000
MATCH_LIMIT, CURVE_LIMIT = 2.0, 60.0
MISSED, JITTER = 0.1, 4.0
SMALL_CROWDS, SMALL = 300, 7


def uniform(generator, count):
    """Returns points anywhere in the image, `(count, 2)`."""
    return generator.uniform(0, [WIDTH, HEIGHT], (count, 2))


def clustered(generator, count, clusters=20, spread=60.0):
    """Returns points in round clusters, `(count, 2)`."""
    # The same clusters for heads and for what is taken for them.
    centers = np.random.default_rng(1).uniform(0, [WIDTH, HEIGHT], (clusters, 2))
    points = centers[generator.integers(clusters, size=count)] + generator.normal(0, spread, (count, 2))
    return np.clip(points, 0, [WIDTH, HEIGHT])


def crowd(place):
    """Returns predictions `(n, 2)`, their scores `(n,)` and heads `(m, 2)`."""
    generator = np.random.default_rng(0)
    heads = place(generator, HEADS)
    missed = int(MISSED * HEADS)
    found = heads[missed:] + generator.normal(0, JITTER, (HEADS - missed, 2))
    scores = np.concatenate([generator.uniform(0.2, 1, len(found)), generator.uniform(0, 0.5, missed)])
    return np.concatenate([found, place(generator, missed)]), scores, heads


def most_pairs(near):
    """Returns the size of a maximum matching by trying all, given which pairs `(n, m)` may be."""

    @functools.cache
    def best(index, taken):
        if index == len(near):
            return 0
        free = [head for head in np.flatnonzero(near[index]).tolist() if head not in taken]
        return max([best(index + 1, taken)] + [1 + best(index + 1, taken | {head}) for head in free])

    return best(0, frozenset())


def check_small_crowds():
    """Raises if a number of true positives is not that of trying all pairs."""
    generator = np.random.default_rng(0)
    for _ in range(SMALL_CROWDS):
        n, m = generator.integers(1, SMALL + 1, 2)
        predicted, heads = generator.integers(0, 10, (n, 2)), generator.integers(0, 10, (m, 2))
        sigma = float(generator.integers(1, 6))
        expected = most_pairs(np.linalg.norm(predicted[:, None] - heads[None], axis=-1) <= sigma)
        matched = len(localization.match(predicted, heads, sigma))
        gained = int(localization.true_positive_gains(predicted, np.zeros(n), heads, [sigma]).sum())
        if not expected == matched == gained:
            raise SystemExit(f"True positives: {matched} and {gained}, not {expected}: {predicted}, {heads}, {sigma}.")
    print(f"{SMALL_CROWDS} crowds of up to {SMALL} predictions and heads: true positives as by trying all pairs")


def main():
    """Measures, prints a table and the result."""
    check_small_crowds()
    print(f"{'heads':<12}{'sigma':>9}{'true positives':>16}{'seconds':>10}{'limit':>7}")
    ratio = 0.0
    for place in (uniform, clustered):
        predicted, scores, heads = crowd(place)
        for sigma in (8.0, 100.0):
            pairs = localization.match(predicted, heads, sigma)
            call = functools.partial(localization.match, predicted, heads, sigma)
            seconds = medians({"match": call}, repeats=3, warmup=0)["match"]
            ratio = max(ratio, seconds / MATCH_LIMIT)
            print(f"{place.__name__:<12}{sigma:>9g}{len(pairs):>16}{seconds:>10.3f}{MATCH_LIMIT:>7g}")
        begin = time.perf_counter()
        gains = localization.true_positive_gains(predicted, scores, heads, localization.UCF_QNRF_SIGMAS)
        seconds = time.perf_counter() - begin
        ratio = max(ratio, seconds / CURVE_LIMIT)
        if gains[-1].sum() != len(pairs):
            raise SystemExit(f"True positives at 100 pixels: {len(pairs)} by one way, {gains[-1].sum()} by the other.")
        found = f"{gains[0].sum()} to {gains[-1].sum()}"
        print(f"{place.__name__:<12}{'1 to 100':>9}{found:>16}{seconds:>10.3f}{CURVE_LIMIT:>7g}")
    finish(ratio, 1, largest=True)


if __name__ == "__main__":
    main()
