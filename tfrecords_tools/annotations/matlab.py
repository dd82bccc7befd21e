"""Reads points from MATLAB files."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import scipy.io


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
