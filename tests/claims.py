"""Finds the numbers that a text claims of results, and what the results say.

How a claim is written:

- A result is named by its folder, `recipe/full_sha`, in backticks or a link. A study's own README and flagfiles may
  leave out the study. A number belongs to the result that is named last before it in its paragraph, item of a list or
  row of a table, or else first after it. In the header of a flagfile it belongs to the file's own result, but in a
  sentence that names another one before.
- In text a number stands behind its measure, as in `MAE 73.9`, or before its unit, as in `57 minutes`: see `MEASURES`
  and `SENTENCES`. In a table it stands under a heading that is the name of a measure.
- A paired difference is written `against l2_sha +5.7, paired interval -3.6 to +14.6`.
- Anything else is told by a comment below the paragraph or table that holds the numbers, which names a file of a study
  and the keys to each number: `<!-- claim ranking_sha/evaluation.json: run / validation / 0 / loss = 170.1 -->`.
- Brackets with the word "paper" or the words "not kept" in them hold numbers that nothing here stands behind.
- Where a result is named, and everywhere in a study's README and in flagfiles, no other number may have a decimal
  point or a sign. Code, links and numbers like 5e-5 are not read. Tables that `results/collect.py` writes are compared
  as a whole.
"""

import csv
import functools
import json
import pathlib
import re
import statistics
from typing import NamedTuple

from tfcount import comparison

ROOT = pathlib.Path(__file__).parent.parent
STUDIES = ROOT / "results" / "studies"
RESULTS = sorted({path.parent for path in STUDIES.glob("*/*/evaluation.json")}) + sorted(
    {path.parent.parent for path in STUDIES.glob("*/*/seed_*/evaluation.json")}
)
NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?"
# What a person needs: a head 1.2 s, as ten minutes go for a picture of 500; a glance at two pictures, guessed, 3 s.
HEAD_SECONDS, PAIR_SECONDS = 1.2, 3.0


class Claim(NamedTuple):
    """A number as it stands in a text, `start` to `end`, and the value that the results give it."""

    start: int
    end: int
    shown: str
    value: float

    @property
    def holds(self) -> bool:
        """Whether the number is the value, rounded to as many digits as it shows."""
        digits = len(self.shown.partition(".")[2])
        return abs(float(self.shown.replace(",", "")) - self.value) <= 0.5 * 10**-digits * (1 + 1e-6)


@functools.cache
def evaluations(result: pathlib.Path) -> list[dict]:
    """Returns what was measured, once for each seed."""
    paths = sorted(result.glob("seed_*/evaluation.json")) or [result / "evaluation.json"]
    return [json.loads(path.read_text()) for path in paths]


@functools.cache
def compared(*results: pathlib.Path) -> dict:
    """Returns how the last of the results compares with the first."""
    return comparison.summarize(comparison.read_results([str(result) for result in results]))[-1]


def mean(*keys):
    """Returns the measure that lies under nested keys of an evaluation."""
    return lambda result: statistics.mean(
        functools.reduce(lambda value, key: value[key], keys, one) for one in evaluations(result)
    )


def held_out(result):
    return statistics.mean(min(row["val_mae"] for row in one["run"]["validation"]) for one in evaluations(result))


def bias(result, low, high):
    low, high = (float(end.replace(",", "")) for end in (low, high))
    bins = [[row for row in one["bias_by_count"] if row["from"] == low] for one in evaluations(result)]
    assert all(row["to"] == high for (row,) in bins), f"{result} has no such bins"
    return statistics.mean(row["bias"] for (row,) in bins)


def feature_gigabytes(result):
    (found,) = re.findall(r"Encoded \d+ crops in .*: ([\d.]+) GB", (result / "train.log").read_text())
    return float(found)


def labeling_minutes(result):
    """Estimates how long a person labels, to two digits; a picture of Part A shows 541 heads."""
    labels = json.loads((result / "labels.json").read_text())
    part_a = json.loads((STUDIES / "recipe" / "full_sha" / "labels.json").read_text())
    heads = labels["dots"] + labels["counts"] * part_a["dots"] / part_a["images"]
    return float(f"{(heads * HEAD_SECONDS + labels['pairs'] * PAIR_SECONDS) / 60:.2g}")


# Of a result, and of what the name holds in brackets. Longer names come first.
MEASURES = {
    "minutes for 300 pictures, estimated": labeling_minutes,
    "MAE of always answering the mean count": mean("mean_count_mae"),
    "held-out MAE": held_out,
    r"bias from ([\d,]+) to ([\d,]+) people": bias,
    "MAE": mean("mae"),
    "RMSE": mean("rmse"),
    "NAE": mean("nae"),
    "MRE": mean("mre"),
    "Kendall tau": mean("kendall_tau"),
    "F1 at 4 pixels": mean("localization", "sigma_4", "f1"),
    "F1 at 8 pixels": mean("localization", "sigma_8", "f1"),
    "area": mean("localization", "ucf_qnrf", "auc"),
    "sparsity": mean("sparsity"),
    "pairs in order": lambda result: 100 * mean("ranking_accuracy")(result),
}


