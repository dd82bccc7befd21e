"""The figure of the divisions of an image that are looked at again."""

import matplotlib.figure
import matplotlib.patches
import numpy as np

from tfcount.drawing.figures import thumbnail, to_array


def draw_divisions(image, before, after, index, scales, edges) -> np.ndarray:
    """Draws an image with the divisions that are looked at again and their scale factors, and both density maps.

    Args:
      image: `(height, width, 3)` uint8.
      before: first density map `(h, w)`.
      after: density map with divisions replaced `(h, w)`.
      index: `(K, K)` index of the center, negative where a division is not looked at again.
      scales: `(K, K)`.
      edges: where divisions begin and end, two arrays `(K + 1,)`: rows and columns of cells.

    Returns:
      `(height, width, 4)` uint8.
    """
    before, after = np.asarray(before), np.asarray(after)
    figure = matplotlib.figure.Figure(figsize=(12, 3.4), layout="constrained")
    highest = max(float(before.max()), float(after.max()), 1e-6)
    titles = (f"looked at again: {np.mean(index >= 0):.0%}", f"before: {before.sum():.1f}", f"after: {after.sum():.1f}")
    panels = figure.subplots(1, 3)
    for axes, title, values in zip(panels, titles, (image, before, after), strict=True):
        # One unit for all: the sides of the first map, in cells.
        extent = (0, before.shape[1], before.shape[0], 0)
        axes.imshow(thumbnail(values), vmin=0, vmax=None if values is image else highest, cmap="magma", extent=extent)
        axes.set_title(title)
        axes.axis("off")
    for row, column in np.argwhere(index >= 0):
        (top, bottom), (left, right) = edges[0][row : row + 2], edges[1][column : column + 2]
        color = f"C{index[row, column] + 1}"
        for axes in panels:
            box = (left + 0.5, top + 0.5), right - left - 1, bottom - top - 1
            axes.add_patch(matplotlib.patches.Rectangle(*box, fill=False, edgecolor=color, linewidth=1.5))
        text = f"{scales[row, column]:.2f}"
        middle = 0.5 * (left + right), 0.5 * (top + bottom)
        panels[0].text(*middle, text, color="white", backgroundcolor=color, ha="center", va="center", fontsize=7)
    return to_array(figure)
