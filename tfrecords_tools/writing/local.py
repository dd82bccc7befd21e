"""Writes shards on this machine, in a process for every core."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import tensorflow as tf
import tqdm

from tfrecords_tools.writing.plan import Shard
from tfrecords_tools.writing.shard import write_shard

# A worker imports TensorFlow, which takes seconds: fewer images than this are written sooner without workers.
FEWEST_IMAGES_FOR_WORKERS = 200


class _StoppedError(Exception):
    """Another shard failed, so this one is given up."""


def write_shards(folder: str, shards: Sequence[Shard], bar: tqdm.tqdm) -> dict[str, dict]:
    """Writes shards.

    Args:
      folder: to write to.
      shards: what to write.
      bar: is advanced by every image.

    Returns:
      Statistics as `write_shard` returns them, by the name of the shard.

    Raises:
      OSError: if a file cannot be read or written, or a worker process was killed.
      ValueError: if a source cannot be used.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(shards))
    if workers < 2 or sum(len(shard.sources) for shard in shards) < FEWEST_IMAGES_FOR_WORKERS:
        return {shard.path: write_shard(folder, shard, bar.update) for shard in shards}
    try:
        return _write_in_workers(folder, shards, workers, bar)
    except futures.process.BrokenProcessPool as error:
        raise ChildProcessError(
            "A worker process was killed, most likely because memory ran out. Free memory and give the same command "
            f"again: it keeps the finished shards in {folder}."
        ) from error


def _write_in_workers(folder: str, shards: Sequence[Shard], workers: int, bar: tqdm.tqdm) -> dict[str, dict]:
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


def _write_shard_in_worker(folder: str, shard: Shard) -> dict:
    return write_shard(folder, shard, _workers[0].advance)
