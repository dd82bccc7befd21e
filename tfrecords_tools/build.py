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
import warnings
from collections.abc import Callable, Sequence

from absl import flags

from tfcount.records import headers, outputs
from tfrecords_tools import commands
from tfrecords_tools.annotations import files, folder, jhu, loading, nwpu, shanghaitech, ucf, vgg_cells
from tfrecords_tools.writing.dataset import write_dataset
from tfrecords_tools.writing.plan import ImageSource

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
    text = "Larger images are refused before they are decoded, million pixels."
    flags.DEFINE_float("max_megapixels", headers.MAX_MEGAPIXELS, text, flag_values=values)
    flags.DEFINE_bool(
        "overwrite", False, "Replace the records in --output, once the new ones are complete.", flag_values=values
    )
    flags.DEFINE_enum(
        "points_outside",
        loading.DROP,
        list(loading.POINTS_OUTSIDE),
        "What becomes of points more than a pixel outside of their image: drop leaves them out, and the count of the "
        "image stays that of all its points; clip moves them to the edge; error stops at them. Points up to a pixel "
        "outside always move to the edge.",
        flag_values=values,
    )


@commands.reporting_errors
def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Builds records as the flags say, and returns the exit code."""
    if len(argv) > 1:
        raise ValueError(f"unexpected arguments {list(argv[1:])}; flags are written like --input=DIR.")
    limit = headers.check_limit(values.max_megapixels, "--max_megapixels")
    outputs.check_folder("output", values.output)
    splits, said = read(values.dataset, values.input)
    source = {"input": os.path.abspath(values.input)}
    if values.points_outside != loading.DROP:
        source["points_outside"] = values.points_outside
    splits = {
        split: [loading.BoundedImage(image, values.points_outside, limit) for image in sources]
        for split, sources in splits.items()
    }
    manifest = write_dataset(values.output, values.dataset, splits, source, values.overwrite, said)
    sys.stdout.write(summarize(manifest))
    return 0


def read(dataset: str, path: str) -> tuple[dict[str, list[ImageSource]], list[str]]:
    """Reads the annotations of a data set.

    Args:
      dataset: one of `DATASETS`.
      path: folder of the data set.

    Returns:
      The images of every split, and what the reader warns of.

    Raises:
      OSError, ValueError: if a file is missing or cannot be used; they name it.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"--input={path!a} is not a name in UTF-8, which records need: rename the folder.") from None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", files.AnnotationWarning)
        splits = DATASETS[dataset](path)
    said = []
    for warning in caught:
        if issubclass(warning.category, files.AnnotationWarning):
            said.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return splits, said


def summarize(manifest: dict) -> str:
    """Returns a table of what was written, and what may be wrong with it: the last lines are warnings."""
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
    lines += [f"Warning: {text}" for text in manifest["warnings"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    commands.run("build")
