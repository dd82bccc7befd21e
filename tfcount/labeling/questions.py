"""Questions to a person and the answers, as CSV files."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence

import numpy as np

from tfcount.labeling import pair_selection
from tfcount.labeling.order import PairLabels, against_counts, check
from tfcount.records.files import create_file
from tfcount.records.folder import IndexRow, Records
from tfcount.records.labels import RELATIONS, PairLabel, now, read_labels, update_labels

HEADER = ("image_a", "image_b", "relation")
GREATER, LESS, CLOSE = RELATIONS


def read_answers(path: str, ids: Iterable[str]) -> list[PairLabel]:
    """Reads labels of pairs from a CSV file with the header `image_a,image_b,relation`.

    `relation` is "greater" if image_a shows more, "less" if it shows fewer, "close", or empty where nobody has answered
    yet: such lines are passed over. The file does not tell when somebody answered: `merge` sets the time.

    Args:
      path: of the file.
      ids: names of the images; those of the file are among them.

    Raises:
      ValueError: if a line cannot be understood, names an image twice, or one that does not exist.
    """
    names, pairs = set(ids), []
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
                    if name not in names:
                        raise ValueError(f"{where}: there is no image {name!r}. Correct the name, or remove the line.")
                if one == other:
                    raise ValueError(f"{where}: compares the image {one!r} with itself. Remove the line.")
                if relation and relation not in RELATIONS:
                    raise ValueError(f"{where}: `relation` must be one of {RELATIONS}. Received: {relation!r}.")
                if relation:
                    pairs.append(PairLabel(one, other, relation, "human"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded as UTF-8 ({error}): save it as UTF-8.") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file ({error}).") from error
    return pairs


def write_questions(path: str, pairs: np.ndarray, ids: Sequence[str]) -> None:
    """Writes pairs `(n, 2)` of images as `read_answers` reads them, without the answers.

    Raises:
      FileExistsError: if the file is there: it may hold answers.
    """
    text = io.StringIO()
    rows = [(ids[one], ids[other], "") for one, other in pairs.tolist()]
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    create_file(path, text.getvalue())


def merge(kept: Iterable[PairLabel], answers: Iterable[PairLabel], time: str) -> list[PairLabel]:
    """Adds answers to labels: of the same two images, an answer takes the place of what was said before.

    Answers that say the same are one, and one that was kept before stays, with its time. Those that contradict each
    other stay, for `check` to tell.

    Args:
      kept: labels of before.
      answers: what is added to them.
      time: of the answers, see `PairLabel`.
    """
    kept = list(kept)

    def statement(pair):
        """Returns a pair in the one form of all that say the same, whenever they do."""
        pair = pair._replace(time="")
        if pair.relation == LESS or (pair.relation == CLOSE and pair.id_b < pair.id_a):
            relation = GREATER if pair.relation == LESS else CLOSE
            return pair._replace(id_a=pair.id_b, id_b=pair.id_a, relation=relation)
        return pair

    said: dict[PairLabel, PairLabel] = {}
    for pair in kept:
        said.setdefault(statement(pair), pair)
    new = [said.get(answer, answer._replace(time=time)) for answer in dict.fromkeys(map(statement, answers))]
    answered_again = {frozenset((pair.id_a, pair.id_b)) for pair in new}
    return [pair for pair in kept if frozenset((pair.id_a, pair.id_b)) not in answered_again] + new


def index_pairs(pairs: Iterable[PairLabel], ids: Sequence[str]) -> PairLabels:
    """Returns labels with the numbers of the images, their places among `ids`, in place of their names."""
    number = {name: index for index, name in enumerate(ids)}
    greater, close = [], []
    for pair in pairs:
        images = (number[pair.id_a], number[pair.id_b])
        if pair.relation == CLOSE:
            close.append(images)
        else:
            greater.append(images if pair.relation == GREATER else images[::-1])
    return PairLabels(*(np.array(labels, np.int64).reshape(-1, 2) for labels in (greater, close)))


def write_images_to_count(path: str, rows: Sequence[IndexRow], positions: np.ndarray) -> None:
    """Writes the lines `image,count` of the images at these positions, without the counts that are not known.

    Raises:
      FileExistsError: if the file is there: it may hold counts.
    """
    text = io.StringIO()
    chosen = [(rows[position].id, rows[position].count) for position in positions]
    lines = [(name, "" if np.isnan(count) else f"{count:g}") for name, count in chosen]
    csv.writer(text, lineterminator="\n").writerows([("image", "count"), *lines])
    create_file(path, text.getvalue())


@dataclasses.dataclass(frozen=True)
class Answers:
    """The labels of pairs that the records keep, and what came of new answers.

    Attributes:
      labels: all of them.
      pairs: how many pairs are labeled.
      implied: how many pairs are in a known order, with what follows from others.
      new: how many labels are new; None if no answers were read.
      replaced: how many gave way to a new answer.
      contradictions: lines about labels that counts contradict.
      folder: of the records.
    """

    labels: PairLabels
    pairs: int
    implied: int
    new: int | None
    replaced: int
    contradictions: list[str]
    folder: str

    def summary(self) -> dict:
        """Returns the numbers, and the contradictions, for a JSON document."""
        summary = dataclasses.asdict(self)
        return {name: value for name, value in summary.items() if name not in ("labels", "folder")}

    def text(self) -> str:
        """Returns lines for people."""
        lines = []
        if self.new is not None:
            lines.append(f"Kept {self.new} new labels of pairs in {self.folder}, {self.replaced} in place of others.")
        greater, close = map(len, self.labels)
        lines.append(
            f"Pairs answered: {self.pairs} (in {greater} one image shows more, in {close} both show about as many)."
        )
        lines.append(f"Pairs in a known order, by these answers and by what follows from them: {self.implied}.")
        return "\n".join([*lines, *(f"Warning: {line}" for line in self.contradictions)]) + "\n"


def keep_answers(records: Records, path: str | None) -> Answers:
    """Adds the answers of a file to the labels of pairs that records keep.

    Args:
      records: the images of one split.
      path: of the answers; if None, nothing is added.

    Raises:
      ValueError: if an answer cannot be understood, or labels contradict each other: then nothing is kept.
    """
    ids, split = [row.id for row in records.rows], records.rows[0].split
    if path:
        answers = read_answers(path, ids)

        def add(labels):
            merged = merge(labels, answers, now())
            # Labels that contradict each other are told, and change nothing.
            check(index_pairs(merged, ids), ids)
            return merged

        before, kept = update_labels(records.folder, split, PairLabel, add)
    else:
        before = kept = read_labels(records.folder, split, PairLabel)
    labels = index_pairs(kept, ids)
    order = check(labels, ids)
    new = len(set(kept) - set(before)) if path else None
    replaced = len(set(before) - set(kept))
    wrong = against_counts(labels.greater, np.array([row.count for row in records.rows]), ids)
    return Answers(labels, len(kept), order.count(), new, replaced, wrong, records.folder)


def add_counts(labels: PairLabels, records: Records, ratio: float) -> PairLabels:
    """Returns labels with what the counts that records know say of pairs, in place of what a person said of these.

    Args:
      labels: what a person said.
      records: the images.
      ratio: of counts that a person tells apart; others are close.

    Raises:
      ValueError: if all counts are known, so that there is nothing to ask, or labels of other pairs contradict them.
    """
    counts = np.array([row.count for row in records.rows])
    known = np.flatnonzero(~np.isnan(counts))
    if len(known) == len(counts):
        raise ValueError(
            f"The records in {records.folder!r} know the counts of all {len(counts)} images of split "
            f"{records.rows[0].split!r}: there is nothing to ask. Train by the counts (--ranking_labels=counts), or "
            "build records that also hold images without a count."
        )
    kept = PairLabels(*(pairs[np.isnan(counts[pairs]).any(axis=1)] for pairs in labels))
    pairs = known[np.stack(np.triu_indices(len(known), 1), axis=1)]
    added = pair_selection.answer(kept, pairs, counts, ratio)
    try:
        check(PairLabels(added.greater, kept.close[:0]), [row.id for row in records.rows])
    except ValueError as error:
        raise ValueError(f"{error} Where the records know the counts of both images, these have answered.") from error
    return added
