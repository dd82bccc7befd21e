"""The figure of a comparison of counters."""

import matplotlib.figure
import matplotlib.layout_engine

from tfcount.drawing.figures import equalize_axes, to_png


def draw_comparison(results, rows: list[dict]) -> bytes:
    """Draws the MAE of each result, the differences to the first, and its errors against those of the others.

    Args:
      results: each with its `name` and `errors` `(seeds, images)`, the absolute errors.
      rows: for each result `mae` and `interval`; after the first also `difference`, `difference_interval` and
        `verdict`.

    Returns:
      The picture as PNG.
    """
    # Names must not touch the edge.
    layout = matplotlib.layout_engine.ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = matplotlib.figure.Figure(figsize=(14, 3.2 + 0.4 * len(results)), layout=layout)
    means, differences, scatter = figure.subplots(1, 3)
    colors = [f"C{index % 10}" for index in range(len(results))]
    for position, (row, color) in enumerate(zip(rows, colors, strict=True)):
        means.plot(row["interval"], [position] * 2, color=color, linewidth=3, alpha=0.4)
        means.plot(row["mae"], position, "o", color=color)
        if "verdict" in row:
            differences.plot(row["difference_interval"], [position] * 2, color=color, linewidth=3, alpha=0.4)
            differences.plot(row["difference"], position, "o", color=color)
    limits = (len(results) - 0.5, -0.5)
    means.set_yticks(range(len(results)), [result.name for result in results])
    means.set(xlabel="MAE, 95 % interval", ylim=limits)
    differences.axvline(0, color="0.3", linewidth=0.8)
    # The rows are those of the first plot, whose names need not be there twice.
    differences.yaxis.tick_right()
    differences.set_yticks(range(len(results)), [row.get("verdict", "baseline") for row in rows])
    differences.set(xlabel=f"MAE above that of {results[0].name},\npaired, 95 % interval", ylim=limits)
    # Colors tell which points of the third plot are whose.
    for labels in (means.get_yticklabels(), differences.get_yticklabels()):
        for label, color in zip(labels, colors, strict=True):
            label.set_color(color)
    ours = results[0].errors.mean(0)
    equalize_axes(scatter, 0.0, max(max(result.errors.mean(0).max() for result in results), 1.0))
    for result, color in zip(results[1:], colors[1:], strict=True):
        scatter.scatter(ours, result.errors.mean(0), s=14, alpha=0.6, edgecolor="none", color=color)
    scatter.set(xlabel=f"|error| of {results[0].name}", ylabel="|error| of the others, each image")
    return to_png(figure)
