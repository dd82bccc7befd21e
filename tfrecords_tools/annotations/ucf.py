"""Reads UCF_CC_50 and UCF-QNRF: https://www.crcv.ucf.edu/research/data-sets/."""

import os
import re

import numpy as np

from tfrecords_tools.annotations import matlab, pairing

# UCF_CC_50 has no official folds; these are the images in the order of their numbers.
FOLDS = 5


def read_points(path: str) -> np.ndarray:
    """Reads the points of an annotation, see `matlab.read_points`."""
    return matlab.read_points(path, lambda content: content["annPoints"], "UCF, which holds `annPoints`")


def read_qnrf(folder: str) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads UCF-QNRF from the folder that holds `Train` and `Test`.

    Raises:
      FileNotFoundError: if a folder, an image or an annotation is missing.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    return {split: _read_folder(os.path.join(folder, split.capitalize())) for split in ("train", "test")}


def read_cc_50(folder: str, fold: int) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads one of five folds of UCF_CC_50 from its folder: another fifth of the images is the test in each.

    Args:
      folder: with `1.jpg`, `1_ann.mat` and so on.
      fold: 1 to 5: which fifth, in the order of the numbers.

    Raises:
      FileNotFoundError: if an image or an annotation is missing, or there are fewer images than folds.
    """
    sources = _read_folder(folder)
    if len(sources) < FOLDS:
        raise FileNotFoundError(f"{folder} holds {len(sources)} images, fewer than the {FOLDS} folds.")
    start, end = ((index * len(sources)) // FOLDS for index in (fold - 1, fold))
    return {"train": sources[:start] + sources[end:], "test": sources[start:end]}


def _read_folder(folder):
    """Returns the images of a folder in the order of their numbers."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    sources = pairing.pair(folder, folder, "{}_ann.mat", read_points)
    if not sources:
        raise FileNotFoundError(f"{folder} holds no images.")
    return sorted(sources, key=lambda source: (int((re.findall(r"\d+", source.id) or ["0"])[-1]), source.id))
