"""What the benchmarks share: interleaved timing, records to measure on, the line that tells the result."""

import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

from tfcount.banner import import_tensorflow

import_tensorflow()

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHA = ROOT / "data" / "sha"
SYNTHETIC = ROOT / "data" / "benchmark"


def records() -> str:
    """Returns a folder of records: ShanghaiTech Part A if it was built, rendered crowds of its size otherwise."""
    if (SHA / "manifest.json").exists():
        return str(SHA)
    if not (SYNTHETIC / "manifest.json").exists():
        from tfrecords_tools import synthesize

        synthesize.synthesize(str(SYNTHETIC), train_images=60, test_images=20, height=768, width=1024)
    print(f"{SHA} does not exist: measured on rendered crowds in {SYNTHETIC}.")
    return str(SYNTHETIC)


def medians(functions: dict[str, Callable], repeats: int, warmup: int = 2) -> dict[str, float]:
    """Times functions in turn, so that what slows the machine for a while slows all of them.

    Args:
      functions: what to call, by name.
      repeats: how often each is timed.
      warmup: how often each is called before.

    Returns:
      The median of the seconds of each.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    seconds: dict[str, list] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def resident(name: str) -> int:
    """Returns bytes of memory that Linux says of this process: "VmRSS" now, "VmHWM" at most.

    Not getrusage: what it tells includes the memory of the process that started this one.
    """
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def finish(ratio: float, bound: float, largest: bool) -> None:
    """Prints the last line of a benchmark and ends it, with exit code 1 if the bound is missed.

    Args:
      ratio: what was measured.
      bound: its limit.
      largest: whether the bound is the largest legal ratio, not the smallest.
    """
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{name}: ratio={ratio:.4g} bound={bound:g}")
    sys.exit(0 if (ratio <= bound if largest else ratio >= bound) else 1)
