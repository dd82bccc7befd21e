"""Measures what learning to scale changes: errors of divisions by density, the scale factors, and counts without them.

Writes `scaling.json`, `scaling.png` and `factors.json` into results/studies/scale/l2sm_sha.

python results/studies/scale/learning_to_scale.py runs/scale/spn_sha runs/scale/l2sm_sha
"""

import json
import pathlib
import sys

import matplotlib.figure
import numpy as np
import tensorflow as tf
import tqdm

from tfcount.data.augment import reduced_image
from tfcount.data.streams.evaluation import whole_images
from tfcount.drawing.figures import to_png
from tfcount.metrics import counting
from tfcount.models.l2sm import MULTIPLE
from tfcount.ops.divisions import division_sums
from tfcount.records.files import write_file
from tfcount.records.folder import Records
from tfcount.runs import Run

OUTPUT = pathlib.Path(__file__).resolve().parent / "l2sm_sha"
# Scale factors per bin of the histogram that is kept.
BINS = np.linspace(0.5, 3.0, 26)


class Measurement:
    """What a counter says of each image: counts of its divisions, `(images, K, K)`."""

    def __init__(self):
        self.divisions = []

    def add(self, density, divisions):
        """Adds the density map `(1, h, w, 1)` of an image."""
        self.divisions.append(np.asarray(division_sums(density, divisions, MULTIPLE)[0])[0])

    @property
    def counts(self):
        """Counts of the images, `(images,)`."""
        return np.sum(self.divisions, (1, 2))


