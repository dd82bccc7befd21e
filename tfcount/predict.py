"""Counts and finds people in pictures: `python -m tfcount.predict --savedmodel=savedmodels/sha picture.jpg folder/`."""

import collections
import os
import sys

import cv2
import numpy as np
import tqdm
from absl import flags

import tfcount.flags
from tfcount import evaluation, serving
from tfcount.drawing.overlays import draw_overlay
from tfcount.models.anchors import SUM
from tfcount.records import images
from tfcount.records.files import write_file, write_json


def main(argv):
    """Prints a table of counts, and writes overlays and JSON files if asked to; 1 if a picture could not be read."""
    paths = find_images(argv[1:])
    output = flags.FLAGS.output
    if output:
        _check_output(output, argv[1:])
    names = _overlay_names(paths)
    counter = serving.load(flags.FLAGS.savedmodel)
    counts, people, failures = {}, {}, 0
    width = max(len(path) for path in paths)
    for path in tqdm.tqdm(paths, unit="image", disable=len(paths) == 1, leave=False):
        try:
            whole = images.read_pixels(path)
        except (ValueError, OSError) as error:
            tqdm.tqdm.write(f"Error: {error}", sys.stderr)
            failures += 1
            continue
        image = counter.reduce(whole)
        density = counter.density(image)
        counts[path] = counter.anchors.count(float(density.sum(dtype=np.float64)))
        beyond = "  beyond the anchors" if counter.anchors.extrapolates(counts[path]) else ""
        tqdm.tqdm.write(f"{path:<{width}}  {counts[path]:>10.1f}{beyond}", sys.stdout)
        if output:
            ranks = counter.anchors != SUM
            sides = image.shape[0], image.shape[1]
            points, scores = evaluation.find_points(density, counter.stride, *sides, counter.threshold)
            found = points * np.divide(whole.shape[1::-1], image.shape[1::-1])
            people[path] = np.round(np.column_stack([found, scores]), 3).tolist()
            drawn = draw_overlay(image, density, counter.stride, counts[path], None if ranks else points)
            # JPEG ends at 65,535 pixels a side.
            extension = ".jpg" if max(drawn.shape) < 65_500 else ".png"
            encoded = cv2.imencode(extension, drawn[..., ::-1])[1].tobytes()
            write_file(os.path.join(output, names[path] + extension), encoded)
    if len(counts) > 1:
        sys.stdout.write(f"{f'{len(counts)} images':<{width}}  {sum(counts.values()):>10.1f}\n")
    if output:
        write_json(os.path.join(output, "counts.json"), counts)
        write_json(os.path.join(output, "points.json"), people, indent=None)
        sys.stdout.write(f"Written: {output} (overlays, counts.json, points.json: x, y, people per cell)\n")
    return 1 if failures else 0


def _check_output(output, arguments):
    """Makes the folder of the outputs; raises ValueError if these would be counted as pictures, or cannot be there."""
    if os.path.realpath(output) in map(os.path.realpath, arguments):
        raise ValueError(
            f"--output={output} holds the pictures: its overlays would be counted too. Give another folder."
        )
    if os.path.exists(output) and not os.path.isdir(output):
        raise ValueError(f"--output={output} is a file. Give a folder.")
    os.makedirs(output, exist_ok=True)


def find_images(arguments) -> list[str]:
    """Returns the image files among the arguments, and those directly inside the folders among them, sorted.

    Raises:
      ValueError: if there are no arguments, a folder holds no image, or a name is not UTF-8.
      FileNotFoundError: if a path does not exist.
    """
    if not arguments:
        raise ValueError("which pictures? Name files or folders: python -m tfcount.predict --savedmodel=DIR IMAGE ...")
    paths = []
    for argument in arguments:
        if os.path.isdir(argument):
            inside = [os.path.join(argument, name) for name in sorted(os.listdir(argument))]
            inside = [path for path in inside if path.lower().endswith(images.EXTENSIONS) and os.path.isfile(path)]
            if not inside:
                raise ValueError(f"{argument!r} holds no image ({', '.join(images.EXTENSIONS)}).")
            paths += inside
        elif os.path.isfile(argument):
            paths.append(argument)
        else:
            raise FileNotFoundError(f"{argument!r} does not exist.")
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{path!a} is not a name in UTF-8, which JSON files need: rename it.") from error
    return list({os.path.abspath(path): path for path in paths}.values())


def _overlay_names(paths):
    """Returns the name of the overlay of each picture, without extension; no two are alike."""
    pictures = collections.Counter(os.path.basename(path) for path in paths)
    names: dict[str, str] = {}
    for path in paths:
        name = os.path.basename(path)
        if pictures[name] > 1:
            name = os.path.abspath(path).replace(os.sep, "_").lstrip("_")
        while name in names:
            name += "_"
        names[name] = path
    return {path: f"{name}_overlay" for name, path in names.items()}


if __name__ == "__main__":
    flags.DEFINE_string("savedmodel", None, "Folder of a SavedModel, or of a run.", required=True)
    flags.DEFINE_string("output", None, "Folder for overlays, counts.json and points.json.")
    tfcount.flags.run(main, takes_arguments=True)
