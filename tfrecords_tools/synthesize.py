r"""Makes a data set of rendered crowds: no download, and every head's place is known exactly.

Example:
  python -m tfrecords_tools.synthesize --output=data/synthetic

Image k of a split depends on --seed, the split and k alone (and on --height, --width and --max_people), so a larger
data set begins with the images of a smaller one. Every sixth image shows few people beside the camera, whose heads are
a tenth to a third of the image's shorter side.
"""

import dataclasses
import sys
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from absl import flags

from tfcount.records import outputs, schema
from tfrecords_tools import build, commands
from tfrecords_tools.crowds import planning, rendering
from tfrecords_tools.writing.dataset import write_dataset
from tfrecords_tools.writing.plan import LoadedImage

REQUIRED = ("output",)
ARGUMENTS = ""

DATASET = "synthetic"

# JPEG holds sides up to 65,535 pixels; memory ends earlier.
_LARGEST_SIDE = 8192
_MOST_IMAGES = 10_000_000
_EMPTY = 0.04
# One image of so many shows people beside the camera, and at most so many people.
_CLOSE_EVERY, _CLOSE_PEOPLE = 6, 12


@dataclasses.dataclass(frozen=True)
class SyntheticCrowd:
    """One rendered image; a `writing.plan.ImageSource`.

    Attributes:
      split: name of the split.
      index: number of the image in its split.
      seed: of the data set.
      height: of the image, pixels.
      width: of the image, pixels.
      max_people: the most people that an image shows.
    """

    split: str
    index: int
    seed: int
    height: int
    width: int
    max_people: int

    @property
    def id(self) -> str:
        """Name of the image."""
        return f"{self.split}_{self.index:05d}"

    def fingerprint(self) -> str:
        """Returns a text that changes whenever `load` would return something else."""
        # Another OpenCV may round or compress differently.
        return f"{self!r}, renderer {rendering.RENDERER_VERSION}, OpenCV {cv2.__version__}"

    def load(self) -> LoadedImage:
        """Renders the image.

        Raises:
          ValueError: if the image is too small, for itself or for its people.
        """
        # A checksum, as Python's own hash of a text differs between processes.
        rng = np.random.default_rng([self.seed, zlib.crc32(self.split.encode()), self.index])
        close = self.index % _CLOSE_EVERY == _CLOSE_EVERY - 1
        people = draw_people(rng, min(self.max_people, _CLOSE_PEOPLE) if close else self.max_people)
        picture, points = rendering.render_crowd(rng, people, self.height, self.width, close)
        image = schema.AnnotatedImage(
            id=self.id,
            image=rendering.encode_jpeg(rng, picture),
            height=self.height,
            width=self.width,
            points=points,
            labels=schema.POINTS,
            attributes={"synthetic": True},
        )
        return LoadedImage(image, points_clipped=0, points_dropped=0)


def draw_people(rng: np.random.Generator, max_people: int) -> int:
    """Draws how many people an image shows.

    A few images are empty; half of the others are log-uniform, which gives small groups, and half follow the square
    of a uniform number, which gives crowds.

    Args:
      rng: source of random numbers.
      max_people: the largest number to draw, at least 1.

    Returns:
      A number between 0 and `max_people`.
    """
    kind, uniform = rng.random(2)
    if kind < _EMPTY:
        return 0
    if kind < (1 + _EMPTY) / 2:
        return round(max_people**uniform)
    return round(max_people * uniform**2)


def synthesize(
    output: str,
    train_images: int = 200,
    test_images: int = 50,
    height: int = 384,
    width: int = 512,
    max_people: int = 1500,
    seed: int = 0,
    overwrite: bool = False,
) -> dict:
    """Writes records of rendered crowds with the splits `train` and `test`.

    Args:
      output: folder to make.
      train_images: number of images of the split `train`.
      test_images: number of images of the split `test`; 0 leaves the split out.
      height: of the images, pixels.
      width: of the images, pixels.
      max_people: the most people that an image shows.
      seed: another seed makes other images.
      overwrite: replace the records that `output` holds, once the new ones are complete.

    Returns:
      The manifest: see `read_manifest`.

    Raises:
      ValueError: if a number is out of range; the message names the flag.
      FileExistsError: if `output` exists, and holds something else than records or `overwrite` is not set.
      OSError: if a file cannot be written.
    """
    _check("train_images", train_images, 1, _MOST_IMAGES)
    _check("test_images", test_images, 0, _MOST_IMAGES)
    _check("height", height, planning.MIN_SIDE, _LARGEST_SIDE)
    _check("width", width, planning.MIN_SIDE, _LARGEST_SIDE)
    _check("seed", seed, 0)
    room = height * width // planning.MIN_PIXELS_PER_PERSON
    if not 1 <= max_people <= room:
        raise ValueError(
            f"--max_people must be between 1 and {room}, as a person needs {planning.MIN_PIXELS_PER_PERSON} "
            f"pixels of an image of {height} x {width}. Received: {max_people}."
        )
    parameters = {"seed": seed, "height": height, "width": width, "max_people": max_people}
    splits = {
        split: [SyntheticCrowd(split=split, index=index, **parameters) for index in range(images)]
        for split, images in (("train", train_images), ("test", test_images))
        if images
    }
    source = {"renderer": rendering.RENDERER_VERSION, **parameters}
    return write_dataset(output, DATASET, splits, source, overwrite)


def _check(flag: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ValueError(f"--{flag} must be {limits}. Received: {value}.")


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the command; not on import, since other commands have flags of the same names."""
    flags.DEFINE_string("output", None, "Folder of records to make.", required=True, flag_values=values)
    for name, default, text in (
        ("train_images", 200, "Number of images of the split train."),
        ("test_images", 50, "Number of images of the split test; 0 leaves it out."),
        ("height", 384, "Height of the images, pixels."),
        ("width", 512, "Width of the images, pixels."),
        ("max_people", 1500, "The most people that an image shows."),
        ("seed", 0, "Another seed makes other images."),
    ):
        flags.DEFINE_integer(name, default, text, flag_values=values)
    flags.DEFINE_bool(
        "overwrite", False, "Replace the records in --output, once the new ones are complete.", flag_values=values
    )


@commands.reporting_errors
def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Makes the data set as the flags say, and returns the exit code."""
    if len(argv) > 1:
        raise ValueError(f"unexpected arguments {argv[1:]}; flags are written like --output=DIR.")
    outputs.check_folder("output", values.output)
    manifest = synthesize(
        values.output,
        train_images=values.train_images,
        test_images=values.test_images,
        height=values.height,
        width=values.width,
        max_people=values.max_people,
        seed=values.seed,
        overwrite=values.overwrite,
    )
    sys.stdout.write(build.summarize(manifest))
    return 0


if __name__ == "__main__":
    commands.run("synthesize")
