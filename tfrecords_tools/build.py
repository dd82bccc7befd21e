r"""Builds the records of a data set.

Your own images need one file of points or counts: a CSV with the header `image,x,y` or `image,count`, or a JSON file
{"image.jpg": [[x, y], ...]}. An image without objects has a line `image,,`, the count 0, or an empty list; an empty
count is unknown. Subfolders `train` and `test` make these splits.

Examples:
  python -m tfrecords_tools.build --dataset=sha --input=ShanghaiTech --output=data/sha
  python -m tfrecords_tools.build --dataset=folder --input=pictures --output=data/mine
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from tfrecords_tools import commands
from tfrecords_tools.annotations import folder, jhu, nwpu, shanghaitech, ucf, vgg_cells
from tfrecords_tools.writing.dataset import write_dataset

REQUIRED = ("dataset", "input", "output")
ARGUMENTS = ""

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


def describe_datasets() -> str:
    """Returns a line for each reader, the first of its docstring, behind the data sets that it reads."""
    names: dict[str, list[str]] = {}
    for name, reader in DATASETS.items():
        function = reader.func if isinstance(reader, functools.partial) else reader
        names.setdefault((function.__doc__ or "").partition("\n")[0], []).append(name)
    return "\n".join(f"{', '.join(names[line])}: {line}" for line in names)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command, at its start: other commands have flags of the same names."""
    names = list(DATASETS)
    text = f"What --input is:\n{describe_datasets()}"
    flags.DEFINE_enum("dataset", None, names, text, required=True, flag_values=values)
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
    commands.run("build")
