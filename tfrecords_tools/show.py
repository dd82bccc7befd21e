r"""Draws one image of a folder of records with its points, or checks all records.

Examples:
  python -m tfrecords_tools.show data/sha --id=IMG_1 --split=train --out=IMG_1.png
  python -m tfrecords_tools.show data/sha --check
"""

import collections
import difflib
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
from tfcount.records.files import path_in, write_file
from tfcount.records.folder import IndexRow, disagreements, read_index
from tfcount.records.labels import KINDS, PointsLabel, RegionsLabel, read_labels
from tfcount.records.manifest import difference, hash_file, read_manifest
from tfrecords_tools import commands

REQUIRED = ()
ARGUMENTS = "DIR"

# Smaller images are enlarged, so that points do not hide what they mark.
LEAST_SIDE = 512
_RED, _WHITE, _BLACK = (0, 0, 255), (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# OpenCV takes coordinates with this many binary places after the point.
_PLACES = 4

# More records than a shard has.
_ALL = 1 << 20


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
    path = path_in(folder, row.shard)
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
    if record["labels"].decode() != schema.POINTS or record["count"] != len(record["points"]):
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
        yield from disagreements(split, stated, rows)
        by_shard = collections.defaultdict(list)
        for row in rows:
            by_shard[row.shard].append(row)
        for shard in stated["shards"]:
            yield from _check_shard(folder, shard, by_shard[shard["path"]])
        yield from _check_labels(folder, split, rows)


def _check_labels(folder: str, split: str, rows: list[IndexRow]) -> Iterator[str]:
    """Checks the labels that people added to a split."""
    try:
        labels = [label for kind in KINDS.values() for label in read_labels(folder, split, kind)]
    except ValueError as error:
        yield str(error)
        return
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
    try:
        path = path_in(folder, name)
    except FileNotFoundError:
        yield f"{name}: the file is missing"
        return
    except ValueError as error:
        yield str(error)
        return
    different = difference(hash_file(path), shard)
    if different:
        yield f"{name}: {different}"
    if _are_fine(path, rows):
        yield from [None] * len(rows)
    else:
        yield from _tell(path, shard, rows)


def _are_fine(path: str, rows: list[IndexRow]) -> bool:
    """Returns whether a shard has nothing that `_tell` would tell; fast, since all of it is read in one graph."""
    try:
        found = {name: value.numpy() for name, value in _read_shard(path).items()}
    except tf.errors.OpError:
        return False
    if len(found["id"]) != len(rows):
        return False
    equal = [
        *(found[name].tolist() == [getattr(row, name).encode() for row in rows] for name in ("id", "labels")),
        *(found[name].tolist() == [getattr(row, name) for row in rows] for name in ("height", "width", "points")),
        *(found[f"image_{side}"].tolist() == [getattr(row, side) for row in rows] for side in ("height", "width")),
        *_equal_counts(found["count"], [row.count for row in rows]),
        *found["inside"],
    ]
    return all(equal)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _read_shard(path: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads what is compared with the index of all records of a shard, `(records,)` each."""

    def read(serialized):
        record = schema.parse_image(serialized)
        points, height, width = (record[name] for name in ("points", "height", "width"))
        # False of what is not finite.
        inside = (points >= 0) & (points <= tf.cast(tf.stack([width, height]), tf.float32))
        shape = tf.shape(tf.io.decode_image(record["image"], expand_animations=False))
        return {
            **{name: record[name] for name in ("id", "labels", "height", "width", "count")},
            "points": tf.shape(points)[0],
            "inside": tf.reduce_all(inside),
            "image_height": shape[0],
            "image_width": shape[1],
        }

    records = tf.data.TFRecordDataset(path).map(read, num_parallel_calls=2, deterministic=True)
    return records.batch(_ALL).get_single_element()


def _equal_counts(recorded: Any, indexed: Any) -> Any:
    # The record holds 32 bits of the count.
    return np.isclose(recorded, indexed, rtol=1e-6, atol=0, equal_nan=True)


def _tell(path: str, shard: dict, rows: list[IndexRow]) -> Iterator[str | None]:
    """Yields None for each record of a shard that is fine, and a line about each that is not."""
    name = shard["path"]
    read = 0
    try:
        for serialized in tf.data.TFRecordDataset(path):
            row = rows[read] if read < len(rows) else None
            read += 1
            problem = _check_record(serialized, row)
            yield None if problem is None else f"{name}: {problem}"
    except tf.errors.OpError:
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
    # Of a damaged record they may be no text at all.
    name, labels = (record[key].decode(errors="replace") for key in ("id", "labels"))
    points = record["points"]
    height, width = int(record["height"]), int(record["width"])
    if row is None:
        return f"{name}: is not in the index"
    stated = (name, height, width, labels, len(points))
    if stated != (row.id, row.height, row.width, row.labels, row.points):
        return f"{name}: differs from the index: {stated}, and {tuple(row[1:6])} there"
    if not _equal_counts(record["count"], row.count):
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
    write_file(path, encoded.tobytes())


if __name__ == "__main__":
    commands.run("show")
