"""Trains a counter: `python -m tfcount.train --flagfile=configs/resnet50_sha.flags`."""

import os
import re
import sys

from absl import flags

import tfcount.flags
from tfcount import experiment


def main(argv):
    """Trains as the flags say; returns the exit code."""
    model_dir = flags.FLAGS.model_dir or default_model_dir(sys.argv[1:])
    return experiment.train(tfcount.flags.read(), model_dir, flags.FLAGS.resume)


def default_model_dir(arguments: list[str]) -> str:
    """Returns `runs/NAME` for the last flagfile of a command line, `NAME.flags`.

    Raises:
      ValueError: if there is no flagfile.
    """
    paths = re.findall(r"^--?flagfile[=\n](.+)$", "\n".join(arguments), re.MULTILINE)
    if not paths:
        raise ValueError("--model_dir must name a folder for the run: without --flagfile it has no name.")
    return os.path.join("runs", os.path.splitext(os.path.basename(paths[-1]))[0])


if __name__ == "__main__":
    tfcount.flags.define()
    flags.DEFINE_string(
        "model_dir", None, "Folder of the run: weights, log, TensorBoard; if not given, runs/ and the flagfile's name."
    )
    flags.DEFINE_bool("resume", False, "Go on with the run in --model_dir.")
    flags.adopt_module_key_flags(tfcount.flags)
    tfcount.flags.run(main)
