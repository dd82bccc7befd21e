"""What figures for TensorBoard and reports share, and the figure of one prediction."""

import io

import matplotlib.figure
import numpy as np
import tensorflow as tf


def thumbnail(image) -> np.ndarray:
    """Leaves out rows and columns of an image until it has at most about a megapixel: figures show no more."""
    step = max(1, round(float(np.sqrt(image.shape[0] * image.shape[1] / 1e6))))
    return image[::step, ::step]


def draw_prediction(image, target, density) -> np.ndarray:
    """Draws an image, its target and the predicted density side by side, with both counts.

    Returns:
      `(height, width, 4)` uint8.
    """
    figure = matplotlib.figure.Figure(figsize=(12, 3.4), layout="constrained")
    highest = max(float(target.max()), float(density.max()), 1e-6)
    titles = ("image", f"target: {target.sum():.1f}", f"predicted: {density.sum():.1f}")
    for axes, title, values in zip(figure.subplots(1, 3), titles, (image, target, density)):
        axes.imshow(thumbnail(values), vmin=0, vmax=None if values is image else highest, cmap="magma")
        axes.set_title(title)
        axes.axis("off")
    return to_array(figure)


def equalize_axes(axes, lowest: float, highest: float) -> None:
    """Makes both axes of a scatter plot of counts or errors alike, with the line where both are equal.

    Linear where the values lie below 100, or differ by less than a factor of 10. Else linear up to 10 and logarithmic
    above: sparse images and empty ones are seen as well as crowds.

    Args:
      axes: of matplotlib.
      lowest: smallest value to show, at least 0.
      highest: largest value to show.
    """
    if highest < max(10 * lowest, 100.0):
        margin = 0.05 * max(highest - lowest, 1.0)
        limits = (max(lowest - margin, 0.0), highest + margin)
    else:
        limits = (lowest / 1.15 if lowest > 10 else 0.0, 1.15 * highest)
        decades = np.log10(limits[1] / max(limits[0], 1.0))
        ticks = [0.0, *(10.0**power * step for power in range(1, 8) for step in ((1, 2, 5) if decades < 4 else (1,)))]
        axes.set_xscale("symlog", linthresh=10)
        axes.set_yscale("symlog", linthresh=10)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([tick for tick in ticks if limits[0] <= tick <= limits[1]])
            axis.set_ticks([], minor=True)
            axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.plot(limits, limits, color="0.7", zorder=0)
    axes.set(xlim=limits, ylim=limits)
    axes.set_box_aspect(1)


def to_png(figure: matplotlib.figure.Figure, dpi: int = 100) -> bytes:
    """Returns a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def to_array(figure: matplotlib.figure.Figure) -> np.ndarray:
    """Returns the pixels of a figure, `(height, width, 4)` uint8."""
    return tf.io.decode_png(to_png(figure, 80)).numpy()
