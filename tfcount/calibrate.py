"""Corrects counts by counted images: `python -m tfcount.calibrate --model_dir=runs/camera --data_dir=data/counted`."""

import dataclasses
import math
import os
import sys

from absl.flags import DEFINE_enum, DEFINE_string

from tfcount import commands

REQUIRED = ("model_dir",)
ARGUMENTS = ""


def define_flags(values: commands.FlagValues) -> None:
    """Defines the flags of this command."""
    DEFINE_string("model_dir", None, "Folder of the run.", flag_values=values)
    DEFINE_string(
        "data_dir",
        None,
        "Folder of records of counted images that the run was not trained on. Of its own records, which are taken if "
        "not given, the held-out images of split train are counted.",
        flag_values=values,
    )
    DEFINE_string("split", "train", "Split to count.", flag_values=values)
    DEFINE_enum(
        "form",
        "factor",
        ["factor", "line", "none"],
        "What makes counts of the sums of densities: a factor, a line, or nothing, which takes away what was fitted.",
        flag_values=values,
    )
    commands.define_json(values)


def main(arguments: list[str], values: commands.FlagValues) -> None:
    """Fits a factor or a line, prints what it brings, and writes it beside the weights of the run."""
    import numpy as np

    from tfcount import calibration, evaluation
    from tfcount.ops.anchor_line import AnchorLine
    from tfcount.runs import Run

    output, run = commands.Output(values.json), Run(values.model_dir)
    # Before the counter is built, which takes seconds.
    records = None if values.form == calibration.NONE else _counted(run, values.data_dir, values.split)
    model = run.load()
    if model.calibration.ranks:
        raise ValueError(
            f"The counter in {values.model_dir!r} only ranks images: its counts come from the line through its "
            "anchors, which --ranking_anchors of the training chooses. Nothing else corrects them."
        )
    plain = dataclasses.replace(model.calibration, line=AnchorLine())
    if records is None:
        path = run.replace_calibration(model.calibration, plain)
        output.say(f"Written: {path}: counts are the sums of densities.\n")
        output.document({"form": values.form})
        return
    sums = evaluation.count_images(model.calibrated(plain), records)
    line, summary = calibration.fit(values.form, sums, np.array([row.count for row in records.rows]))
    path = run.replace_calibration(model.calibration, dataclasses.replace(plain, line=line))
    output.say(f"{records.folder} {values.split}: {calibration.table(summary)}")
    for warning in calibration.warnings(summary):
        sys.stderr.write(f"Warning: {warning}\n")
    output.say(
        f"Written: {path}. A SavedModel of before stays as it is: export again. What is measured on these images is "
        "now too good.\n"
    )
    output.document(summary)


def _counted(run, folder, split):
    """Returns the images with known counts; of what the run was trained on, those that it held out.

    Raises:
      ValueError: if there are none.
    """
    from tfcount.records.folder import Records

    data = run.config().data
    records = Records.open(data.dir if folder is None else folder, split)
    if split == "train" and os.path.abspath(records.folder) == os.path.abspath(data.dir):
        # The errors on images that it learned are not those on others.
        _, records = records.hold_out(data.validation_fraction, run.config().seed, data.validation_by)
        if not records.rows:
            raise ValueError(
                f"The run in {run.folder!r} was trained on all images of {data.dir!r}, and a counter errs less on "
                "those than on others: give --data_dir with records of other images."
            )
    counted = records.select({row.id for row in records.rows if not math.isnan(row.count)})
    if not counted.rows:
        raise ValueError(
            f"No image of split {split!r} in {records.folder!r} has a known count. Count some, put the counts into the "
            "annotation file, and build the records again."
        )
    return counted


if __name__ == "__main__":
    commands.run("calibrate")
