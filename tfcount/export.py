"""Exports a trained counter: `python -m tfcount.export --model_dir=runs/sha --output=savedmodels/sha`."""

import sys

from absl import flags

import tfcount.flags
from tfcount import experiment, serving


def main(argv):
    """Writes the next version of a SavedModel."""
    counter, _ = experiment.load_counter(flags.FLAGS.model_dir)
    folder = serving.export(counter, flags.FLAGS.output, experiment.read_threshold(flags.FLAGS.model_dir))
    sys.stdout.write(f"Written: {folder} (signatures `serving_default`, `density`)\n")


if __name__ == "__main__":
    flags.DEFINE_string("model_dir", None, "Folder of the run to export.", required=True)
    flags.DEFINE_string("output", None, "Folder of the versions, such as savedmodels/NAME.", required=True)
    tfcount.flags.run(main)
