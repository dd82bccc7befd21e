"""Reads UCF_CC_50 and UCF-QNRF: https://www.crcv.ucf.edu/research/data-sets/."""

import dataclasses
import os
import re

import numpy as np

from tfrecords_tools import images, writing
from tfrecords_tools.annotations import matlab

# UCF_CC_50 has no official folds; these are the images in the order of their numbers.
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class UCFImage:
    """One image, `1.jpg` or `img_0001.jpg`, with its annotation, `1_ann.mat` or `img_0001_ann.mat`."""

    id: str
    image_path: str
    annotation_path: str

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its annotation does."""
        return images.fingerprint_files(self.image_path, self.annotation_path)

    def load(self) -> writing.Loaded:
        """Reads the image and its points."""
        return images.load_points(self.id, self.image_path, read_points(self.annotation_path))


def read_points(path: str) -> np.ndarray:
    """Reads the points of an annotation, see `matlab.read_points`."""
    return matlab.read_points(path, lambda content: content["annPoints"], "UCF, which holds `annPoints`")


def read_qnrf(folder: str) -> dict[str, list[UCFImage]]:
    """Finds the images of UCF-QNRF, in the folders `Train` and `Test`.

    Raises:
      FileNotFoundError: if a folder, an image or an annotation is missing.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    return {split: _read_folder(os.path.join(folder, split.capitalize())) for split in ("train", "test")}


def read_cc_50(folder: str, fold: int) -> dict[str, list[UCFImage]]:
    """Finds the images of UCF_CC_50; a fifth of them is split "test".

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
    names = images.list_images(folder)
    sources = []
    for name in sorted(names, key=lambda name: (int((re.findall(r"\d+", name) or ["0"])[-1]), name)):
        stem = os.path.splitext(name)[0]
        path = os.path.join(folder, f"{stem}_ann.mat")
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{os.path.join(folder, name)} has no annotation {path}. Copy it, or remove it.")
        sources.append(UCFImage(stem, os.path.join(folder, name), path))
    known = {source.annotation_path for source in sources}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith("_ann.mat") and not name.startswith(".") and path not in known:
            raise FileNotFoundError(f"{path} has no image. Copy the image, or remove the annotation.")
    if not sources:
        raise FileNotFoundError(f"{folder} holds no images.")
    return sources
