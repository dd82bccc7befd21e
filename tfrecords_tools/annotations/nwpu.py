"""Reads NWPU-Crowd: https://www.crowdbenchmark.com/nwpucrowd.html."""

import json
import os

import numpy as np

from tfrecords_tools.annotations import pairing

SPLITS = ("train", "val", "test")
_REMEDY = "Copy it again from its source."


def read(folder: str) -> dict[str, list[pairing.BoxedImage]]:
    """Reads NWPU-Crowd from the folder that holds `images`, `jsons`, `train.txt`, `val.txt` and `test.txt`.

    The annotations of the test images are not published: without a file of its own, an image of "test" has none. Count
    these images with `tfcount.predict`, and evaluate on "val". A list that does not exist is passed over, but for that
    of "train".

    Args:
      folder: with `images`, `jsons` and the lists.

    Raises:
      FileNotFoundError: if a folder, the list of "train", an image or an annotation is missing.
      ValueError: if a line of a list cannot be understood, or lists share an image.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    for name in ("images", "jsons"):
        if not os.path.isdir(os.path.join(folder, name)):
            raise FileNotFoundError(
                f"{folder} must hold the folders `images`, with those of all parts, and `jsons`, and lacks {name!r}."
            )
    splits: dict[str, list[pairing.BoxedImage]] = {}
    lists: dict[str, str] = {}
    for split in SPLITS:
        path = os.path.join(folder, f"{split}.txt")
        if split != "train" and not os.path.isfile(path):
            continue
        splits[split] = _read_list(folder, path, split)
        for source in splits[split]:
            if lists.setdefault(source.id, path) != path:
                raise ValueError(f"{path} names the image {source.id}, which {lists[source.id]} names, too. {_REMEDY}")
    return splits


def read_heads(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the points and boxes of an annotation: `(n, 2)` (x, y) and `(n, 4)` (left, top, right, bottom), pixels.

    Corners of boxes may come in any order in the file.

    Raises:
      ValueError: if the file is no such annotation, or has not a box for every point.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        points = np.asarray(content["points"], np.float64).reshape(-1, 2)
        corners = np.asarray(content["boxes"], np.float64).reshape(-1, 2, 2)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not an annotation of NWPU-Crowd, which holds `points` and `boxes` ({error!r}). {_REMEDY}"
        ) from error
    if len(points) != len(corners):
        raise ValueError(f"{path} holds {len(points)} points and {len(corners)} boxes. {_REMEDY}")
    return points, np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _read_list(folder: str, path: str, split: str) -> list[pairing.BoxedImage]:
    """Reads a list, whose lines are the number of an image, its level of luminance and its level of density."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is missing: it lists the images. {_REMEDY}")
    sources = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                name, luminance, density = line.split()
                attributes = {"luminance": int(luminance), "density": int(density)}
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: {line.strip()!r} must be an image, its level of luminance and that of "
                    "density, like `0001 1 2`."
                ) from None
            image = os.path.join(folder, "images", f"{name}.jpg")
            if not os.path.isfile(image):
                raise FileNotFoundError(f"{path}, line {number}, names an image that is missing: {image}. Copy it.")
            annotation: str | None = os.path.join(folder, "jsons", f"{name}.json")
            if not os.path.isfile(str(annotation)):
                if split != "test":
                    raise FileNotFoundError(f"{image} has no annotation {annotation}. Copy it.")
                annotation = None
            sources.append(pairing.BoxedImage(name, image, annotation, read_heads, attributes))
    return sources
