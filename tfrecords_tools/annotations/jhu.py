"""Reads JHU-CROWD++: http://www.crowd-counting.com."""

import csv
import dataclasses
import io
import os
from typing import Any

import numpy as np

from tfrecords_tools.annotations import files, pairing

SPLITS = ("train", "val", "test")
WEATHER = {"0": "none", "1": "fog", "2": "rain", "3": "snow"}
_DISTRACTOR = {"0": False, "1": True}
_LABELS = "image_labels.txt"
_REMEDY = "Copy it again from its source."


def read(folder: str) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads JHU-CROWD++ from the folder that holds `train`, `val` and `test`.

    Args:
      folder: with these folders, each with `images`, `gt` and `image_labels.txt`.

    Raises:
      FileNotFoundError: if a folder, an image, its annotation or the file of labels is missing.
      ValueError: if a line of labels cannot be understood, or there is none for an image.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    return {split: _read_split(os.path.join(folder, split), folder) for split in SPLITS}


def read_heads(path: str) -> pairing.Heads:
    """Reads the points and boxes of an annotation.

    A line is a head: x, y, width, height, occlusion, blur. The point is the center of the box.

    Raises:
      ValueError: if a line is not six numbers.
    """
    heads = []
    for number, line in files.read_lines(path):
        try:
            x, y, width, height, _, _ = map(files.to_number, line.split())
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: {files.short(line)} must be x, y, width, height, occlusion, blur. {_REMEDY}"
            ) from None
        heads.append((x, y, x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    values = np.array(heads, np.float64).reshape(-1, 6)
    return pairing.Heads(values[:, :2], values[:, 2:])


def _read_split(folder: str, root: str) -> list[pairing.AnnotatedImage]:
    image_folder, annotations, labels = (os.path.join(folder, name) for name in ("images", "gt", _LABELS))
    if not (os.path.isdir(image_folder) and os.path.isdir(annotations) and os.path.isfile(labels)):
        raise FileNotFoundError(f"{folder} must hold the folders `images` and `gt` and the file `{_LABELS}`.")
    known = _read_labels(files.check_file(labels, root))
    sources = []
    for source in pairing.pair(image_folder, annotations, "{}.txt", read_heads, root):
        if source.id not in known:
            raise ValueError(f"{labels} has no line of the image {source.id}. {_REMEDY}")
        sources.append(dataclasses.replace(source, **known[source.id]))
    return sources


def _read_labels(path: str) -> dict[str, dict[str, Any]]:
    """Returns fields of every image, from lines of id, count, scene, weather (0 to 3), distractor (0 or 1)."""
    labels: dict[str, dict[str, Any]] = {}
    table = csv.reader(io.StringIO(files.read_text(path), newline=""))
    try:
        for number, row in enumerate(table, 1):
            if not row:
                continue
            try:
                name, count, scene, weather, distractor = (value.strip() for value in row)
                attributes = {"scene": scene, "weather": WEATHER[weather], "distractor": _DISTRACTOR[distractor]}
                label = {"stated_count": int(count), "attributes": attributes}
            except (ValueError, KeyError):
                raise ValueError(
                    f"{path}, line {number}: {files.short(','.join(row))} must be an image, its count, scene, "
                    f"weather (0 to 3) and whether it distracts (0 or 1). {_REMEDY}"
                ) from None
            if labels.setdefault(name, label) != label:
                raise ValueError(f"{path}, line {number}: {name!r} has another line, which differs. {_REMEDY}")
    except csv.Error as error:
        raise ValueError(f"{path} is not a table of labels ({error}). {_REMEDY}") from error
    return labels
