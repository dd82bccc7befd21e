"""What 1,000,000 labels of pairs of 10,000 images imply, and which of them are needed.

ratio: the largest share of a limit that is taken: 10 s for the closure, 10 s for the smallest set that implies it, 10 s
to find the cycle that one wrong label makes, and 1 GiB for the whole process; at most 1. Labels are between random
images, in a random order. On 300 images, closure and reduction must be those of networkx.
"""

import time

from measuring import finish, resident
import networkx
import numpy as np

from tfcount.labeling.order import find_cycle, order_of, reduction

IMAGES, LABELS = 10_000, 1_000_000
SECONDS, BYTES = 10.0, 2**30


def random_labels(images, labels):
    """Returns labels without contradiction, `(labels, 2)`."""
    generator = np.random.default_rng(0)
    rank = generator.permutation(images)
    one = generator.integers(0, images, labels)
    other = (one + generator.integers(1, images, labels)) % images
    return np.where((rank[one] > rank[other])[:, None], np.stack([one, other], 1), np.stack([other, one], 1))


def check_small_sets():
    """Raises if the closure or the reduction is not that of networkx."""
    labels = random_labels(300, 2000)
    graph = networkx.DiGraph(map(tuple, labels.tolist()))
    for name, pairs, expected in (
        ("closure", order_of(labels, 300).pairs(), networkx.transitive_closure_dag(graph)),
        ("reduction", reduction(labels, 300), networkx.transitive_reduction(graph)),
    ):
        if set(map(tuple, pairs.tolist())) != set(expected.edges):
            raise SystemExit(f"The {name} is not that of networkx.")
    print("300 images, 2,000 labels: closure and reduction as networkx has them")


def main():
    """Measures, prints a table and the result."""
    check_small_sets()
    labels = random_labels(IMAGES, LABELS)
    # The image that shows fewest of three is said to show more than the first.
    more, between = labels[0]
    fewest = labels[labels[:, 0] == between][0, 1]
    wrong = np.concatenate([labels, [[fewest, more]]])
    shares = []
    for name, compute in (
        ("closure", lambda: f"{order_of(labels, IMAGES).count():,} pairs known"),
        ("reduction", lambda: f"{len(reduction(labels, IMAGES)):,} labels needed"),
        ("contradiction", lambda: f"{len(find_cycle(wrong, IMAGES))} labels in a cycle"),
    ):
        begin = time.perf_counter()
        found = compute()
        seconds = time.perf_counter() - begin
        shares.append(seconds / SECONDS)
        print(f"{name:<14}{found:<28}{seconds:>8.2f} s of {SECONDS:g}")
    memory = resident("VmHWM")
    shares.append(memory / BYTES)
    print(f"{'memory':<14}{'of the whole process':<28}{memory / 2**20:>8.0f} MiB of {BYTES / 2**20:g}")
    finish(max(shares), 1, largest=True)


if __name__ == "__main__":
    main()
