r"""Builds the records of a data set.

Example:
  python -m tfrecords_tools.build --dataset=sha --input=ShanghaiTech --output=data/sha

Data sets:
  sha, shb    ShanghaiTech, part A or B. --input: the folder of the part, or one that holds it.
  ucf_qnrf    UCF-QNRF. --input: the folder with `Train` and `Test`.
  ucf_cc_50_1 to ucf_cc_50_5: the five folds of UCF_CC_50, each with another fifth for the test. --input: its folder.
  jhu         JHU-CROWD++. --input: the folder with `train`, `val` and `test`.
  nwpu        NWPU-Crowd. --input: the folder with `images`, `jsons` and the lists `train.txt`, `val.txt`, `test.txt`.
              Its test images have no annotations: count them with `tfcount.predict`, evaluate on `val`.
  vgg_cells   200 images of cells with dots. --input: the folder `cells`, or the one that holds it.
  folder      your own images with one file of points or counts, a CSV with the header `image,x,y` or `image,count`,
              or a JSON file {"image.jpg": [[x, y], ...]}. An image without objects has a line `image,,`, the count 0,
              or an empty list; an empty count is unknown. Subfolders `train` and `test` make these splits.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from tfrecords_tools import commands
from tfrecords_tools.annotations import folder, jhu, nwpu, shanghaitech, ucf, vgg_cells
from tfrecords_tools.writing.dataset import write_dataset

DATASETS: dict[str, Callable] = {
    "sha": functools.partial(shanghaitech.read, part="A"),
    "shb": functools.partial(shanghaitech.read, part="B"),
    "ucf_qnrf": ucf.read_qnrf,
    **{f"ucf_cc_50_{fold}": functools.partial(ucf.read_cc_50, fold=fold) for fold in range(1, ucf.FOLDS + 1)},
    "jhu": jhu.read,
    "nwpu": nwpu.read,
    "vgg_cells": vgg_cells.read,
    "folder": folder.read,
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command, at its start: other commands have flags of the same names."""
    names = list(DATASETS)
    flags.DEFINE_enum("dataset", None, names, "What --input holds.", required=True, flag_values=values)
    flags.DEFINE_string("input", None, "Folder of the data set.", required=True, flag_values=values)
    flags.DEFINE_string("output", None, "Folder of records to make.", required=True, flag_values=values)
    flags.DEFINE_bool(
        "overwrite", False, "Replace the records in --output, once the new ones are complete.", flag_values=values
    )


@commands.reporting_errors
def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Builds records as the flags say, and returns the exit code."""
    if len(argv) > 1:
        raise ValueError(f"unexpected arguments {list(argv[1:])}; flags are written like --input=DIR.")
    splits = DATASETS[values.dataset](values.input)
    source = {"input": os.path.abspath(values.input)}
    manifest = write_dataset(values.output, values.dataset, splits, source, values.overwrite)
    sys.stdout.write(summarize(manifest))
    return 0


def summarize(manifest: dict) -> str:
    """Returns a table of what was written, and a warning if images of several splits are the same."""
    lines = [f"{'split':<10}{'images':>8}{'points':>10}{'clipped':>9}{'dropped':>9}{'MB':>9}"]
    for name, split in manifest["splits"].items():
        megabytes = sum(shard["bytes"] for shard in split["shards"]) / 1e6
        lines.append(
            f"{name:<10}{split['images']:>8,}{split['points']:>10,}{split['points_clipped']:>9,}"
            f"{split['points_dropped']:>9,}{megabytes:>9.1f}"
        )
    for names in manifest["duplicates"]:
        if len({name.split("/")[0] for name in names}) > 1:
            lines.append(f"Warning: the same image is in several splits: {' = '.join(names)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    commands.run(main, define_flags)
