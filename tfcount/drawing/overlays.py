"""What a counter sees, drawn over its image."""

import collections
import os

import cv2
import matplotlib
import numpy as np

# Rows of cells that are drawn at a time.
_BAND = 64
# What is drawn at full strength has at least so many people a cell.
_FAINTEST = 0.02


def draw_overlay(image, prediction, stride: int) -> np.ndarray:
    """Draws a density map as a heat map over its image, the people as dots, and their numbers in a strip above.

    Args:
      image: `(height, width, 3)` uint8, RGB, as the counter sees it.
      prediction: what it says: `density` `(h, w)`, people per cell, `count`, `points` `(n, 2)`, (x, y) in pixels, or
        None of a map that only ranks, and `zoom` `(2,)`, from these pixels to those of the image.
      stride: side of a cell, pixels.

    Returns:
      `(height + strip, width, 3)` uint8, RGB; wider where the numbers need it.
    """
    height, width = image.shape[:2]
    density = prediction.density
    points = None if prediction.points is None else prediction.points * prediction.zoom
    scale = max(0.4, min(width, 1600) / 1000)
    strip = round(34 * scale) + 6
    origin = (round(8 * scale), strip - round(10 * scale) - 2)
    title = f"{prediction.count:.1f} people"
    if points is not None:
        title += f", {len(points)} found one by one"
    title_width = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] + 2 * origin[0]
    drawn = np.full((strip + height, max(width, title_width), 3), 24, np.uint8)
    cv2.putText(drawn[:strip], title, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255,) * 3, 1, cv2.LINE_AA)
    blend_heat(image, density, stride, points is None, drawn[strip:, :width])
    radius = max(1, round(2 * scale))
    # A sixteenth of a pixel is OpenCV's finest position; the center of pixel i is at i + 0.5 here and at i in OpenCV.
    for x, y in np.round(16 * (np.reshape([] if points is None else points, (-1, 2)) - 0.5)).astype(int).tolist():
        for size, color in ((radius + 1, (0, 0, 0)), (radius, (90, 255, 120))):
            cv2.circle(drawn[strip:, :width], (x, y), 16 * size, color, -1, cv2.LINE_AA, 4)
    return drawn


def blend_heat(image, density, stride: int, ranks: bool, drawn: np.ndarray) -> None:
    """Draws a density map as a heat map over its image.

    Args:
      image: `(height, width, 3)` uint8, RGB, as the counter sees it.
      density: `(h, w)` people per cell.
      stride: side of a cell, pixels.
      ranks: whether the map only ranks images, and has another unit.
      drawn: `(height, width, 3)` uint8, where it is drawn.
    """
    width = image.shape[1]
    # The 99.5th percentile, not the maximum: one bright cell must not hide the rest. Nor may noise where nobody is look
    # like a crowd.
    faintest = 1e-6 if ranks else _FAINTEST
    relative = np.clip(density / max(float(np.quantile(density, 0.995)), faintest), 0, 1)
    relative = np.pad(relative, ((1, 1), (0, 0)), mode="edge")
    # Some rows of cells at a time, with their neighbors: a large image as floats would take gigabytes.
    for first in range(0, len(density), _BAND):
        band = relative[first : first + _BAND + 2]
        size = (band.shape[1] * stride, band.shape[0] * stride)
        part = slice(first * stride, (first + _BAND) * stride)
        pixels = image[part]
        shown = cv2.resize(band, size, interpolation=cv2.INTER_LINEAR)[stride : stride + len(pixels), :width]
        heat = matplotlib.colormaps["inferno"](shown)[..., :3] * 255
        opacity = 0.75 * np.sqrt(shown)[..., None]
        drawn[part] = pixels * (1 - opacity) + heat * opacity


def encode_overlay(drawn: np.ndarray) -> tuple[str, bytes]:
    """Encodes what `draw_overlay` gives as JPEG, or as PNG if it is too large for JPEG; returns extension and bytes."""
    # JPEG ends at 65,535 pixels a side.
    extension = ".jpg" if max(drawn.shape) < 65_500 else ".png"
    return extension, cv2.imencode(extension, drawn[..., ::-1])[1].tobytes()


def overlay_names(paths: list[str]) -> dict[str, str]:
    """Returns the name of the overlay of each picture, without extension; no two are alike."""
    pictures = collections.Counter(os.path.basename(path) for path in paths)
    names: dict[str, str] = {}
    for path in paths:
        name = os.path.basename(path)
        if pictures[name] > 1:
            name = os.path.abspath(path).replace(os.sep, "_").lstrip("_")
        while name in names:
            name += "_"
        names[name] = path
    return {path: f"{name}_overlay" for name, path in names.items()}
