"""Reads JHU-CROWD++: http://www.crowd-counting.com."""

import csv
import os

import numpy as np

from tfrecords_tools.annotations import pairing

SPLITS = ("train", "val", "test")
WEATHER = {"0": "none", "1": "fog", "2": "rain", "3": "snow"}
_LABELS = "image_labels.txt"
_REMEDY = "Copy it again from its source."


def read(folder: str) -> dict[str, list[pairing.BoxedImage]]:
    """Reads JHU-CROWD++ from the folder that holds `train`, `val` and `test`.

    Args:
      folder: with these folders, each with `images`, `gt` and `image_labels.txt`.

    Raises:
      FileNotFoundError: if a folder, an image, its annotation or the file of labels is missing.
      ValueError: if a line of labels cannot be understood, or there is none for an image.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    return {split: _read_split(os.path.join(folder, split)) for split in SPLITS}


def read_heads(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the points and boxes of an annotation: `(n, 2)` (x, y) and `(n, 4)` (left, top, right, bottom), pixels.

    A line is a head: x, y, width, height, occlusion, blur. The point is the center of the box.

    Raises:
      ValueError: if a line is not six numbers.
    """
    heads = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                x, y, width, height, _, _ = map(float, line.split())
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: {line.strip()!r} must be x, y, width, height, occlusion, blur. {_REMEDY}"
                ) from None
            heads.append((x, y, x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    values = np.array(heads, np.float64).reshape(-1, 6)
    return values[:, :2], values[:, 2:]


def _read_split(folder: str) -> list[pairing.BoxedImage]:
    image_folder, annotations, labels = (os.path.join(folder, name) for name in ("images", "gt", _LABELS))
    if not (os.path.isdir(image_folder) and os.path.isdir(annotations) and os.path.isfile(labels)):
        raise FileNotFoundError(f"{folder} must hold the folders `images` and `gt` and the file `{_LABELS}`.")
    attributes = _read_labels(labels)
    sources = []
    for source in pairing.pair(image_folder, annotations, "{}.txt", read_heads):
        if source.id not in attributes:
            raise ValueError(f"{labels} has no line of the image {source.id}. {_REMEDY}")
        known = attributes[source.id]
        sources.append(pairing.BoxedImage(source.id, source.image_path, source.annotation_path, read_heads, known))
    return sources


def _read_labels(path: str) -> dict[str, dict]:
    """Returns what is known of every image, from lines of id, count, scene, weather (0 to 3), distractor (0 or 1)."""
    attributes = {}
    with open(path, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row:
                continue
            try:
                name, _, scene, weather, distractor = (value.strip() for value in row)
                attributes[name] = {
                    "scene": scene,
                    "weather": WEATHER[weather],
                    "distractor": bool(int(distractor)),
                }
            except (ValueError, KeyError):
                raise ValueError(
                    f"{path}, line {number}: {','.join(row)!r} must be an image, its count, scene, weather (0 to "
                    f"3) and whether it distracts (0 or 1). {_REMEDY}"
                ) from None
    return attributes
