"""Reads ShanghaiTech, parts A and B: https://github.com/desenzhou/ShanghaiTechDataset."""

import dataclasses
import glob
import os

import numpy as np

from tfrecords_tools import images, writing
from tfrecords_tools.annotations import matlab

SPLITS = ("train", "test")
_ANNOTATIONS = ("ground_truth", "ground-truth")


@dataclasses.dataclass(frozen=True)
class ShanghaiTechImage:
    """One image of ShanghaiTech: `images/IMG_1.jpg` with `ground_truth/GT_IMG_1.mat`."""

    id: str
    image_path: str
    annotation_path: str

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its annotation does."""
        return images.fingerprint_files(self.image_path, self.annotation_path)

    def load(self) -> writing.Loaded:
        """Reads the image and its points."""
        return images.load_points(self.id, self.image_path, read_points(self.annotation_path))


def read(folder: str, part: str) -> dict[str, list[ShanghaiTechImage]]:
    """Finds the images of one part.

    Args:
      folder: of the part, or up to two levels above it.
      part: "A" or "B".

    Raises:
      FileNotFoundError: if the part is not there, or an image or annotation of it is missing.
      ValueError: if the folder holds the part several times.
    """
    part_folder = _find_part(folder, part)
    return {split: _read_split(os.path.join(part_folder, f"{split}_data")) for split in SPLITS}


def read_points(path: str) -> np.ndarray:
    """Reads the points of an annotation, see `matlab.read_points`."""
    holds = "ShanghaiTech, which holds image_info{1,1}.location"
    return matlab.read_points(path, lambda content: matlab.unwrap(content["image_info"])["location"], holds)


def _find_part(folder: str, part: str) -> str:
    """Returns the folder that holds `train_data` and `test_data` of the part."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    names = (f"part_{part.lower()}", f"part_{part.lower()}_final")
    if _holds_splits(folder):
        own = os.path.basename(os.path.abspath(folder)).lower()
        if own.startswith("part_") and own not in names:
            raise ValueError(f"{folder} is another part of ShanghaiTech than {part}.")
        return folder
    below = [path for depth in ("*", "*/*") for path in glob.glob(os.path.join(glob.escape(folder), depth))]
    found = sorted(path for path in below if os.path.basename(path).lower() in names and _holds_splits(path))
    if not found:
        raise FileNotFoundError(
            f"ShanghaiTech part {part} is not in {folder}: it should hold `part_{part}` or `part_{part}_final` with "
            f"`train_data` and `test_data` inside."
        )
    if len(found) > 1:
        raise ValueError(f"{folder} holds part {part} several times. Give one of {found}.")
    return found[0]


def _holds_splits(folder: str) -> bool:
    return all(os.path.isdir(os.path.join(folder, f"{split}_data")) for split in SPLITS)


def _read_split(folder: str) -> list[ShanghaiTechImage]:
    annotations = next((p for n in _ANNOTATIONS if os.path.isdir(p := os.path.join(folder, n))), None)
    image_folder = os.path.join(folder, "images")
    if annotations is None or not os.path.isdir(image_folder):
        raise FileNotFoundError(f"{folder} must hold the folders `images` and `ground_truth` (or `ground-truth`).")
    sources = []
    for name in images.list_images(image_folder):
        stem = os.path.splitext(name)[0]
        path = os.path.join(annotations, f"GT_{stem}.mat")
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{os.path.join(image_folder, name)} has no annotation {path}. Copy it, or remove the image."
            )
        sources.append(ShanghaiTechImage(stem, os.path.join(image_folder, name), path))
    known = {source.annotation_path for source in sources}
    for name in sorted(os.listdir(annotations)):
        path = os.path.join(annotations, name)
        if name.lower().endswith(".mat") and not name.startswith(".") and path not in known:
            raise FileNotFoundError(f"{path} has no image in {image_folder}. Copy the image, or remove the annotation.")
    return sources
