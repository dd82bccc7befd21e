"""Images that have a file of annotations each: finds the file of every image."""

import dataclasses
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfcount.records import images, schema
from tfrecords_tools.annotations import files, loading
from tfrecords_tools.writing.plan import ImageWarning, LoadedImage


class Heads(NamedTuple):
    """What a file of annotations holds.

    Attributes:
      points: (n, 2) (x, y) in pixels.
      boxes: (n, 4) boxes of the same objects, (left, top, right, bottom) in pixels, or None.
      stated_count: how many objects the file says that there are, or None if it does not.
    """

    points: np.ndarray
    boxes: np.ndarray | None = None
    stated_count: float | None = None


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image with the file of its points, or one that nobody has annotated.

    Attributes:
      id: its name without extension.
      image_path: of the image file.
      annotation_path: of the file of its points, or None if the image is not annotated.
      read: path of such a file -> what it holds.
      attributes: what else is known of the image.
      stated_count: how many objects another file says that there are, or None.
    """

    id: str
    image_path: str
    annotation_path: str | None
    read: Callable[[str], Heads]
    attributes: dict = dataclasses.field(default_factory=dict)
    stated_count: float | None = None

    def fingerprint(self) -> str:
        """Returns a text that changes when the image, its annotation or its attributes do."""
        paths = [path for path in (self.image_path, self.annotation_path) if path]
        return repr((loading.fingerprint_files(*paths), self.attributes, self.stated_count))

    def load(self) -> LoadedImage:
        """Reads the image, and its points and boxes."""
        if self.annotation_path is not None:
            heads = self.read(self.annotation_path)
            stated = heads.stated_count if self.stated_count is None else self.stated_count
            warnings = check_stated(self.annotation_path, len(heads.points), stated)
            loaded = loading.load_points(self.id, self.image_path, heads.points, heads.boxes, self.attributes)
            return loaded._replace(warnings=(*loaded.warnings, *warnings))
        image = images.read_encoded(self.image_path)
        record = schema.AnnotatedImage(
            self.id, image.encoded, image.height, image.width, labels=schema.NONE, attributes=self.attributes
        )
        return LoadedImage(record, 0, 0)


def check_stated(path: str, number: int, stated: float | None) -> list[ImageWarning]:
    """Compares the points of a file with the number that is stated beside them.

    Args:
      path: of the file.
      number: of its points.
      stated: what is said of it, or None.

    Returns:
      A warning where they differ.

    Raises:
      ValueError: if there are no points, and some are stated: the file was emptied.
    """
    if stated is None or stated == number:
        return []
    if number == 0:
        raise ValueError(
            f"{path} holds no points, and {stated:g} are stated. Copy it again from its source, or correct what is "
            "stated."
        )
    text = "state another number of points than they have, which is taken"
    return [ImageWarning(text, f"{path}: {stated:g}, and {number:,} points", 1)]


def pair(image_folder: str, annotation_folder: str, pattern: str, read: Callable, root: str) -> list[AnnotatedImage]:
    """Finds the images of a folder, each with its annotation.

    Args:
      image_folder: of the images.
      annotation_folder: of the annotations.
      pattern: name of the annotation of an image, with `{}` where the image has its name without extension.
      read: path of an annotation -> `Heads`.
      root: folder of the whole data set.

    Raises:
      FileNotFoundError: if a folder or all images are missing, an image has no annotation, or an annotation no image.
      ValueError: if a file is none, leads out of `root`, or two images have the same name.
    """
    for folder in (image_folder, annotation_folder):
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"There is no folder {folder}.")
    names: dict[str, str] = {}
    for name in files.list_images(image_folder, root):
        stem = os.path.splitext(name)[0]
        path = os.path.join(annotation_folder, pattern.format(stem))
        if not os.path.lexists(path) and image_folder == annotation_folder and _is_annotation(stem, pattern):
            files.warn(f"{os.path.join(image_folder, name)} is passed over: it has the name of an annotation.")
        elif stem in names:
            raise ValueError(
                f"{os.path.join(image_folder, name)} and {names[stem]} have the same name, and so one annotation: "
                "rename or remove one."
            )
        else:
            names[stem] = name
    sources = []
    for stem, name in names.items():
        path = os.path.join(annotation_folder, pattern.format(stem))
        if not os.path.lexists(path):
            raise FileNotFoundError(
                f"{os.path.join(image_folder, name)} has no annotation {path}. Copy it, or remove the image."
            )
        files.check_file(path, root)
        sources.append(AnnotatedImage(stem, os.path.join(image_folder, name), path, read))
    known = {source.annotation_path for source in sources}
    suffix = pattern.rpartition("{}")[2]
    for name in sorted(os.listdir(annotation_folder)):
        path = os.path.join(annotation_folder, name)
        if name.lower().endswith(suffix) and not name.startswith(".") and path not in known:
            raise FileNotFoundError(f"{path} has no image in {image_folder}. Copy the image, or remove the annotation.")
    if not sources:
        raise FileNotFoundError(f"{image_folder} holds no images.")
    return sources


def _is_annotation(stem: str, pattern: str) -> bool:
    """Whether a name without extension is that of an annotation."""
    before, after = os.path.splitext(pattern)[0].split("{}")
    return stem.startswith(before) and stem.endswith(after)
