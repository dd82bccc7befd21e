"""Reads ShanghaiTech, parts A and B: https://github.com/desenzhou/ShanghaiTechDataset."""

import glob
import os

from tfrecords_tools.annotations import matlab, pairing

SPLITS = ("train", "test")
_ANNOTATIONS = ("ground_truth", "ground-truth")


def read(folder: str, part: str) -> dict[str, list[pairing.AnnotatedImage]]:
    """Reads part A or B of ShanghaiTech from its folder, or from one that holds it.

    Args:
      folder: of the part, or up to two levels above it.
      part: "A" or "B".

    Raises:
      FileNotFoundError: if the part is not there, or an image or annotation of it is missing.
      ValueError: if the folder holds the part several times, or a file cannot be used.
    """
    part_folder = _find_part(folder, part)
    return {split: _read_split(os.path.join(part_folder, f"{split}_data"), part_folder) for split in SPLITS}


def read_heads(path: str) -> pairing.Heads:
    """Reads the points of an annotation, see `matlab.read_points`."""
    holds = "ShanghaiTech, which holds image_info{1,1}.location"
    found = matlab.read_points(path, ["image_info", "location"], ["image_info", "number"], holds)
    return pairing.Heads(found.points, stated_count=found.stated_count)


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


def _read_split(folder: str, root: str) -> list[pairing.AnnotatedImage]:
    annotations = next((p for n in _ANNOTATIONS if os.path.isdir(p := os.path.join(folder, n))), None)
    image_folder = os.path.join(folder, "images")
    if annotations is None or not os.path.isdir(image_folder):
        raise FileNotFoundError(f"{folder} must hold the folders `images` and `ground_truth` (or `ground-truth`).")
    return pairing.pair(image_folder, annotations, "GT_{}.mat", read_heads, root)
