"""Labels that people add to records after these were built: they lie beside the images, in one file a split."""

import contextlib
import datetime
import numbers
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import tensorflow as tf

from tfcount.records import lock, schema
from tfcount.records.files import path_in
from tfcount.records.folder import read_index
from tfcount.records.manifest import LABEL_KEYS, difference, hash_file, read_manifest, split_of, write_manifest

# How the number of objects in image `id_a` compares with that in image `id_b`.
RELATIONS = ("greater", "less", "close")

# What to do about a file of labels that is damaged.
_REMEDY = "Copy it again, or build the records again with --overwrite and give the labels again."
# How long another process may change labels of the same records, seconds, and what the file of labels is called then.
PATIENCE = 60.0
TEMPORARY = "labels.tfcount.writing"

# What 32 bits hold.
_MOST = float(np.finfo(np.float32).max)


class PairLabel(NamedTuple):
    """A statement about two images: that `id_a` shows more, fewer or about as many objects as `id_b`.

    Attributes:
      id_a: id of the first image.
      id_b: id of the second image.
      relation: one of `RELATIONS`.
      source: who says so: "human", "counts", "implied", ...
      time: when, in UTC, as ISO 8601; "" where it is unknown.
    """

    id_a: str
    id_b: str
    relation: str
    source: str
    time: str = ""

    def images(self) -> tuple[str, ...]:
        """Returns the ids of the images that the label is of."""
        return (self.id_a, self.id_b)

    def check(self) -> None:
        """Checks the values; raises ValueError."""
        if self.relation not in RELATIONS:
            raise ValueError(f"`relation` must be one of {RELATIONS}. Received: {self.relation!r}.")
        if self.id_a == self.id_b:
            raise ValueError(f"`id_a` and `id_b` must be two images. Received: {self.id_a!r} for both.")
        _check_time(self.time)


class CountLabel(NamedTuple):
    """How many objects an image shows.

    Attributes:
      id: of the image.
      count: number of objects, at least 0; kept with 32 bits.
      source: who says so: "human", ...
      time: when, in UTC, as ISO 8601; "" where it is unknown.
    """

    id: str
    count: float  # type: ignore[assignment]  # The field hides `tuple.count`, which no label needs.
    source: str
    time: str = ""

    def images(self) -> tuple[str, ...]:
        """Returns the ids of the images that the label is of."""
        return (self.id,)

    def check(self) -> None:
        """Checks the values; raises ValueError."""
        if not (isinstance(self.count, numbers.Real) and 0 <= self.count <= _MOST):
            raise ValueError(
                f"`count` of image {self.id!r} must be a finite number of at least 0. Received: {self.count!r}."
            )
        _check_time(self.time)


class PointsLabel(NamedTuple):
    """The points of all objects of an image.

    Attributes:
      id: of the image.
      points: (n, 2) float32, (x, y) in pixels, origin in the top-left corner.
      source: who says so: "human", ...
      time: when, in UTC, as ISO 8601; "" where it is unknown.
    """

    id: str
    points: np.ndarray
    source: str
    time: str = ""

    def images(self) -> tuple[str, ...]:
        """Returns the ids of the images that the label is of."""
        return (self.id,)

    def check(self) -> None:
        """Checks the values; raises ValueError."""
        _checked("points", self.points, 2, self.id)
        _check_time(self.time)


class RegionsLabel(NamedTuple):
    """Rectangles of an image and the points of all objects inside of them; of the rest nothing is known.

    Attributes:
      id: of the image.
      regions: (r, 4) float32, (left, top, right, bottom) in pixels.
      points: (n, 2) float32, (x, y) in pixels, each in one of the regions or on its edge.
      source: who says so: "human", ...
      time: when, in UTC, as ISO 8601; "" where it is unknown.
    """

    id: str
    regions: np.ndarray
    points: np.ndarray
    source: str
    time: str = ""

    def images(self) -> tuple[str, ...]:
        """Returns the ids of the images that the label is of."""
        return (self.id,)

    def check(self) -> None:
        """Checks the values; raises ValueError."""
        regions = _checked("regions", self.regions, 4, self.id)
        for region in regions[np.any(regions[:, :2] >= regions[:, 2:], axis=1)].tolist():
            raise ValueError(
                f"`regions` of image {self.id!r} must be (left, top, right, bottom) with left < right and top < "
                f"bottom. Received: {region}."
            )
        points = _checked("points", self.points, 2, self.id)
        after, before = points[:, None] >= regions[:, :2], points[:, None] <= regions[:, 2:]
        for point in points[~np.any(np.all(after & before, axis=2), axis=1)].tolist():
            raise ValueError(f"`points` of image {self.id!r} must lie in its `regions`. Received: {point}.")
        _check_time(self.time)


Label = PairLabel | CountLabel | PointsLabel | RegionsLabel
Kind = TypeVar("Kind", bound=Label)

# In the order of the file, and with the name that stands there.
KINDS: dict[str, type[Label]] = {
    "pair": PairLabel,
    "count": CountLabel,
    "points": PointsLabel,
    "regions": RegionsLabel,
}

