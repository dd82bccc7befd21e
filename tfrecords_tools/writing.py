"""Writes the records of a data set: on all cores, restartable, and visible under its name only when complete."""

import contextlib
import csv
import errno
import hashlib
import itertools
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tqdm

from tfcount.records import schema
from tfcount.records.files import write_json
from tfcount.records.folder import FORMAT_VERSION, INDEX, MANIFEST, IndexRow, read_index, read_manifest
from tfcount.records.labels import read_pairs, write_pairs

IMAGES_PER_SHARD = 40
# Reading is parallel over shards, so a small data set is cut finer, but not below this many images.
FEWEST_IMAGES_PER_SHARD = 8
SHARDS_READ_IN_PARALLEL = 4
# A worker imports TensorFlow, which takes seconds: fewer images than this are written sooner without workers.
FEWEST_IMAGES_FOR_WORKERS = 200
ORDER_SEED = 0

_FINISHED = ".finished.json"
_TEMPORARY = ".writing"


class Loaded(NamedTuple):
    """What a source gives.

    Attributes:
      image: the annotated image, its points inside the image.
      points_clipped: how many of its points were moved to the edge of the image.
      points_dropped: how many annotated points are not among its points.
    """

    image: schema.AnnotatedImage
    points_clipped: int
    points_dropped: int


class Source(Protocol):
    """One image of a data set, which a worker process loads: it must be picklable.

    Attributes:
      id: name of the image, unique within its split.
    """

    @property
    def id(self) -> str:
        """Name of the image."""

    def fingerprint(self) -> str:
        """Returns a text that changes whenever `load` would return something else."""

    def load(self) -> Loaded:
        """Reads the image and its annotation; raises ValueError or OSError that name the file and the remedy."""


def clip_points(points: np.ndarray, height: int, width: int) -> tuple[np.ndarray, int, int]:
    """Moves points that lie up to one pixel outside of the image to its edge, and drops the others outside.

    A click at the border easily lands on the next pixel; further out, and for NaN, the place of the object is unknown.

    Args:
      points: (n, 2) points (x, y) in pixels.
      height: of the image, pixels.
      width: of the image, pixels.

    Returns:
      The points as (m, 2) float32 with `0 <= x <= width`, `0 <= y <= height`; the number of moved points; the number
      of dropped points.

    Raises:
      ValueError: if `points` is not of shape (n, 2).
    """
    points = np.asarray(points, np.float64)
    if points.size == 0:
        return np.zeros((0, 2), np.float32), 0, 0
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"`points` must be of shape (n, 2). Received: shape {points.shape}.")
    near = points[near_image(points, height, width)]
    inside = np.clip(near, 0, [width, height])
    clipped = int(np.sum(np.any(inside != near, axis=1)))
    return inside.astype(np.float32), clipped, len(points) - len(near)