def paired(result, match):
    """Returns the difference to the result that the match names, and its interval."""
    row = compared(find(match["against"], result.parent), result)
    return row["difference"], *row["difference_interval"]


# A paragraph, an item of a list, or a row of a table.
PASSAGE = re.compile(r"\S(?:(?!\n\s*\n|\n\s*(?:- |\d+\. |\|)).)*", re.DOTALL)
N = rf"(?<![\w.])({NUMBER})(?![\w.]*\d)"
# Texts whose groups of numbers are claims, and the values of these groups.
SENTENCES = [
    (rf"against \W?(?P<against>[\w/]+)\W.*?{N}, paired interval {N} to {N}", paired),
    (rf"interval {N} to {N}", lambda result, match: compared(result)["interval"]),
    (
        rf"{N} seeds: MAE {N}, {N}",
        lambda result, match: (len(evaluations(result)), *(one["mae"] for one in evaluations(result))),
    ),
    (
        rf"F1 of points {N} at 4 pixels and {N} at 8",
        lambda result, match: (MEASURES["F1 at 4 pixels"](result), MEASURES["F1 at 8 pixels"](result)),
    ),
    (rf"{N} % of the pairs", lambda result, match: [MEASURES["pairs in order"](result)]),
    (rf"{N} minutes?\b", lambda result, match: [mean("run", "training_minutes")(result)]),
    (rf"{N} steps", lambda result, match: [mean("run", "steps")(result)]),
    (rf"{N} seeds?\b", lambda result, match: [len(evaluations(result))]),
    (rf"{N} (?:\w+ )?test images", lambda result, match: [mean("images")(result)]),
    (rf"{N} GB of features", lambda result, match: [feature_gigabytes(result)]),
    *(
        (
            rf"\b{name}(?: of|:)? {N}",
            lambda result, match, measure=measure: [measure(result, *match.groups()[:-1])],
        )
        for name, measure in MEASURES.items()
    ),
]


def find(name: str, study: pathlib.Path | None) -> pathlib.Path | None:
    """Returns the folder of the result that is called `name`, in a text of a study or outside."""
    return next((one for one in ((study / name) if study else STUDIES / name, STUDIES / name) if one in RESULTS), None)


def mask(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]


def blank(pattern: str, text: str, flags: int = 0) -> str:
    """Replaces what matches by spaces, line breaks remain."""
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=flags)


class Passage:
    """Reads one passage.

    Args:
      text: the passage, in which other passages are masked.
      study: folder of the study whose text it is.
      result: what it is about until it names something else.
      strict: whether any number must be a claim, not only where a result is named.
      heading: cells of the first row, if it is a row of a table.
    """

    def __init__(self, text, study, result, strict, heading=None):
        self.study, self.result = study, result
        self.names = []
        for match in re.finditer(r"[\w/]+", text):
            parts = match[0].split("/")
            one = find("/".join(parts[-2:]), study)
            # A word may be called like a result, as "demo" is: outside of flagfiles backticks or a link make it a name.
            quoted = text[match.start() - 1 : match.start()] in ("`", "[") or "/" in match[0]
            # Who something is compared with is not who it is said of.
            if one and (quoted or result) and not re.search(r"against\s+\W?$", text[: match.start()]):
                self.names.append((match.start(), one))
        code = r"`[^`]*`"
        text = re.sub(code, lambda match: match[0] if find(match[0][1:-1], study) else " " * len(match[0]), text)
        text = blank(r"\]\([^)]*\)", text)
        self.text = blank(r"\([^()]*\b(?:papers?\b|not kept\b)[^()]*\)", text)
        self.claims, self.errors = [], []
        if heading:
            self._read_cells(heading)
        for pattern, values in SENTENCES:
            while match := re.search(pattern.replace(" ", r"\s+"), self.text, re.DOTALL | re.IGNORECASE):
                self._read(match, values)
        if strict or self.names:
            loose = rf"(?<![\w.,])(?<!Section ){NUMBER}(?![\w-]*\d)"
            self.loose = [match for match in re.finditer(loose, self.text) if re.search(r"[.+-]", match[0])]
        else:
            self.loose = []

    def owner(self, place: int) -> pathlib.Path | None:
        """Returns the result that a number at a place is said of."""
        start = max((match.end() for match in re.finditer(r"\.\s", self.text[:place])), default=0) if self.result else 0
        before = [one for position, one in self.names if start <= position < place]
        return before[-1] if before else self.result or (self.names[0][1] if self.names else None)

    def _read(self, match, values):
        """Adds the claims of a match, which is masked."""
        result = self.owner(match.start())
        groups = [
            index + 1
            for index, group in enumerate(match.groups())
            if group and index + 1 != match.re.groupindex.get("against")
        ]
        if result:
            found = list(values(result, match))
            for group, value in zip(groups[-len(found) :], found, strict=True):
                self.claims.append(Claim(*match.span(group), match[group], value))
        elif "MAE" in match[0] or "RMSE" in match[0]:
            self.errors.append(f"{match[0]!r} names no result")
        self.text = mask(self.text, *match.span())

    def _read_cells(self, heading):
        cells = [(match.start(), match[0]) for match in re.finditer(r"(?<=\|)[^|\n]*(?=\|)", self.text)]
        for name, (start, cell) in zip(heading, cells):
            for measure, value in MEASURES.items():
                named, number = re.fullmatch(measure, name), re.search(N, cell)
                if named and number and self.owner(start):
                    span = start + number.start(), start + number.end()
                    self.claims.append(Claim(*span, number[0], value(self.owner(start), *named.groups())))
                    self.text = mask(self.text, *span)
                    break


