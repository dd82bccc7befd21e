r"""Draws one image of a folder of records with its points, or checks all records.

Examples:
  python -m tfrecords_tools.show data/sha --id=IMG_1 --split=train --out=IMG_1.png
  python -m tfrecords_tools.show data/sha --check
"""

import difflib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from tfcount.records import outputs, schema
from tfcount.records.folder import LABEL_KEYS, IndexRow, read_index, read_manifest
from tfcount.records.labels import KINDS, PointsLabel, RegionsLabel, read_labels
from tfrecords_tools import commands

REQUIRED = ()
ARGUMENTS = "DIR"

# Smaller images are enlarged, so that points do not hide what they mark.
LEAST_SIDE = 512
_RED, _WHITE, _BLACK = (0, 0, 255), (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# OpenCV takes coordinates with this many binary places after the point.
_PLACES = 4


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command, at its start: other commands have flags of the same names."""
    flags.DEFINE_string("id", None, "The image to draw.", flag_values=values)
    flags.DEFINE_string("split", "train", "The split of --id.", flag_values=values)
    flags.DEFINE_string("out", None, "The picture to write: .png or .jpg.", flag_values=values)
    flags.DEFINE_bool(
        "points", True, "Draw the points and a caption; --nopoints gives the image alone.", flag_values=values
    )
    flags.DEFINE_bool("check", False, "Check every record instead of drawing one.", flag_values=values)


@commands.reporting_errors
def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Draws or checks as the flags say, and returns the exit code."""
    if len(argv) != 2:
        raise ValueError(f"give one folder of records. Received: {list(argv[1:])}.")
    if values.check == bool(values.id or values.out) or bool(values.id) != bool(values.out):
        raise ValueError("give either --id and --out, or --check.")
    if values.check:
        return _report(argv[1])
    outputs.check_file("out", values.out)
    record = read_record(argv[1], values.split, values.id)
    _write_picture(values.out, draw(record) if values.points else decode(record))
    return 0


def read_record(folder: str, split: str, image_id: str) -> dict[str, Any]:
    """Reads one record: the fields of `schema.parse_image` as arrays.

    Raises:
      FileNotFoundError: if there are no records in the folder.
      ValueError: if there is no such split or id, or the shard is damaged.
    """
    rows = read_index(folder, split)
    row = next((row for row in rows if row.id == image_id), None)
    if row is None:
        close = difflib.get_close_matches(image_id, [row.id for row in rows], n=5, cutoff=0.3)
        near = f" Close ones: {', '.join(close)}." if close else ""
        raise ValueError(f"Split {split!r} of {folder} has no image {image_id!r}.{near}")
    path = os.path.join(folder, row.shard)
    try:
        for serialized in tf.data.TFRecordDataset(path):
            record = schema.parse_image(serialized)
            if record["id"].numpy().decode() == image_id:
                return {name: value.numpy() for name, value in record.items()}
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read ({error.message}): build the records again.") from error
    raise ValueError(f"{path} does not hold {image_id!r}, as the index says: build the records again.")


def decode(record: dict[str, Any]) -> np.ndarray:
    """Returns the image of a record, (h, w, 3) uint8 in OpenCV's order of channels.

    Raises:
      ValueError: if it cannot be decoded.
    """
    picture = cv2.imdecode(np.frombuffer(record["image"], np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"The image of {record['id'].decode()!r} cannot be decoded: build the records again.")
    return picture


def draw(record: dict[str, Any]) -> np.ndarray:
    """Draws the points of a record on its image, with a caption below.

    Args:
      record: as `read_record` returns it.

    Returns:
      (h, w, 3) uint8 picture in OpenCV's order of channels.

    Raises:
      ValueError: if the image cannot be decoded.
    """
    name = record["id"].decode()
    picture = decode(record)
    scale = -(-LEAST_SIDE // max(picture.shape[:2]))
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    radius = max(1.5, max(picture.shape[:2]) / 500)
    # The center of pixel i is at i + 0.5 in records and at i in OpenCV.
    for x, y in record["points"] * scale - 0.5:
        center = round(x * 2**_PLACES), round(y * 2**_PLACES)
        for color, size in ((_WHITE, radius + 1), (_RED, radius)):
            cv2.circle(picture, center, round(size * 2**_PLACES), color, cv2.FILLED, cv2.LINE_AA, _PLACES)
    number = f"{len(record['points'])} points"
    if record["labels"].decode() != schema.POINTS:
        number += f", count {record['count']:g}"
    caption = f"{name}   {record['width']} x {record['height']}   {number}"
    return np.concatenate([picture, _caption(caption, picture.shape[1])])


def check(folder: str) -> Iterator[str | None]:
    """Checks every record of a folder.

    Yields:
      None for each record that is fine, and for all else a line about what is wrong.

    Raises:
      FileNotFoundError: if there are no records in the folder.
      ValueError: if the manifest cannot be read.
    """
    for split, stated in read_manifest(folder)["splits"].items():
        rows = read_index(folder, split)
        for name in ("images", "points"):
            indexed = len(rows) if name == "images" else sum(row.points for row in rows)
            if indexed != stated[name]:
                yield f"{split}: the index has {indexed} {name}, the manifest {stated[name]}"
        names = [row.id for row in rows]
        yield from (
            f"{split}: several images have the id {name}" for name in sorted(set(names)) if names.count(name) > 1
        )
        by_shard: dict[str, list[IndexRow]] = {shard["path"]: [] for shard in stated["shards"]}
        for row in rows:
            if row.shard in by_shard:
                by_shard[row.shard].append(row)
            else:
                yield f"{row.shard}: {row.id}: the index names a shard that is not in the manifest"
        for shard in stated["shards"]:
            yield from _check_shard(folder, shard, by_shard[shard["path"]])
        yield from _check_labels(folder, split, stated, rows)


def _check_labels(folder: str, split: str, stated: dict, rows: list[IndexRow]) -> Iterator[str]:
    """Checks the labels that people added to a split."""
    try:
        labels = [label for kind in KINDS.values() for label in read_labels(folder, split, kind)]
    except ValueError as error:
        yield str(error)
        return
    for file in (stated[key] for key in LABEL_KEYS if key in stated):
        with open(os.path.join(folder, file["path"]), "rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file["sha256"]:
                yield f"{file['path']}: the sha256 of the file is not that of the manifest"
    by_id = {row.id: row for row in rows}
    for name in sorted({name for label in labels for name in label.images()} - set(by_id)):
        yield f"{split}: a label names the image {name}, which is not in the index"
    for label in labels:
        if isinstance(label, PointsLabel | RegionsLabel) and label.id in by_id:
            row = by_id[label.id]
            corners = [] if isinstance(label, PointsLabel) else [label.regions[:, :2], label.regions[:, 2:]]
            places = np.concatenate([label.points, *corners])
            if np.any((places < 0) | (places > [row.width, row.height])):
                yield f"{split}: a label of {label.id} has points or regions outside of the image"


def _check_shard(folder: str, shard: dict, rows: list[IndexRow]) -> Iterator[str | None]:
    name = shard["path"]
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        yield f"{name}: the file is missing"
        return
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
            yield f"{name}: the sha256 of the file is not that of the manifest"
    if len(rows) != shard["records"]:
        yield f"{name}: the index has {len(rows)} records, the manifest {shard['records']}"
    read = 0
    try:
        for serialized in tf.data.TFRecordDataset(path):
            row = rows[read] if read < len(rows) else None
            read += 1
            problem = _check_record(serialized, row)
            yield None if problem is None else f"{name}: {problem}"
    except tf.errors.DataLossError:
        record = rows[read].id if read < len(rows) else f"record {read}"
        yield f"{name}: {record}: the record is damaged; it and those behind it cannot be read"
        return
    if read != shard["records"]:
        yield f"{name}: holds {read} records, and the manifest says {shard['records']}"


def _check_record(serialized: tf.Tensor, row: IndexRow | None) -> str | None:
    """Returns what is wrong with a record, or None."""
    try:
        record = {name: value.numpy() for name, value in schema.parse_image(serialized).items()}
    except tf.errors.InvalidArgumentError:
        return f"{row.id if row else 'a record'}: is no record of an image"
    name, points = record["id"].decode(), record["points"]
    height, width = int(record["height"]), int(record["width"])
    if row is None:
        return f"{name}: is not in the index"
    stated = (name, height, width, record["labels"].decode(), len(points))
    if stated != (row.id, row.height, row.width, row.labels, row.points):
        return f"{name}: differs from the index: {stated}, and {tuple(row[1:6])} there"
    # The record holds 32 bits of the count.
    if not np.isclose(record["count"], row.count, rtol=1e-6, atol=0, equal_nan=True):
        return f"{name}: has count {record['count']:g}, and {row.count:g} in the index"
    try:
        size = tf.io.decode_image(record["image"], expand_animations=False).shape[:2]
    except tf.errors.InvalidArgumentError:
        return f"{name}: the image cannot be decoded"
    if tuple(size) != (height, width):
        return f"{name}: the image is {size[1]} x {size[0]} pixels, and the record says {width} x {height}"
    if not np.all(np.isfinite(points)):
        return f"{name}: {int(np.sum(~np.isfinite(points).all(axis=1)))} points are not finite"
    outside = np.any((points < 0) | (points > [width, height]), axis=1)
    return f"{name}: {int(np.sum(outside))} points are outside of the image" if outside.any() else None


def _report(folder: str) -> int:
    """Checks a folder, writes what was found, and returns the exit code."""
    splits = read_manifest(folder)["splits"].values()
    problems = []
    with tqdm.tqdm(total=sum(split["images"] for split in splits), desc="check", unit="record") as bar:
        for problem in check(folder):
            if problem is None:
                bar.update()
            else:
                problems.append(problem)
        fine = bar.n
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.stdout.write(f"{fine:,} records are fine{', the rest is not' if problems else ''}.\n")
    return 1 if problems else 0


def _caption(text: str, width: int) -> np.ndarray:
    """Returns a white strip of the given width with a line of text, which is made to fit."""
    scale = max(0.5, width / 1600)
    text_width = cv2.getTextSize(text, _FONT, scale, 1)[0][0]
    scale *= min(1.0, (width - 10) / text_width)
    (_, text_height), below = cv2.getTextSize(text, _FONT, scale, 1)
    strip = np.full((text_height + below + 10, width, 3), _WHITE, np.uint8)
    return cv2.putText(strip, text, (5, text_height + 5), _FONT, scale, _BLACK, 1, cv2.LINE_AA)


def _write_picture(path: str, picture: np.ndarray) -> None:
    try:
        encoded = cv2.imencode(os.path.splitext(path)[1] or path, picture)[1]
    except cv2.error:
        raise ValueError(f"--out must end in .png or .jpg. Received: {path!r}.") from None
    with open(path, "wb") as file:
        file.write(encoded.tobytes())


if __name__ == "__main__":
    commands.run("show")