def near_image(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns which of some points `(n, 2)` lie in the image or up to one pixel outside: `(n,)` bool."""
    # NaN fails every comparison, so it is not near.
    return np.all((points >= -1) & (points <= np.array([width, height]) + 1), axis=1)


def write_dataset(
    output: str,
    dataset: str,
    splits: Mapping[str, Sequence[Source]],
    source: Mapping[str, Any],
    overwrite: bool = False,
) -> dict:
    """Writes the splits of a data set as shards of records, with a manifest and an index.

    Everything is written to the sibling folder `OUTPUT.partial`, which is renamed to `output` at the very end. Called
    again after a stop, it keeps every finished shard whose sources did not change.

    Args:
      output: folder to make.
      dataset: name of the data set, kept in the manifest.
      splits: the images of every split.
      source: where the data are from, or the parameters that made them; JSON, kept in the manifest.
      overwrite: replace the records that `output` holds, once the new ones are complete; labels of pairs of images that
        are in both are kept.

    Returns:
      The manifest: see `read_manifest`. It also holds `duplicates`, lists of "split/id" whose images have equal
      bytes.

    Raises:
      FileExistsError: if `output` exists, and holds something else than records or `overwrite` is not set.
      ValueError: if there are no images, two of a split have the same id, or a file cannot be used.
      OSError: if a file cannot be read or written, for example because the disk is full.
      KeyboardInterrupt: if interrupted; its message says how to go on.
    """
    output = os.path.abspath(output)
    partial = output + ".partial"
    _check_output(output, overwrite)
    _check_splits(splits)
    shards = [shard for split in splits for shard in _plan(split, splits[split])]
    total = sum(len(shard.sources) for shard in shards)
    try:
        os.makedirs(partial, exist_ok=True)
        finished = _finished(partial, shards)
        # Also removes what an earlier call was writing when it was killed.
        _remove_all_but(partial, {name for path in finished for name in (path, path + _FINISHED)})
        with tqdm.tqdm(total=total, desc=os.path.basename(output), unit="image") as bar:
            bar.update(sum(len(statistics["rows"]) for statistics in finished.values()))
            pending = [shard for shard in shards if shard.path not in finished]
            finished.update(_write_shards(partial, pending, bar))
        manifest = _manifest(dataset, source, shards, finished)
        _write_index(os.path.join(partial, INDEX), shards, finished)
        write_json(os.path.join(partial, MANIFEST), manifest)
        _take_over_pairs(output, partial)
        _publish(partial, output)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped. {partial} keeps the finished shards: the same command goes on from there."
        ) from None
    except futures.process.BrokenProcessPool as error:
        raise ChildProcessError(
            "A worker process was killed, most likely because memory ran out. Free memory and give the same command "
            f"again: it keeps the finished shards in {partial}."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"The disk of {partial} is full. Free space and give the same command again: it keeps the finished shards."
        ) from error
    return manifest


class _Shard(NamedTuple):
    """One file to write: its name in the folder, the fingerprint of what it will hold, and its sources in order."""

    split: str
    path: str
    fingerprint: str
    sources: Sequence[Source]


class _StoppedError(Exception):
    """Another shard failed, so this one is given up."""


def _check_output(output: str, overwrite: bool) -> None:
    if os.path.isdir(output) and not os.listdir(output):
        return
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise FileExistsError(f"{output} exists already. Give --overwrite to replace it, or another --output.")
    if not os.path.isfile(os.path.join(output, MANIFEST)):
        raise FileExistsError(f"{output} holds something else than records, which --overwrite would delete.")


def _check_splits(splits: Mapping[str, Sequence[Source]]) -> None:
    if not any(splits.values()):
        raise ValueError("The data set has no images.")
    for split, sources in splits.items():
        if not sources:
            raise ValueError(f"Split {split!r} has no images.")
        ids = sorted(source.id for source in sources)
        equal = sorted({a for a, b in itertools.pairwise(ids) if a == b})
        if equal:
            raise ValueError(f"Ids must be unique in a split. Split {split!r} has several images of id {equal[:10]}.")


def _plan(split: str, sources: Sequence[Source]) -> Iterator[_Shard]:
    """Spreads the images of a split over its shards, in an order that only depends on their ids."""
    shuffled = sorted(sources, key=lambda source: source.id)
    random.Random(ORDER_SEED).shuffle(shuffled)
    size = len(shuffled)
    least = min(SHARDS_READ_IN_PARALLEL, math.ceil(size / FEWEST_IMAGES_PER_SHARD))
    number = max(least, math.ceil(size / IMAGES_PER_SHARD))
    for index in range(number):
        part = shuffled[index * size // number : (index + 1) * size // number]
        contents = json.dumps([FORMAT_VERSION, *([source.id, source.fingerprint()] for source in part)])
        yield _Shard(
            split,
            f"{split}-{index:05d}-of-{number:05d}.tfrecord",
            hashlib.sha256(contents.encode()).hexdigest(),
            part,
        )


def _finished(partial: str, shards: Sequence[_Shard]) -> dict[str, dict]:
    """Returns the statistics of the shards that an earlier call finished and whose sources are still the same."""
    finished = {}
    for shard in shards:
        path = os.path.join(partial, shard.path)
        try:
            with open(path + _FINISHED, encoding="utf-8") as file:
                statistics = json.load(file)
            if statistics["fingerprint"] == shard.fingerprint and statistics["bytes"] == os.path.getsize(path):
                finished[shard.path] = statistics
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
    return finished


def _remove_all_but(folder: str, keep: set[str]) -> None:
    for name in os.listdir(folder):
        if name not in keep:
            os.remove(os.path.join(folder, name))


def _write_shards(folder: str, shards: Sequence[_Shard], bar: tqdm.tqdm) -> dict[str, dict]:
    """Writes shards, and returns their statistics by the name of the shard."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(shards))
    if workers < 2 or sum(len(shard.sources) for shard in shards) < FEWEST_IMAGES_FOR_WORKERS:
        return {shard.path: _write_shard(folder, shard, bar.update) for shard in shards}

    # Not "fork": TensorFlow has threads by now, and a forked child would wait for their locks forever.
    context = multiprocessing.get_context("spawn")
    stop, written = context.Event(), context.Value("q", 0)
    finished = {}
    with futures.ProcessPoolExecutor(workers, context, _start_worker, (stop, written)) as pool:
        tasks: dict[futures.Future, str] = {}
        try:
            with _for_workers():
                tasks = {pool.submit(_write_shard_in_worker, folder, shard): shard.path for shard in shards}
            waiting = set(tasks)
            shown = 0
            while waiting:
                done, waiting = futures.wait(waiting, timeout=0.2, return_when=futures.FIRST_COMPLETED)
                now = written.value
                bar.update(now - shown)
                shown = now
                for task in done:
                    finished[tasks[task]] = task.result()
        except BaseException:
            # Workers give up after the image that they are at; leaving the pool waits for that.
            stop.set()
            for task in tasks:
                task.cancel()
            raise
    return finished


@contextlib.contextmanager
def _for_workers() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C, which a terminal sends to all, and are silent.

    The parent alone handles Ctrl-C. What goes wrong in a worker is raised in the parent; all that a worker writes to
    the terminal is what TensorFlow says while it is imported, in the midst of the progress bar.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "wb") as silence:
        os.dup2(silence.fileno(), 2)
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        os.dup2(terminal, 2)
        os.close(terminal)


