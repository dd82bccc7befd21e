"""Counters on the same images: what each of them said, and how their errors differ, paired."""

import csv
import dataclasses
import io
import itertools
import os
from typing import Any

import numpy as np

from tfcount.metrics import counting

PREDICTIONS = "predictions.csv"
# With fewer images, a bootstrap interval is that of chance.
_FEWEST = 10


@dataclasses.dataclass(frozen=True)
class Result:
    """What a counter, trained with one or several seeds, said of a set of images.

    Attributes:
      name: what to call it.
      ids: of the images, sorted.
      ground_truth: `(images,)`.
      predicted: `(seeds, images)`.
    """

    name: str
    ids: tuple[str, ...]
    ground_truth: np.ndarray
    predicted: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Absolute errors `(seeds, images)`."""
        return np.abs(self.predicted - self.ground_truth)


def predictions_csv(results) -> str:
    """Returns the predictions of an evaluation: `image_id,ground_truth,predicted` lines, sorted by id."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "ground_truth", "predicted"])
    for result in sorted(results, key=lambda result: result.image_id):
        writer.writerow([result.image_id, f"{result.ground_truth:g}", f"{result.predicted:.4f}"])
    return text.getvalue()


def read_results(folders) -> list[Result]:
    """Reads `predictions.csv` of each folder, or of its folders `seed_*`.

    Raises:
      FileNotFoundError: if a folder holds no predictions.
      ValueError: if a file is damaged, or is not of the same images as the first.
    """
    folders = [os.path.normpath(folder) for folder in folders]
    names = [os.path.basename(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = folders
    first, results = None, []
    for folder, name in zip(folders, names, strict=True):
        predicted = []
        for path in _prediction_files(folder):
            ids, truth, values = _read_predictions(path)
            first = first or (path, ids, truth)
            if (ids, truth) != first[1:]:
                differing = sorted(set(ids) ^ set(first[1])) or [
                    f"{identity}: {theirs:g} and {ours:g} people"
                    for identity, theirs, ours in zip(ids, truth, first[2], strict=True)
                    if theirs != ours
                ]
                raise ValueError(
                    f"{path} and {first[0]} are not of the same images ({len(differing)} differ, such as "
                    f"{differing[0]}): evaluate both on the same split."
                )
            predicted.append(values)
        results.append(Result(name, ids, np.array(truth), np.array(predicted)))
    return results


def summarize(results: list[Result]) -> list[dict]:
    """Computes for each result its MAE and, after the first, how it differs from that of the first.

    Returns:
      For each: `seeds`, `mae`, `interval`; after the first also `difference`, `difference_interval` and `verdict`:
      "better" or "worse" where the interval does not hold 0, "not shown" otherwise, and with fewer than 10 images.
    """
    rows: list[dict[str, Any]] = []
    for result in results:
        errors = result.errors
        row: dict[str, Any] = {
            "seeds": len(errors),
            "mae": float(errors.mean()),
            "interval": counting.paired_bootstrap(errors, np.zeros_like(errors)),
        }
        if rows:
            low, high = counting.paired_bootstrap(errors, results[0].errors)
            verdict = "better" if high < 0 else "worse" if low > 0 else "not shown"
            if errors.shape[1] < _FEWEST:
                verdict = f"not shown: fewer than {_FEWEST} images"
            row |= {
                "difference": row["mae"] - rows[0]["mae"],
                "difference_interval": (low, high),
                "verdict": verdict,
            }
        rows.append(row)
    return rows


def table(results: list[Result], rows: list[dict]) -> str:
    """Returns the comparison as text."""
    width = max(len(result.name) for result in results)
    lines = [
        f"{len(results[0].ids)} images; differences of |error| to {results[0].name}, paired, 95 % intervals",
        f"{'':<{width}}  seeds      MAE  {'interval':^18}  {'difference':>10}  {'interval':^18}",
    ]
    for result, row in zip(results, rows, strict=True):
        line = f"{result.name:<{width}}  {row['seeds']:>5}  {row['mae']:>7.2f}  {_interval(row['interval'])}"
        if "verdict" in row:
            line += f"  {row['difference']:>+10.2f}  {_interval(row['difference_interval'])}  {row['verdict']}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _prediction_files(folder):
    path = os.path.join(folder, PREDICTIONS)
    if os.path.isfile(path):
        return [path]
    seeds = sorted(name for name in os.listdir(folder) if name.startswith("seed_")) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name, PREDICTIONS) for name in seeds]
    if not paths or not all(os.path.isfile(path) for path in paths):
        raise FileNotFoundError(
            f"{folder!r} holds no {PREDICTIONS}, nor do all of its folders seed_*: call `python -m tfcount.evaluate`."
        )
    return paths


def _read_predictions(path):
    """Returns the ids, the true and the predicted counts that a file holds, by id."""
    with open(path, newline="", encoding="utf-8") as file:
        try:
            rows = sorted(
                (row["image_id"], float(row["ground_truth"]), float(row["predicted"])) for row in csv.DictReader(file)
            )
            ids, truth, predicted = zip(*rows, strict=True)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is empty or damaged: it must have lines `image_id,ground_truth,predicted` ({error})."
            ) from error
    if len(set(ids)) < len(ids):
        twice = next(one for one, other in itertools.pairwise(ids) if one == other)
        raise ValueError(f"{path} has image {twice!r} twice: call `python -m tfcount.evaluate` again.")
    for identity, *counts in rows:
        if not np.isfinite(counts).all():
            raise ValueError(f"{path} has counts {counts} for image {identity!r}: they must be finite.")
    return ids, truth, predicted


def _interval(ends):
    return f"{ends[0]:>8.2f} to{ends[1]:>7.2f}"
