"""Counts and finds people in pictures: `python -m tfcount.predict --savedmodel=savedmodels/sha picture.jpg folder/`."""

import os
import sys

from absl.flags import DEFINE_float, DEFINE_string

from tfcount import commands

REQUIRED = ("savedmodel",)
ARGUMENTS = "IMAGE ..."


def define_flags(values: commands.FlagValues) -> None:
    """Defines the flags of this command."""
    DEFINE_string("savedmodel", None, "Folder of a SavedModel, or of a run.", flag_values=values)
    DEFINE_string("output", None, "Folder for overlays, counts.json and points.json.", flag_values=values)
    text = "Larger images are refused, million pixels; if not given, 200, or what the SavedModel was exported with."
    DEFINE_float("max_megapixels", None, text, flag_values=values)
    commands.define_json(values)


def main(arguments: list[str], values: commands.FlagValues) -> int:
    """Prints a table of counts, and writes overlays and JSON files if asked to; 1 if a picture could not be read."""
    import numpy as np
    import tqdm

    import tfcount
    from tfcount.drawing.overlays import draw_overlay, encode_overlay, overlay_names
    from tfcount.records import headers, images, lock
    from tfcount.records.files import write_file, write_json

    if not arguments:
        example = "python -m tfcount.predict --savedmodel=DIR IMAGE ..."
        raise ValueError(f"which pictures? Name files or folders: {example}")
    paths = images.find_images(arguments)
    if values.output is not None:
        _check_output(values.output, arguments)
    if values.max_megapixels is not None:
        headers.check_limit(values.max_megapixels, "--max_megapixels")
    output, names = commands.Output(values.json), overlay_names(paths)
    model = tfcount.load(values.savedmodel, values.max_megapixels)
    found, failures = {}, {}
    width = max(len(path) for path in paths)
    for path in tqdm.tqdm(paths, unit="image", disable=len(paths) == 1, leave=False):
        try:
            image = images.read_pixels(path, model.max_megapixels)
        except (ValueError, OSError) as error:
            tqdm.tqdm.write(f"Error: {error}", sys.stderr)
            failures[path] = str(error)
            continue
        prediction = model.predict(image)
        points = None if prediction.points is None else np.column_stack([prediction.points, prediction.scores])
        found[path] = {
            "count": prediction.count,
            "extrapolated": prediction.extrapolated,
            "points": [] if points is None else np.round(points, 3).tolist(),
        }
        beyond = "  beyond the anchors" if prediction.extrapolated else ""
        tqdm.tqdm.write(f"{path:<{width}}  {prediction.count:>10.1f}{beyond}", output.stream)
        if values.output:
            extension, encoded = encode_overlay(draw_overlay(model.reduce(image), prediction, model.stride))
            write_file(os.path.join(values.output, names[path] + extension), encoded)
    counts = {path: one["count"] for path, one in found.items()}
    if len(counts) > 1:
        output.say(f"{f'{len(counts)} images':<{width}}  {sum(counts.values()):>10.1f}\n")
    if values.output:
        people = {path: one["points"] for path, one in found.items()}
        # Both are of the same pictures.
        with lock.locked(os.path.join(values.output, lock.NAME), f"writing counts to {values.output!r}", patience=60):
            write_json(os.path.join(values.output, "counts.json"), counts)
            write_json(os.path.join(values.output, "points.json"), people, indent=None)
        output.say(f"Written: {values.output} (overlays, counts.json, points.json: x, y, people per cell)\n")
        if model.calibration.ranks:
            output.say("Nobody is found one by one: this counter was trained to rank images.\n")
        # Counts are rounded as they are shown.
        elif any(len(one["points"]) < round(one["count"]) for one in found.values()):
            output.say("People nearer to each other than two cells are counted, but not found one by one.\n")
    output.document({"images": found, "errors": failures})
    return 1 if failures else 0


def _check_output(output, arguments):
    """Makes the folder of the outputs; raises ValueError if these would be counted as pictures, or cannot be there."""
    from tfcount.records import outputs

    if os.path.realpath(output) in map(os.path.realpath, arguments):
        raise ValueError(
            f"--output={output} holds the pictures: its overlays would be counted too. Give another folder."
        )
    outputs.check_folder("output", output)
    os.makedirs(output, exist_ok=True)


if __name__ == "__main__":
    commands.run("predict")