_COLUMNS = {"points": 2, "regions": 4}


def now() -> str:
    """Returns the time as labels hold it, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_labels(folder: str, split: str, kind: type[Kind]) -> list[Kind]:
    """Reads the labels of one kind that are kept beside the images of a split; none if there are none.

    Args:
      folder: of the records.
      split: whose images the labels are of.
      kind: one of `KINDS`: `PairLabel`, ...

    Raises:
      FileNotFoundError: if there are no records in the folder.
      ValueError: if the records have no such split, or the file of labels is missing or damaged.
    """
    return [label for label in _read_all(folder, split) if isinstance(label, kind)]


def write_labels(folder: str, split: str, kind: type[Kind], labels: Iterable[Kind]) -> None:
    """Keeps labels of a split beside its images, in place of those of the same kind that were there.

    For arguments and errors see `update_labels`; `labels` are all of this kind.
    """
    labels = list(labels)
    update_labels(folder, split, kind, lambda before: labels)


def update_labels(
    folder: str, split: str, kind: type[Kind], update: Callable[[list[Kind]], Iterable[Kind]]
) -> tuple[list[Kind], list[Kind]]:
    """Makes new labels of a split of those that are kept beside its images, and keeps them in their place.

    Meanwhile no other process changes labels of these records, so that nothing that is added is lost. The manifest
    names the file; what it named before is removed when it names the new one.

    Args:
      folder: of the records.
      split: whose images the labels are of.
      kind: of the labels; those of other kinds stay.
      update: the labels of this kind that are kept -> all that are kept from now on. If it raises an error, nothing is
        changed.

    Returns:
      The labels of this kind before and after.

    Raises:
      FileNotFoundError: if there are no records in the folder.
      BlockingIOError: if another process changes them, and does not end.
      OSError: if the file cannot be written.
      ValueError: if the records have no such split, a label is of another kind, holds what it must not, or names an
        image that the split has not, or the file of labels is missing or damaged.
    """
    # Of no records, this says so at once.
    read_index(folder, split)
    with changing(folder):
        ids = {row.id for row in read_index(folder, split)}
        kept = _read_all(folder, split)
        before = [cast(Kind, label) for label in kept if isinstance(label, kind)]
        after = list(update(before))
        for label in after:
            if not isinstance(label, kind):
                raise ValueError(f"`labels` must be of the kind {kind.__name__}. Received: {label!r}.")
            label.check()
            unknown = set(label.images()) - ids
            if unknown:
                raise ValueError(f"Split {split!r} of the records in {folder!r} has no image {min(unknown)!r}.")
        others: list[Label] = [label for label in kept if not isinstance(label, kind)]
        order = list(KINDS.values())
        _replace_labels(folder, split, sorted([*others, *after], key=lambda label: order.index(type(label))))
    return before, after


def changing(folder: str) -> contextlib.AbstractContextManager[None]:
    """Gives the lock of records, which is held while their labels are changed, or they are replaced as a whole."""
    path = os.path.join(folder, lock.NAME)
    return lock.locked(path, f"changing the records in {folder!r}", PATIENCE, in_place=True)


def is_labels_file(path: str) -> bool:
    """Returns whether a file was written as one of labels: its name holds the beginning of its SHA-256."""
    match = re.fullmatch(r".+-labels-([0-9a-f]{12})\.tfrecord", os.path.basename(path))
    return match is not None and os.path.isfile(path) and hash_file(path)["sha256"].startswith(match[1])


def _replace_labels(folder: str, split: str, labels: Sequence[Label]) -> None:
    manifest = read_manifest(folder)
    stated = manifest["splits"][split]
    before = {os.path.basename(_path(folder, split, stated.pop(key))) for key in LABEL_KEYS if key in stated}
    if labels:
        stated["labels"] = _write_file(folder, split, labels)
    write_manifest(folder, manifest)
    # Also of a process that was killed before the manifest named its file, or ceased to name that of before.
    named = {one[key]["path"] for one in manifest["splits"].values() for key in LABEL_KEYS if key in one}
    left = {name for name in {*os.listdir(folder)} - named if is_labels_file(os.path.join(folder, name))}
    for path in (before | left) - named:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, path))


def serialize(label: Label) -> bytes:
    """Returns a label as a serialized `tf.train.Example`: its fields and the name of its `kind`."""
    kind = next(name for name, one in KINDS.items() if isinstance(label, one))
    features = {"kind": schema.bytes_feature(kind.encode())}
    for name, value in label._asdict().items():
        features[name] = (
            schema.bytes_feature(value.encode()) if isinstance(value, str) else schema.floats_feature(value)
        )
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse(serialized: Sequence[bytes]) -> list[Label]:
    """Reads serialized labels, sorted by kind in the order of `KINDS`.

    Records of an earlier version hold pairs alone, and neither say so nor when they were given.

    Raises:
      tf.errors.InvalidArgumentError: if one is no label.
      ValueError: if one is of an unknown kind.
    """
    records = tf.constant(serialized, tf.string)
    stated = tf.io.parse_example(records, {"kind": tf.io.FixedLenFeature([], tf.string, "pair")})["kind"]
    unknown = {name.decode() for name in stated.numpy()} - set(KINDS)
    if unknown:
        raise ValueError(f"labels of the kind {min(unknown)!r}, which this version of tfcount does not know")
    return [
        label
        for name, kind in KINDS.items()
        for label in _parse_kind(tf.boolean_mask(records, tf.equal(stated, name)), kind)
    ]


def _parse_kind(records: tf.Tensor, kind: type[Label]) -> list[Label]:
    if not len(records):
        return []
    columns = tf.io.parse_example(records, {name: _feature(name) for name in kind._fields})
    values = [_values(name, columns[name]) for name in kind._fields]
    return [kind(*fields) for fields in zip(*values, strict=True)]


def _feature(name: str) -> Any:
    if name in _COLUMNS:
        return tf.io.RaggedFeature(tf.float32)
    if name == "count":
        return tf.io.FixedLenFeature([], tf.float32)
    return tf.io.FixedLenFeature([], tf.string, "" if name == "time" else None)


def _values(name: str, column: Any) -> list:
    """Returns the values of one field, a label each."""
    if name in _COLUMNS:
        parts = np.split(column.values.numpy(), column.row_splits.numpy()[1:-1])
        return [part.reshape(-1, _COLUMNS[name]) for part in parts]
    values = column.numpy().tolist()
    return values if name == "count" else [value.decode() for value in values]


def _read_all(folder: str, split: str) -> list[Label]:
    while True:
        stated = split_of(read_manifest(folder), folder, split)
        try:
            return [label for key in LABEL_KEYS if key in stated for label in _read_file(folder, split, stated[key])]
        except (FileNotFoundError, ValueError):
            # Another process may have replaced the file meanwhile.
            if split_of(read_manifest(folder), folder, split) == stated:
                raise


def _path(folder: str, split: str, stated: dict) -> str:
    """Returns the path of the file of labels that a manifest names; raises ValueError if it is none."""
    name = stated["path"]
    if not re.fullmatch(rf"{re.escape(split)}-(labels|pairs)-[0-9a-f]{{12}}\.tfrecord", name):
        raise ValueError(f"The manifest of {folder!r} names {name!r}, which is no file of labels. {_REMEDY}")
    try:
        return path_in(folder, name)
    except FileNotFoundError as error:
        raise ValueError(f"{os.path.join(folder, name)} cannot be read (it is missing). {_REMEDY}") from error


def _read_file(folder: str, split: str, stated: dict) -> list[Label]:
    path, number = _path(folder, split, stated), stated["records"]
    different = difference(hash_file(path), stated)
    if different:
        raise ValueError(f"{path} cannot be read ({different}). {_REMEDY}")
    try:
        batches = tf.data.TFRecordDataset(path).batch(1024)
        labels = parse([record for batch in batches for record in batch.numpy()])
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read ({error.message.splitlines()[0]}). {_REMEDY}") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}). {_REMEDY}") from error
    if len(labels) != number:
        raise ValueError(f"{path} holds {len(labels)} labels, and the manifest says {number}. {_REMEDY}")
    return labels


def _write_file(folder: str, split: str, labels: Sequence[Label]) -> dict[str, Any]:
    """Writes the file of the labels of a split, and returns what the manifest says of it."""
    temporary = os.path.join(folder, TEMPORARY)
    # A link would be followed, wherever it leads.
    with contextlib.suppress(FileNotFoundError):
        os.remove(temporary)
    try:
        with tf.io.TFRecordWriter(temporary) as writer:
            for label in labels:
                writer.write(serialize(label))
        file = hash_file(temporary)
        name = f"{split}-labels-{file['sha256'][:12]}.tfrecord"
        stated = {"path": name, "records": len(labels), **file}
        os.replace(temporary, os.path.join(folder, name))
    except tf.errors.OpError as error:
        raise OSError(f"The labels of {folder} cannot be written: {error.message}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    return stated


def _checked(name: str, values: Any, columns: int, image: str) -> np.ndarray:
    """Returns values as a float32 array of rows of so many numbers, or raises ValueError."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`{name}` of image {image!r} must be rows of {columns} numbers ({error}).") from error
    if not array.size:
        return array.reshape(0, columns)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"`{name}` of image {image!r} must be of shape (n, {columns}). Received: shape {array.shape}.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` of image {image!r} must be finite. Received: {array[~np.isfinite(array)][0]}.")
    return array


def _check_time(time: str) -> None:
    try:
        if not time or datetime.datetime.fromisoformat(time).utcoffset() == datetime.timedelta(0):
            return
    except ValueError:
        pass
    raise ValueError(
        f"`time` must be a time in UTC as ISO 8601, like '2026-07-01T12:00:00Z', or ''. Received: {time!r}."
    )
