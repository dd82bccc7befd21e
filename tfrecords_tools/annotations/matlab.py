"""Reads points from MATLAB files, and finds the image of each."""

import dataclasses
import io
import os
import struct
import zlib
from collections.abc import Callable

import numpy as np
import scipy.io

from tfrecords_tools import images, writing


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image with the MATLAB file of its points.

    Attributes:
      id: its name without extension.
      image_path: of the image file.
      annotation_path: of the MATLAB file.
      read: path of such a file -> points `(n, 2)`.
    """

    id: str
    image_path: str
    annotation_path: str
    read: Callable[[str], np.ndarray]

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its annotation does."""
        return images.fingerprint_files(self.image_path, self.annotation_path)

    def load(self) -> writing.Loaded:
        """Reads the image and its points."""
        return images.load_points(self.id, self.image_path, self.read(self.annotation_path))


def pair(image_folder: str, annotation_folder: str, pattern: str, read: Callable) -> list[AnnotatedImage]:
    """Finds the images of a folder, each with its annotation.

    Args:
      image_folder: of the images.
      annotation_folder: of the MATLAB files.
      pattern: name of the annotation of an image, with `{}` where the image has its name without extension.
      read: path of an annotation -> points `(n, 2)`.

    Raises:
      FileNotFoundError: if an image has no annotation, or an annotation no image.
    """
    sources = []
    for name in images.list_images(image_folder):
        stem = os.path.splitext(name)[0]
        path = os.path.join(annotation_folder, pattern.format(stem))
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{os.path.join(image_folder, name)} has no annotation {path}. Copy it, or remove the image."
            )
        sources.append(AnnotatedImage(stem, os.path.join(image_folder, name), path, read))
    known = {source.annotation_path for source in sources}
    suffix = pattern.rpartition("{}")[2]
    for name in sorted(os.listdir(annotation_folder)):
        path = os.path.join(annotation_folder, name)
        if name.lower().endswith(suffix) and not name.startswith(".") and path not in known:
            raise FileNotFoundError(f"{path} has no image in {image_folder}. Copy the image, or remove the annotation.")
    return sources


def read_points(path: str, extract: Callable[[dict], np.ndarray], holds: str) -> np.ndarray:
    """Reads the points of an annotation, (n, 2) float64 (x, y) in pixels.

    The values are kept as they are, which is how published results take them. MATLAB counts pixels from 1, but values
    of 0.02 occur, so nothing is subtracted.

    Args:
      path: of the file.
      extract: takes the points from what the file holds.
      holds: what the file should hold, for the error.

    Raises:
      ValueError: if the file is no such annotation.
    """
    with open(path, "rb") as file:
        content = io.BytesIO(file.read())
    try:
        points = np.asarray(unwrap(extract(scipy.io.loadmat(content))), np.float64)
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        OSError,
        struct.error,
        zlib.error,
        scipy.io.matlab.MatReadError,
    ) as error:
        raise ValueError(
            f"{path} is not an annotation of {holds} ({error!r}). Copy it again from its source, or remove it together "
            "with its image."
        ) from error
    if points.size == 0:
        return np.zeros((0, 2))
    if points.size == 2:
        return points.reshape(1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{path}: {holds.rpartition(' ')[2]} must be of shape (n, 2). Received: {points.shape}.")
    return points


def unwrap(value: np.ndarray) -> np.ndarray:
    """Takes a value out of MATLAB's cells of one element."""
    while value.dtype == object and value.size == 1:
        value = value.item()
    return value
