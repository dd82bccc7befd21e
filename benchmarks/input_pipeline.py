"""Records to batches against what the training step of `resnet50` consumes.

ratio: batches a second that the stream gives over steps a second that the counter takes; at least 3.
"""

import itertools
import statistics
import time

from measuring import finish, medians
import supervised

REPEATS = 5
BATCHES = 20


def main():
    """Measures, prints a table and the result."""
    method, dataset = supervised.build()
    step = supervised.step_on(method, next(iter(dataset)))
    given = []

    def stream():
        # A new one each time, its start left out: one that was left alone has batches in stock.
        batches = iter(dataset)
        next(batches)
        begin = time.perf_counter()
        for batch in itertools.islice(batches, BATCHES):
            batch["count"].numpy()
        given.append((time.perf_counter() - begin) / BATCHES)

    consumed = medians({"step": step, "stream": stream}, REPEATS)["step"]
    print(f"{supervised.TITLE}, median of {REPEATS}")
    print(f"stream  {1 / statistics.median(given):>8.2f} batches a second")
    print(f"training{1 / consumed:>8.2f} steps a second")
    finish(consumed / statistics.median(given), 3, largest=False)


if __name__ == "__main__":
    main()