class _Worker(NamedTuple):
    """What a worker process shares with its parent: whether to stop, and how many images are written."""

    stop: Any
    written: Any

    def advance(self) -> None:
        with self.written.get_lock():
            self.written.value += 1
        if self.stop.is_set():
            raise _StoppedError


_workers: list[_Worker] = []


def _start_worker(stop: Any, written: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Only images are decoded here: the memory of the graphics card is left to those who need it.
    tf.config.set_visible_devices([], "GPU")
    _workers.append(_Worker(stop, written))
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this worker when its parent was killed, which otherwise would leave it waiting for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _write_shard_in_worker(folder: str, shard: _Shard) -> dict:
    return _write_shard(folder, shard, _workers[0].advance)


def _write_shard(folder: str, shard: _Shard, advance: Callable[[], Any]) -> dict:
    """Writes one shard, and calls `advance` after each image.

    The shard gets its name when it is complete, and then a file beside it, which holds the returned statistics.
    """
    path = os.path.join(folder, shard.path)
    temporary = path + _TEMPORARY
    rows, images = [], []
    clipped = dropped = 0
    try:
        with tf.io.TFRecordWriter(temporary) as writer:
            for source in shard.sources:
                loaded = source.load()
                writer.write(loaded.image.serialize())
                clipped += loaded.points_clipped
                dropped += loaded.points_dropped
                rows.append(_index_row(shard, loaded.image))
                images.append(hashlib.sha256(loaded.image.image).hexdigest())
                advance()
        with open(temporary, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        statistics = {
            "fingerprint": shard.fingerprint,
            "bytes": os.path.getsize(temporary),
            "sha256": digest,
            "points_clipped": clipped,
            "points_dropped": dropped,
            "rows": rows,
            "images": images,
        }
        os.replace(temporary, path)
        write_json(path + _FINISHED, statistics)
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, error.message, path) from error
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written: {error.message}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    return statistics


def _index_row(shard: _Shard, image: schema.AnnotatedImage) -> IndexRow:
    count = image.count
    if count is None:
        count = len(image.points) if image.labels == schema.POINTS else math.nan
    return IndexRow(
        shard.split, image.id, image.height, image.width, image.labels, len(image.points), float(count), shard.path
    )


def _manifest(dataset: str, source: Mapping[str, Any], shards: Sequence[_Shard], finished: dict[str, dict]) -> dict:
    splits: dict[str, dict] = {}
    same_bytes: dict[str, list[str]] = {}
    for shard in shards:
        statistics = finished[shard.path]
        rows = [IndexRow(*row) for row in statistics["rows"]]
        split = splits.setdefault(
            shard.split, {"images": 0, "points": 0, "points_clipped": 0, "points_dropped": 0, "shards": []}
        )
        split["images"] += len(rows)
        split["points"] += sum(row.points for row in rows)
        split["points_clipped"] += statistics["points_clipped"]
        split["points_dropped"] += statistics["points_dropped"]
        split["shards"].append(
            {
                "path": shard.path,
                "records": len(rows),
                "bytes": statistics["bytes"],
                "sha256": statistics["sha256"],
            }
        )
        for row, digest in zip(rows, statistics["images"]):
            same_bytes.setdefault(digest, []).append(f"{row.split}/{row.id}")
    return {
        "format_version": FORMAT_VERSION,
        "dataset": dataset,
        "source": dict(source),
        "splits": splits,
        "duplicates": sorted(sorted(names) for names in same_bytes.values() if len(names) > 1),
    }


def _write_index(path: str, shards: Sequence[_Shard], finished: dict[str, dict]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(IndexRow._fields)
        for shard in shards:
            for values in finished[shard.path]["rows"]:
                row = IndexRow(*values)
                whole = float(row.count).is_integer()
                table.writerow(row._replace(count=int(row.count)) if whole else row)


def _take_over_pairs(output: str, partial: str) -> None:
    """Keeps what people said of pairs of images that are still there, and tells how much is lost."""
    if not os.path.isfile(os.path.join(output, MANIFEST)):
        return
    try:
        before = {split: read_pairs(output, split) for split in read_manifest(output)["splits"]}
    except ValueError as error:
        sys.stderr.write(f"Warning: labels of pairs that the replaced records may hold are lost: {error}\n")
        return
    splits = read_manifest(partial)["splits"]
    for split, pairs in before.items():
        ids = {row.id for row in read_index(partial, split)} if split in splits else set()
        kept = [pair for pair in pairs if {pair.id_a, pair.id_b} <= ids]
        if kept:
            write_pairs(partial, split, kept)
        if len(kept) < len(pairs):
            lost = len(pairs) - len(kept)
            sys.stderr.write(f"{lost} of {len(pairs)} labels of pairs are lost: split {split!r} lacks their images.\n")


def _publish(partial: str, output: str) -> None:
    """Gives the complete folder its name, and removes what it replaces and the notes of finished shards."""
    replaced = output + ".replaced"
    if os.path.isdir(output) and os.listdir(output):
        # A call that was killed right here may have left one.
        shutil.rmtree(replaced, ignore_errors=True)
        os.rename(output, replaced)
    os.rename(partial, output)
    shutil.rmtree(replaced, ignore_errors=True)
    for name in os.listdir(output):
        if name.endswith(_FINISHED):
            os.remove(os.path.join(output, name))
