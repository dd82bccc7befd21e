"""Reads NWPU-Crowd: https://www.crowdbenchmark.com/nwpucrowd.html."""

import os

import numpy as np

from tfrecords_tools.annotations import files, pairing

SPLITS = ("train", "val", "test")
_REMEDY = "Copy it again from its source."


def read(folder: str) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads NWPU-Crowd from the folder that holds `images`, `jsons`, `train.txt`, `val.txt` and `test.txt`.

    The annotations of the test images are not published: without a file of its own, an image of "test" has none. Count
    these images with `tfcount.predict`, and evaluate on "val". A list that does not exist is passed over, but for that
    of "train".

    Args:
      folder: with `images`, `jsons` and the lists.

    Raises:
      FileNotFoundError: if a folder, the list of "train", an image or an annotation is missing.
      ValueError: if a line of a list cannot be understood, an image is listed twice, or a file cannot be used.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    for name in ("images", "jsons"):
        if not os.path.isdir(os.path.join(folder, name)):
            raise FileNotFoundError(
                f"{folder} must hold the folders `images`, with those of all parts, and `jsons`, and lacks {name!r}."
            )
    splits: dict[str, list[pairing.AnnotatedImage]] = {}
    lists: dict[str, str] = {}
    for split in SPLITS:
        path = os.path.join(folder, f"{split}.txt")
        if split != "train" and not os.path.lexists(path):
            continue
        splits[split] = _read_list(folder, path, split)
        for source in splits[split]:
            if lists.setdefault(source.id, path) != path:
                raise ValueError(f"{path} names the image {source.id}, which {lists[source.id]} names, too. {_REMEDY}")
    return splits


def read_heads(path: str) -> pairing.Heads:
    """Reads the points and boxes of an annotation.

    Corners of boxes may come in any order in the file.

    Raises:
      ValueError: if the file is no such annotation, or has not a box for every point.
    """
    content = files.read_json(path, _REMEDY)
    try:
        points = files.to_numbers(content["points"], 2)
        corners = files.to_numbers(content["boxes"], 4).reshape(-1, 2, 2)
        count = content.get("human_num")
        if not (count is None or type(count) is float):
            raise ValueError(f"human_num must be a number. Received: {count!r}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not an annotation of NWPU-Crowd, which holds `points` and `boxes` ({error!r}). {_REMEDY}"
        ) from error
    if len(points) != len(corners):
        raise ValueError(f"{path} holds {len(points)} points and {len(corners)} boxes. {_REMEDY}")
    return pairing.Heads(points, np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1), count)


def _read_list(folder: str, path: str, split: str) -> list[pairing.AnnotatedImage]:
    """Reads a list, whose lines are the number of an image, its level of luminance and its level of density."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is missing: it lists the images. {_REMEDY}")
    lines: dict[str, int] = {}
    sources = []
    for number, line in files.read_lines(files.check_file(path, folder)):
        where = f"{path}, line {number}"
        try:
            name, luminance, density = line.split()
            attributes = {"luminance": int(luminance), "density": int(density)}
        except ValueError:
            raise ValueError(
                f"{where}: {files.short(line)} must be an image, its level of luminance and that of density, like "
                "`0001 1 2`."
            ) from None
        if set(name) & set("/\\\0"):
            raise ValueError(f"{where}: {name!r} must be the name of an image, without folders. {_REMEDY}")
        if lines.setdefault(name, number) != number:
            raise ValueError(f"{where} names the image {name}, which line {lines[name]} names, too. {_REMEDY}")
        image = os.path.join(folder, "images", f"{name}.jpg")
        if not os.path.lexists(image):
            raise FileNotFoundError(f"{where}, names an image that is missing: {image}. Copy it.")
        files.check_file(image, folder)
        annotation: str | None = os.path.join(folder, "jsons", f"{name}.json")
        if os.path.lexists(str(annotation)):
            files.check_file(str(annotation), folder)
        elif split != "test":
            raise FileNotFoundError(f"{image} has no annotation {annotation}. Copy it.")
        else:
            annotation = None
        sources.append(pairing.AnnotatedImage(name, image, annotation, read_heads, attributes))
    files.check_different(lines, path)
    if not sources:
        raise ValueError(f"{path} names no image. {_REMEDY}")
    return sources
