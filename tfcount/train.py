"""Trains a counter: `python -m tfcount.train --flagfile=configs/l2sm_sha.flags`."""

import os

from absl.flags import DEFINE_bool, DEFINE_string

from tfcount import commands, flags

REQUIRED = ()
ARGUMENTS = ""


def define_flags(values: commands.FlagValues) -> dict[str, list[str]]:
    """Defines the flags of this command."""
    headings = flags.define(values)
    DEFINE_string(
        "model_dir",
        None,
        "Folder of the run: weights, log, TensorBoard; if not given, runs/ and the flagfile's name.",
        flag_values=values,
    )
    DEFINE_bool("resume", False, "Go on with the run in --model_dir.", flag_values=values)
    headings[flags.RUN] += ["model_dir", "resume"]
    return headings


def main(arguments: list[str], values: commands.FlagValues) -> int:
    """Trains as the flags say."""
    from tfcount import training
    from tfcount.runs import Run

    config = flags.read(values)
    run = Run(values.model_dir or default_model_dir(values.flagfile))
    run.check_folder()
    training.check_memory(config)
    return training.train(config, *training.open_records(config), run, values.resume)


def default_model_dir(flagfile: str) -> str:
    """Returns `runs/NAME` for a flagfile `NAME.flags`.

    Raises:
      ValueError: if there is no flagfile.
    """
    if not flagfile:
        raise ValueError("--model_dir must name a folder for the run: without --flagfile it has no name.")
    return os.path.join("runs", os.path.splitext(os.path.basename(flagfile))[0])


if __name__ == "__main__":
    commands.run("train")
