"""Exports a trained counter for TensorFlow Serving: `python -m tfcount.export --model_dir=runs/sha --output=DIR`."""

import sys

from absl.flags import DEFINE_float, DEFINE_string

from tfcount import commands
from tfcount.records import headers

REQUIRED = ("model_dir", "output")
ARGUMENTS = ""


def define_flags(values: commands.FlagValues) -> None:
    """Defines the flags of this command."""
    DEFINE_string("model_dir", None, "Folder of the run to export.", flag_values=values)
    DEFINE_string("output", None, "Folder of the versions, such as savedmodels/NAME.", flag_values=values)
    text = "Larger images are not decoded when the SavedModel is served or loaded, million pixels."
    DEFINE_float("max_megapixels", headers.MAX_MEGAPIXELS, text, flag_values=values)


def main(arguments: list[str], values: commands.FlagValues) -> None:
    """Writes the next version of a SavedModel."""
    from tfcount.records import outputs
    from tfcount.runs import Run
    from tfcount.serving import savedmodel

    outputs.check_folder("output", values.output)
    headers.check_limit(values.max_megapixels, "--max_megapixels")
    run = Run(values.model_dir)
    counter, calibration = run.load_counter()
    folder = savedmodel.export(counter, values.output, calibration, values.max_megapixels)
    sys.stdout.write(f"Written: {folder} (signatures `serving_default`, `density`), of {run.weights()}\n")


if __name__ == "__main__":
    commands.run("export")
