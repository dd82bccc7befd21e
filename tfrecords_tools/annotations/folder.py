"""Reads your own images: a folder of images with one CSV or JSON file of points or counts.

`points.csv`: `image,x,y` with a line for every object; an image without objects has one line `image,,`.
`counts.csv`: `image,count` with a line for every image; the count is empty where it is unknown.
`points.json`: `{"image.jpg": [[x, y], ...]}`; an image without objects has the empty list.

The names of the annotation files are free. Subfolders `train` and `test`, each with its images and annotation file,
make these splits; otherwise all images are split `train`.
"""

import csv
import dataclasses
import io
import os
import unicodedata

import numpy as np

from tfcount.records import images, schema
from tfrecords_tools.annotations import files, loading
from tfrecords_tools.writing.plan import LoadedImage

SPLITS = ("train", "test")
_FORMATS = (
    "It must be a CSV file with the header `image,x,y` or `image,count`, or a JSON file like "
    '{"image.jpg": [[x, y], ...]}.'
)

# Points of an image, a list of (x, y), or how many objects it shows, None where nobody knows.
Annotation = list[tuple[float, float]] | float | None


@dataclasses.dataclass(frozen=True)
class FolderImage:
    """One image of a folder, with its points, their number where only this is known, or neither."""

    id: str
    image_path: str
    points: tuple[tuple[float, float], ...] | None
    count: float | None

    def fingerprint(self) -> str:
        """Returns a text that changes when the image or its annotation does."""
        return repr((loading.fingerprint_files(self.image_path), self.points, self.count))

    def load(self) -> LoadedImage:
        """Reads the image."""
        if self.points is not None:
            return loading.load_points(self.id, self.image_path, np.array(self.points))
        image = images.read_encoded(self.image_path)
        record = schema.AnnotatedImage(
            self.id,
            image.encoded,
            image.height,
            image.width,
            labels=schema.NONE if self.count is None else schema.COUNT,
            count=self.count,
        )
        return LoadedImage(record, 0, 0)


def read(folder: str) -> dict[str, list[FolderImage]]:
    """Reads your own images with their points or counts, in a file that ends in .csv or .json.

    The id of an image is its file name.

    Raises:
      FileNotFoundError: if a file is missing: the annotation file, or an image that it names.
      ValueError: if an annotation cannot be understood, or is missing for an image, or a file cannot be used.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder}.")
    splits = [split for split in SPLITS if os.path.isdir(os.path.join(folder, split))]
    if not splits:
        return {"train": _read_split(folder, folder)}
    loose = images.list_images(folder)
    if loose:
        raise ValueError(f"{os.path.join(folder, loose[0])} is in none of the splits {splits}: move the images there.")
    return {split: _read_split(os.path.join(folder, split), folder) for split in splits}


def _read_split(folder: str, root: str) -> list[FolderImage]:
    path = files.check_file(_find_annotations(folder), root)
    annotations = _read_json(path) if path.lower().endswith(".json") else _read_csv(path)
    # Some systems store an accented letter as two characters, so names are compared in one form.
    names = {unicodedata.normalize("NFC", name): name for name in files.list_images(folder, root)}
    if not names:
        raise FileNotFoundError(f"{folder} holds no images ({', '.join(images.EXTENSIONS)}).")
    for name in annotations:
        if name not in names:
            raise FileNotFoundError(
                f"{path} names the image {name!r}, which is not in {folder}: add the image, remove its annotation, or "
                f"correct the name, which includes the extension."
            )
    sources = []
    for key, name in names.items():
        if key not in annotations:
            raise ValueError(
                f"{os.path.join(folder, name)} has no annotation in {path}. If it shows no objects, say so with a line "
                f"`{key},,` (or `{key},0` in a file of counts, or an empty list in JSON); else annotate or remove it."
            )
        annotation = annotations[key]
        points, count = (tuple(annotation), None) if isinstance(annotation, list) else (None, annotation)
        sources.append(FolderImage(key, os.path.join(folder, name), points, count))
    return sources


def _find_annotations(folder: str) -> str:
    found = sorted(n for n in os.listdir(folder) if n.lower().endswith((".csv", ".json")) and not n.startswith("."))
    if not found:
        raise FileNotFoundError(f"{folder} has no annotation file. {_FORMATS}")
    if len(found) > 1:
        raise ValueError(f"{folder} must hold one annotation file, and holds {found}: move the others elsewhere.")
    return os.path.join(folder, found[0])


def _read_csv(path: str) -> dict[str, Annotation]:
    annotations: dict[str, Annotation] = {}
    try:
        table = csv.DictReader(io.StringIO(files.read_text(path), newline=""), skipinitialspace=True)
        table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
        columns = sorted(table.fieldnames)
        counts = columns == ["count", "image"]
        if not counts and columns != ["image", "x", "y"]:
            raise ValueError(f"{path} has the header {files.short(','.join(table.fieldnames))}. {_FORMATS}")
        for row in table:
            _add_row(annotations, row, counts, f"{path}, line {table.line_num}")
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file ({error}). {_FORMATS}") from error
    return annotations


def _add_row(annotations: dict[str, Annotation], row: dict, counts: bool, where: str) -> None:
    """Adds one line of a CSV file to the annotations."""
    if None in row or None in row.values() or not row["image"].strip():
        raise ValueError(f"{where}: must have {len(row) - (None in row)} values, the first one an image.")
    name = unicodedata.normalize("NFC", row.pop("image").strip())
    values = [value.strip() for value in row.values()]
    try:
        numbers = [files.to_number(value) for value in values if value]
    except ValueError:
        raise ValueError(f"{where}: {files.short(values)} must be numbers.") from None
    if counts:
        if name in annotations:
            raise ValueError(f"{where}: {name!r} has a count already.")
        # Records hold 32 bits of it.
        if numbers and not 0 <= numbers[0] <= float(np.finfo(np.float32).max):
            raise ValueError(
                f"{where}: `count` must be a number of at least 0 and finite. Received: {files.short(values[0])}."
            )
        annotations[name] = numbers[0] if numbers else None
        return
    if len(numbers) == 1:
        raise ValueError(f"{where}: `x` and `y` must both be numbers, or both empty if {name!r} shows no objects.")
    points = annotations.setdefault(name, [])
    if numbers and isinstance(points, list):
        points.append((float(row["x"]), float(row["y"])))


def _read_json(path: str) -> dict[str, Annotation]:
    content = files.read_json(path, _FORMATS)
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not map images to points. {_FORMATS}")
    annotations: dict[str, Annotation] = {}
    for name, points in content.items():
        try:
            array = files.to_numbers(points, 2)
        except ValueError as error:
            raise ValueError(f"{path}: the points of {name!a} must be a list of pairs [x, y]: {error}.") from None
        key = unicodedata.normalize("NFC", name)
        if key in annotations:
            raise ValueError(f"{path}: {key!a} stands there twice, in other characters: join or remove one.")
        annotations[key] = [(x, y) for x, y in array.tolist()]
    return annotations
