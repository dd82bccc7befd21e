"""The figure of an evaluation."""

import matplotlib.figure
import numpy as np

from tfcount.drawing.figures import equalize_axes, thumbnail, to_png
from tfcount.drawing.overlays import blend_heat

# Longer names of images are cut at their beginning, which images of a data set often share, characters.
_NAME = 34


def draw_evaluation(results, summary: dict, largest_errors) -> bytes:
    """Draws predicted against true counts, the bias by count and by size, and the images with the largest errors.

    Args:
      results: of all images, each with its `ground_truth` and `predicted`.
      summary: `dataset`, `split`, `images`, `mae`, `rmse`, `bias_by_quantile` and `bias_by_megapixels` of all images.
      largest_errors: what is drawn in detail, in this order, each with its `result` (`image_id`, `ground_truth` and
        `predicted`), `image` `(height, width, 3)` uint8 as the counter sees it, `heads` `(n, 2)` in its pixels, and
        `density` `(h, w)`, `stride` and `ranks`, see `blend_heat`.

    Returns:
      The picture as PNG.
    """
    figure = matplotlib.figure.Figure(figsize=(15, 11.5), layout="constrained")
    images = f"{summary['images']} image" + "s" * (summary["images"] != 1)
    figure.suptitle(
        f"{summary['dataset']}, {summary['split']}: MAE {summary['mae']:.1f}, RMSE {summary['rmse']:.1f} people "
        f"({images})",
        fontsize="x-large",
    )
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1, 1.25)))
    # Images of one size have one group, which tells nothing of its own.
    by_size = [summary["bias_by_megapixels"]] if len(summary["bias_by_megapixels"]) > 1 else []
    scatter, *bars = above.subplots(
        1, 2 + len(by_size), width_ratios=(1, *[1.2 if by_size else 1.8] * (1 + len(by_size)))
    )

    counts = np.array([(result.ground_truth, result.predicted) for result in results])
    equalize_axes(scatter, counts.min(), counts.max())
    scatter.scatter(*counts.T, s=18, alpha=0.7, edgecolor="none")
    scatter.set(xlabel="true count, people", ylabel="predicted count, people", title="Each dot is an image")
    by_quantile = [(_range(group["from"], group["to"]), group) for group in summary["bias_by_quantile"]]
    _draw_bias(bars[0], by_quantile, "true count, people")
    together = "all images together" if len(by_quantile) == 1 else "by true count, about as many images in each group"
    bars[0].set_title(f"Errors, {together}")
    for axes, groups in zip(bars[1:], by_size, strict=True):
        _draw_bias(axes, [(_limits(group), group) for group in groups], "size of the image, megapixels")
        axes.set_title("Errors, by size of the image")

    below.suptitle("Largest errors: people as annotated, and below where the counter sees them")
    panels = below.subplots(2, len(largest_errors), squeeze=False)
    for (top, bottom), one in zip(panels.T, largest_errors, strict=True):
        _draw_error(top, bottom, one)
    return to_png(figure)


def _draw_bias(axes, groups, label):
    """Draws two bars for each group; groups are pairs of a name and what was measured."""
    positions = np.arange(len(groups))
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.bar(positions - 0.2, [group["mae"] for _, group in groups], 0.4, label="MAE", color="0.75")
    axes.bar(positions + 0.2, [group["bias"] for _, group in groups], 0.4, label="bias: predicted - true", color="C0")
    ticks = [f"{name}\nn = {group['images']}" for name, group in groups]
    axes.set_xticks(positions, ticks)
    # A group alone must not fill the plot with its bars.
    margin = max(0.6, 1.5 - len(groups) / 2)
    axes.set_xlim(-margin, len(groups) - 1 + margin)
    axes.set(xlabel=label, ylabel="people per image")
    axes.legend(frameon=False)


def _draw_error(above, below, one):
    """Draws an image with the annotated people, and with the density below."""
    height, width = one.image.shape[:2]
    result = one.result
    heat = np.empty_like(one.image)
    blend_heat(one.image, one.density, one.stride, one.ranks, heat)
    for axes, pixels in ((above, one.image), (below, heat)):
        axes.imshow(thumbnail(pixels), extent=(0, width, height, 0))
        axes.axis("off")
        axes.set_anchor("N")
    # Dots of a crowd must not hide it.
    size, edge = (4, 0) if len(one.heads) > 400 else (18, 0.4)
    above.scatter(*one.heads.T, s=size, color="#ffe000", edgecolor="k", linewidth=edge)
    above.set(xlim=(0, width), ylim=(height, 0))
    name = result.image_id if len(result.image_id) <= _NAME else "..." + result.image_id[3 - _NAME :]
    above.set_title(f"{name}\ntrue: {result.ground_truth:g}")
    below.set_title(f"predicted: {result.predicted:.1f} ({result.predicted - result.ground_truth:+.1f})")


def _range(lowest, highest):
    return f"{lowest:g}" if lowest == highest else f"{lowest:g} - {highest:g}"


def _limits(group):
    """Returns the name of a group from a limit up to below the next."""
    return f"from {group['from']:g}" if group["to"] is None else f"{group['from']:g} - {group['to']:g}"
