"""Questions to a person and the answers, as CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from tfcount.labeling.order import PairLabels
from tfcount.records.files import write_file
from tfcount.records.folder import IndexRow
from tfcount.records.labels import RELATIONS, PairLabel

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
                    pairs.append(PairLabel(one, other, relation, "human"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded as UTF-8 ({error}): save it as UTF-8.") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file ({error}).") from error
    return pairs


def write_questions(path: str, pairs: np.ndarray, ids: Sequence[str]) -> None:
    """Writes pairs `(n, 2)` of images as `read_answers` reads them, without the answers."""
    text = io.StringIO()
    rows = [(ids[one], ids[other], "") for one, other in pairs.tolist()]
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    write_file(path, text.getvalue())


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


def images_to_count(rows: Sequence[IndexRow], positions: np.ndarray) -> str:
    """Returns the lines `image,count` of the images at these positions, without the counts that are not known."""
    text = io.StringIO()
    known = [(rows[position].id, rows[position].count) for position in positions]
    lines = [(name, "" if np.isnan(count) else f"{count:g}") for name, count in known]
    csv.writer(text, lineterminator="\n").writerows([("image", "count"), *lines])
    return text.getvalue()
