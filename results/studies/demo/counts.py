"""Draws predicted counts against true ones: of rendered crowds and of real ones, by a counter that saw rendered ones.

Writes `counts.png` beside this script: python results/studies/demo/counts.py
"""

import csv
import pathlib

import matplotlib.figure
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
PANELS = {"demo": "rendered crowds", "demo_to_sha": "photographs: ShanghaiTech Part A"}


def main() -> None:
    """Reads the predictions that are kept, and draws them."""
    figure = matplotlib.figure.Figure(figsize=(9.5, 4.6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        with open(FOLDER / name / "predictions.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        truth, predicted = (np.array([float(row[key]) for row in rows]) for key in ("ground_truth", "predicted"))
        limit = 1.2 * max(truth.max(), predicted.max())
        axes.plot([0, limit], [0, limit], color="0.7", label="as many as there are")
        axes.plot(truth, predicted, ".", color="C1")
        axes.set_xscale("symlog", linthresh=10)
        axes.set_yscale("symlog", linthresh=10)
        ticks = [0, 10, 100, 1000]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.set(xlim=(-1, limit), ylim=(-1, limit), xlabel="people in the image", ylabel="people counted", title=title)
        axes.set_box_aspect(1)
        axes.legend(frameon=False, loc="upper left")
    figure.savefig(FOLDER / "counts.png", dpi=100)


if __name__ == "__main__":
    main()
