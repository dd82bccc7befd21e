"""Reads UCF_CC_50 and UCF-QNRF: https://www.crcv.ucf.edu/research/data-sets/."""

import os
import re

from tfrecords_tools.annotations import matlab, pairing

# UCF_CC_50 has no official folds; these are the images in the order of their numbers.
FOLDS = 5


def read_heads(path: str) -> pairing.Heads:
    """Reads the points of an annotation, see `matlab.read_points`."""
    return pairing.Heads(matlab.read_points(path, ["annPoints"], [], "UCF, which holds `annPoints`").points)


def read_qnrf(folder: str) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads UCF-QNRF from the folder that holds `Train` and `Test`.

    Raises:
      FileNotFoundError: if a folder, an image or an annotation is missing.
      ValueError: if a file cannot be used.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    return {split: _read_folder(os.path.join(folder, split.capitalize()), folder) for split in ("train", "test")}


def read_cc_50(folder: str, fold: int) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads one of five folds of UCF_CC_50 from its folder: another fifth of the images is the test in each.

    Args:
      folder: with `1.jpg`, `1_ann.mat` and so on.
      fold: 1 to 5: which fifth, in the order of the numbers.

    Raises:
      FileNotFoundError: if an image or an annotation is missing, or there are fewer images than folds.
      ValueError: if a file cannot be used.
    """
    sources = _read_folder(folder, folder)
    if len(sources) < FOLDS:
        raise FileNotFoundError(f"{folder} holds {len(sources)} images, fewer than the {FOLDS} folds.")
    start, end = ((index * len(sources)) // FOLDS for index in (fold - 1, fold))
    return {"train": sources[:start] + sources[end:], "test": sources[start:end]}


def _read_folder(folder: str, root: str) -> list[pairing.AnnotatedImage]:
    """Returns the images of a folder in the order of their numbers."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    sources = pairing.pair(folder, folder, "{}_ann.mat", read_heads, root)
    return sorted(sources, key=lambda source: (int((re.findall("[0-9]+", source.id) or ["0"])[-1]), source.id))
