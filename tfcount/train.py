"""Trains a counter: `python -m tfcount.train --flagfile=configs/resnet50_sha.flags --model_dir=runs/resnet50_sha`."""

from absl import flags

import tfcount.flags
from tfcount import experiment


def main(argv):
    """Trains as the flags say; returns the exit code."""
    return experiment.train(tfcount.flags.read(), flags.FLAGS.model_dir, flags.FLAGS.resume)


if __name__ == "__main__":
    tfcount.flags.define()
    flags.DEFINE_string("model_dir", None, "Folder of the run: weights, log, TensorBoard.", required=True)
    flags.DEFINE_bool("resume", False, "Go on with the run in --model_dir.")
    flags.adopt_module_key_flags(tfcount.flags)
    tfcount.flags.run(main)
