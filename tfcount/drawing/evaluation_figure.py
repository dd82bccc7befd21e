"""The figure of an evaluation."""

import matplotlib.figure
import numpy as np

from tfcount.drawing.figures import equalize_axes, thumbnail, to_png


def draw_evaluation(results, summary: dict, images: dict[str, np.ndarray]) -> bytes:
    """Draws predicted against true counts, the bias by count and by size, and the images with the largest errors.

    Args:
      results: of all images, each with its `image_id`, `ground_truth` and `predicted`.
      summary: `dataset`, `split`, `images`, `mae`, `rmse`, `bias_by_count` and `bias_by_megapixels` of all images.
      images: `(height, width, 3)` uint8 by id, those with the largest errors, in the order in which they are drawn.

    Returns:
      The picture as PNG.
    """
    figure = matplotlib.figure.Figure(figsize=(15, 8.6), layout="constrained")
    figure.suptitle(
        f"{summary['dataset']} {summary['split']}: MAE {summary['mae']:.1f}, RMSE {summary['rmse']:.1f} "
        f"({summary['images']} images)"
    )
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1.3, 1)))
    scatter, by_count, by_size = above.subplots(1, 3)

    truth = np.array([result.ground_truth for result in results])
    predicted = np.array([result.predicted for result in results])
    limit = 1.05 * max(truth.max(), predicted.max(), 1.0)
    equalize_axes(scatter, limit)
    scatter.scatter(truth, predicted, s=14, alpha=0.7, edgecolor="none")
    scatter.set(xlabel="true count", ylabel="predicted count")
    _draw_bias(by_count, summary["bias_by_count"], "true count")
    _draw_bias(by_size, summary["bias_by_megapixels"], "megapixels")

    below.suptitle("largest errors", fontsize="medium")
    of_image = {result.image_id: result for result in results}
    for axes, (identity, image) in zip(np.atleast_1d(below.subplots(1, len(images))), images.items(), strict=True):
        result = of_image[identity]
        axes.imshow(thumbnail(image))
        axes.set_title(
            f"{identity}: {result.ground_truth:g} people, predicted {result.predicted:.0f}", fontsize="small"
        )
        axes.axis("off")
    return to_png(figure)


def _draw_bias(axes, groups, label):
    names = [f"{group['from']:g}" + ("+" if group["to"] is None else f"-{group['to']:g}") for group in groups]
    positions = np.arange(len(groups))
    axes.bar(positions - 0.2, [group["mae"] for group in groups], 0.4, label="MAE", color="0.75")
    axes.bar(positions + 0.2, [group["bias"] for group in groups], 0.4, label="bias (predicted - true)")
    ticks = [f"{name}\nn = {group['images']}" for name, group in zip(names, groups, strict=True)]
    axes.set_xticks(positions, ticks, fontsize="small")
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set(xlabel=label, ylabel="people an image")
    axes.legend(frameon=False)