def lookup(path: pathlib.Path, keys: list[str]) -> float:
    """Returns a number of a JSON file, or of a CSV file of predictions, whose first key is the image."""
    if path.suffix == ".csv":
        with open(path, newline="") as file:
            content = {row["image_id"]: row for row in csv.DictReader(file)}
    else:
        content = json.loads(path.read_text())
    for key in keys:
        content = content[int(key) if isinstance(content, list) else key]
    return float(content)


def read(text: str, path: pathlib.Path) -> tuple[list[Claim], list[str]]:
    """Returns the claims of a text that lies, or is to lie, at a path, and what is wrong with them."""
    study = path.parent if path.is_relative_to(STUDIES) else None
    if path.suffix == ".flags":
        is_study = path.parent.parent.name == "studies"
        study = STUDIES / path.parent.name if is_study else None
        header = re.sub(r"\n# ", "\n  ", blank(r"^[^#\n].*$|^# python .*$", text, re.MULTILINE))
        passage = Passage(header, study, find(path.stem, study) if study else None, True)
        blocks = [(0, passage)]
    else:
        blocks = list(passages(text, study))
    claims = [
        claim._replace(start=claim.start + start, end=claim.end + start)
        for start, passage in blocks
        for claim in passage.claims
    ]
    errors = [error for _, passage in blocks for error in passage.errors]
    for match in re.finditer(r"<!-- claim ([\w./]+): (.*?) -->", text, re.DOTALL):
        errors += told_by_comment(match, blocks, study or STUDIES, claims)
    errors += [
        f"{number[0]!r} in {' '.join(passage.text.split())!r} belongs to no measure"
        for _, passage in blocks
        for number in passage.loose
    ]
    errors += [f"{claim.shown} must be {claim.value:.6g}" for claim in claims if not claim.holds]
    return claims, errors


def told_by_comment(match, blocks, folder, claims):
    """Adds the claims of a comment, and returns errors."""
    errors = []
    for one in match[2].split(";"):
        keys, _, shown = one.rpartition("=")
        value = lookup(folder / match[1], [key.strip() for key in keys.split(" / ")])
        place = re.compile(rf"(?<![\w.,+-]){re.escape(shown.strip())}(?![\w.]*\d)")
        found = [
            (start, passage, number)
            for start, passage in blocks
            if start < match.start()
            for number in place.finditer(passage.text)
        ]
        if not found:
            errors.append(f"{shown.strip()} of {match[0]!r} does not stand above")
            continue
        start, passage, number = found[-1]
        claims.append(Claim(start + number.start(), start + number.end(), number[0], value))
        passage.text = mask(passage.text, *number.span())
        passage.loose = [one for one in passage.loose if one.start() != number.start()]
    return errors


def passages(text: str, study: pathlib.Path | None):
    """Yields the passages of a page, each with where it starts."""
    text = blank(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    text = blank(r"<!-- (results|differences|table): .*?<!-- end of \1 -->", text, re.DOTALL)
    text = blank(r"<!--.*?-->", text, re.DOTALL)
    rows, heading = [], None
    for match in PASSAGE.finditer(text):
        cells = [cell.strip() for cell in match[0].strip("|").split("|")] if match[0].startswith("|") else None
        if cells and not any(re.sub("-", "", cell) for cell in cells):
            heading = rows[-1]
        else:
            rows.append(cells)
            yield match.start(), Passage(match[0], study, None, study is not None, cells and heading)