def true_density(points, height, width, stride):
    """Counts the points `(n, 2)` in the cells of a map, `(1, height, width, 1)`."""
    cells = np.minimum(points // stride, [width - 1, height - 1]).astype(int)
    counts = np.zeros((1, height, width, 1), np.float32)
    np.add.at(counts[0, ..., 0], (cells[:, 1], cells[:, 0]), 1)
    return counts


def main(spn_run, l2sm_run):
    """Measures, prints and writes."""
    spn, _ = Run(spn_run).load_counter()
    l2sm, calibration = Run(l2sm_run).load_counter()
    config = Run(l2sm_run).config()
    head, divisions = l2sm.head, config.options.divisions

    def inside(image, density):
        """Empties the cells that lie in the padding: what is divided is the padded map."""
        rows, columns = (-(-tf.shape(image)[axis] // l2sm.stride) for axis in (1, 2))
        height, width = tf.shape(density)[1], tf.shape(density)[2]
        return tf.pad(density[:, :rows, :columns], [[0, 0], [0, height - rows], [0, width - columns], [0, 0]])

    @tf.function(reduce_retracing=True)
    def unscaled(image):
        return inside(image, spn.head(spn.features(image, training=False), training=False))

    @tf.function(reduce_retracing=True)
    def scaled(image):
        features = l2sm.features(image, training=False)
        first, group, factors = head.survey(features, training=False)
        maps = [first]
        for scales in (factors, tf.ones_like(factors)):
            maps.append(head.replace(features, first, head.choose(features, group, scales)))
        return [inside(image, density) for density in maps], factors, group

    names = ("SPN", "L2SM, first map", "L2SM", "L2SM, r = 1")
    measured = {name: Measurement() for name in names}
    ids, truth, true_groups, factors, groups = [], [], [], [], []
    records = Records.open(config.data.dir, "test")
    for example in tqdm.tqdm(whole_images(records), total=len(records.rows), unit="image"):
        ids.append(example["id"].numpy().decode())
        image = reduced_image(example["image"], *calibration.limits)[None]
        zoom = tf.cast(tf.shape(image)[2:0:-1] / tf.shape(example["image"])[1::-1], tf.float32)
        maps, scales, group = scaled(image)
        maps = [unscaled(image), *maps]
        for name, density in zip(names, maps, strict=True):
            measured[name].add(density, divisions)
        people = true_density((example["points"] * zoom).numpy(), *maps[0].shape[1:3], l2sm.stride)
        truth.append(np.asarray(division_sums(people, divisions, MULTIPLE)[0])[0])
        true_groups.append(np.asarray(head.group(head.division_density(people)))[0])
        factors.append(scales.numpy()[0])
        groups.append(group.numpy()[0])
    truth, true_groups, factors, groups = (np.array(values) for values in (truth, true_groups, factors, groups))
    chosen_groups = config.options.groups - config.options.centers
    result = summarize(measured, truth, true_groups, factors, groups, chosen_groups)
    # What was chosen in each image, with 0 where a division is not looked at again: the benchmark of speed replays it.
    chosen = np.where(groups >= chosen_groups, factors, 0).astype(float).round(3).tolist()
    factors_of_images = json.dumps(dict(zip(ids, chosen, strict=True)))
    write_file(str(OUTPUT / "factors.json"), factors_of_images.replace('], "', '],\n"') + "\n")
    write_file(str(OUTPUT / "scaling.json"), json.dumps(result, indent=2) + "\n")
    write_file(str(OUTPUT / "scaling.png"), draw(result))
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def summarize(measured, truth, true_groups, factors, groups, first_chosen):
    """Returns errors of images and of divisions by the density of the truth, with paired intervals against SPN."""
    total = truth.sum((1, 2))
    baseline = measured["SPN"]
    result = {"images": len(truth), "counters": {}, "groups": []}
    for name, one in measured.items():
        errors = np.abs(one.counts - total)
        base = np.abs(baseline.counts - total)
        result["counters"][name] = {
            "mae": float(errors.mean()),
            "rmse": float(counting.rmse(total, one.counts)),
            "difference_of_mae": float((errors - base).mean()),
            "interval": counting.paired_bootstrap(errors, base),
        }
    for group in np.unique(true_groups):
        inside = true_groups == group
        row = {"group": int(group), "divisions": int(inside.sum()), "people_a_division": float(truth[inside].mean())}
        sums = {name: (np.abs(np.array(one.divisions) - truth) * inside).sum((1, 2)) for name, one in measured.items()}
        # Images are drawn, not divisions: those of an image are alike.
        share = len(truth) / inside.sum()
        for name, values in sums.items():
            row[name] = {
                "mae": float(values.mean() * share),
                "interval": [share * end for end in counting.paired_bootstrap(values, sums["SPN"])],
            }
        result["groups"].append(row)
    chosen = groups >= first_chosen
    result["chosen"] = {
        "share": float(chosen.mean()),
        "unlike_truth": float(np.mean(chosen != (true_groups >= first_chosen))),
        "mean_factor": float(factors[chosen].mean()),
        "mean_factor_by_group": {
            int(group): float(factors[groups == group].mean()) for group in np.unique(groups[chosen])
        },
        "bins": BINS.round(3).tolist(),
        "histogram": np.histogram(factors[chosen], BINS)[0].tolist(),
    }
    return result


def table(result):
    """Returns the errors of images, and those of divisions by their density, in Markdown."""
    lines = [
        "| counter | MAE | RMSE | MAE above that of SPN | paired 95 % interval |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, one in result["counters"].items():
        low, high = one["interval"]
        compared = f"{one['difference_of_mae']:+.1f} | {low:+.1f} to {high:+.1f}" if low < high else " | "
        lines.append(f"| {name} | {one['mae']:.1f} | {one['rmse']:.1f} | {compared} |")
    lines += [
        "",
        "| people in a division | divisions | MAE of SPN | of L2SM | paired 95 % interval of the difference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result["groups"]:
        low, high = row["L2SM"]["interval"]
        lines.append(
            f"| {row['people_a_division']:.1f} | {row['divisions']} | {row['SPN']['mae']:.2f} | "
            f"{row['L2SM']['mae']:.2f} | "
            f"{low:+.2f} to {high:+.2f} |"
        )
    return "".join(f"{line}\n" for line in lines)


def draw(result):
    """Returns a PNG: errors by density group, and the histogram of the scale factors."""
    figure = matplotlib.figure.Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(result["counters"])
    positions = np.arange(len(result["groups"]))
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        values = [row[name]["mae"] for row in result["groups"]]
        left.bar(positions + (index - (len(names) - 1) / 2) * width, values, width, label=name)
    left.set_xticks(positions, [f"{row['people_a_division']:.1f}" for row in result["groups"]])
    left.set(xlabel="mean number of people in the divisions of a group", ylabel="mean absolute error of a division")
    left.legend(fontsize="small")
    edges = result["chosen"]["bins"]
    right.stairs(result["chosen"]["histogram"], edges, fill=True)
    right.set(xlabel="scale factor r", ylabel="divisions looked at again")
    return to_png(figure)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
