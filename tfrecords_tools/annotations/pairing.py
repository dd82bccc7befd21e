"""Images that have a file of annotations each: finds the file of every image."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from tfcount.records import images, schema
from tfrecords_tools.annotations import loading
from tfrecords_tools.writing.plan import LoadedImage


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image with the file of its points.

    Attributes:
      id: its name without extension.
      image_path: of the image file.
      annotation_path: of the file of its points.
      read: path of such a file -> points `(n, 2)`.
    """

    id: str
    image_path: str
    annotation_path: str
    read: Callable[[str], np.ndarray]

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its annotation does."""
        return loading.fingerprint_files(self.image_path, self.annotation_path)

    def load(self) -> LoadedImage:
        """Reads the image and its points."""
        return loading.load_points(self.id, self.image_path, self.read(self.annotation_path))


@dataclasses.dataclass(frozen=True)
class BoxedImage:
    """One image with the file of its points and boxes, or one that nobody has annotated.

    Attributes:
      id: its name without extension.
      image_path: of the image file.
      annotation_path: of the file of its points and boxes, or None if the image is not annotated.
      read: path of such a file -> points `(n, 2)`, boxes `(n, 4)` (left, top, right, bottom), both in pixels.
      attributes: what else is known of the image.
    """

    id: str
    image_path: str
    annotation_path: str | None
    read: Callable[[str], tuple[np.ndarray, np.ndarray]]
    attributes: dict

    def fingerprint(self) -> str:
        """Returns a text that changes when the image, its annotation or its attributes do."""
        paths = [path for path in (self.image_path, self.annotation_path) if path]
        return repr((loading.fingerprint_files(*paths), self.attributes))

    def load(self) -> LoadedImage:
        """Reads the image, and its points and boxes."""
        if self.annotation_path is not None:
            points, boxes = self.read(self.annotation_path)
            return loading.load_points(self.id, self.image_path, points, boxes, self.attributes)
        image = images.read_encoded(self.image_path)
        record = schema.AnnotatedImage(
            self.id, image.encoded, image.height, image.width, labels=schema.NONE, attributes=self.attributes
        )
        return LoadedImage(record, 0, 0)


def pair(image_folder: str, annotation_folder: str, pattern: str, read: Callable) -> list[AnnotatedImage]:
    """Finds the images of a folder, each with its annotation.

    Args:
      image_folder: of the images.
      annotation_folder: of the annotations.
      pattern: name of the annotation of an image, with `{}` where the image has its name without extension.
      read: path of an annotation -> points `(n, 2)`.

    Raises:
      FileNotFoundError: if a folder is missing, an image has no annotation, or an annotation no image.
    """
    for folder in (image_folder, annotation_folder):
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"There is no folder {folder}.")
    sources = []
    for name in images.list_images(image_folder):
        stem = os.path.splitext(name)[0]
        path = os.path.join(annotation_folder, pattern.format(stem))
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{os.path.join(image_folder, name)} has no annotation {path}. Copy it, or remove the image."
            )
        sources.append(AnnotatedImage(stem, os.path.join(image_folder, name), path, read))
    known = {source.annotation_path for source in sources}
    suffix = pattern.rpartition("{}")[2]
    for name in sorted(os.listdir(annotation_folder)):
        path = os.path.join(annotation_folder, name)
        if name.lower().endswith(suffix) and not name.startswith(".") and path not in known:
            raise FileNotFoundError(f"{path} has no image in {image_folder}. Copy the image, or remove the annotation.")
    return sources
