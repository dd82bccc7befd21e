"""Reads the VGG cells: 200 synthetic images of bacteria, https://www.robots.ox.ac.uk/~vgg/research/counting/."""

import dataclasses
import os
import re

import numpy as np

from tfcount.records import images
from tfrecords_tools.annotations import files, loading
from tfrecords_tools.writing.plan import LoadedImage

# The split of the paper that made them: Lempitsky and Zisserman, NIPS 2010.
TRAINING_IMAGES = 100
IMAGES = 200


@dataclasses.dataclass(frozen=True)
class CellImage:
    """One image of cells, `001cell.png`, with its dots, `001dots.png`."""

    id: str
    image_path: str
    dots_path: str

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its dots do."""
        return loading.fingerprint_files(self.image_path, self.dots_path)

    def load(self) -> LoadedImage:
        """Reads the image and its points."""
        points, height, width = read_dots(self.dots_path)
        loaded = loading.load_points(self.id, self.image_path, points)
        if (loaded.image.height, loaded.image.width) != (height, width):
            raise ValueError(
                f"{self.dots_path} is {width} x {height} pixels, and its image {self.image_path} "
                f"{loaded.image.width} x {loaded.image.height}. Copy both again from their source."
            )
        return loaded


def read(folder: str) -> dict[str, list[CellImage]]:
    """Reads 200 images of cells with dots from the folder `cells`, or from the one that holds it.

    Images 1 to 100 are split "train", 101 to 200 "test".

    Args:
      folder: `cells`, or the folder that holds it.

    Raises:
      FileNotFoundError: if there are no cells, or one of an image and its dots is missing.
      ValueError: if an image has a number above 200, or a file cannot be used.
    """
    root = folder
    inner = os.path.join(folder, "cells")
    folder = inner if os.path.isdir(inner) else folder
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    found: dict[str, set[str]] = {"cell": set(), "dots": set()}
    for name in os.listdir(folder):
        match = re.fullmatch(r"([0-9]+)(cell|dots)\.png", name)
        if match:
            found[match[2]].add(match[1])
    if not found["cell"]:
        raise FileNotFoundError(f"{folder} holds no images named like 001cell.png.")
    for kind, other in (("cell", "dots"), ("dots", "cell")):
        for number in sorted(found[kind] - found[other]):
            path = os.path.join(folder, f"{number}{other}.png")
            raise FileNotFoundError(f"{path} is missing. Copy it, or remove {number}{kind}.png.")
    splits: dict[str, list[CellImage]] = {"train": [], "test": []}
    for number in sorted(found["cell"]):
        if not 1 <= int(number) <= IMAGES:
            raise ValueError(f"{number}cell.png in {folder} is not one of the images 001 to {IMAGES}: remove it.")
        split = "train" if int(number) <= TRAINING_IMAGES else "test"
        paths = (files.check_file(os.path.join(folder, f"{number}{kind}.png"), root) for kind in ("cell", "dots"))
        splits[split].append(CellImage(number, *paths))
    for split, sources in splits.items():
        if not sources:
            raise FileNotFoundError(f"{folder} holds no image of split {split!r}: copy all {IMAGES} images there.")
    return splits


def read_dots(path: str) -> tuple[np.ndarray, int, int]:
    """Reads an image of dots: every pixel with red in it is a point at the center of the pixel.

    Dots of neighboring cells may touch, so pixels are counted, not blobs.

    Returns:
      The points (n, 2) as (x, y), the height and the width of the image of dots.

    Raises:
      ValueError: if the file is no image, or damaged.
    """
    # Decoded by TensorFlow before: for a part of a PNG that claims to be long, OpenCV takes as much memory.
    images.read_encoded(path)
    pixels = images.decode_file(files.read_bytes(path), path)
    red = pixels if pixels.ndim == 2 else pixels[..., 2]  # OpenCV orders blue, green, red.
    rows, columns = np.nonzero(red)
    return np.stack([columns, rows], axis=1) + 0.5, *red.shape
