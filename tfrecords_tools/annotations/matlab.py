"""Reads points from MATLAB files, in a process of its own that a damaged file may kill."""

import atexit
import contextlib
import json
import math
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from tfrecords_tools.annotations import files, matlab_child

# Far more than any file of annotations takes.
MOST_SECONDS = 60.0
_SECONDS_TO_START = 300.0
# Bytes: of what is said of the points, and of the points, which are wider than in the file.
_MOST_REPLY = 1 << 16
_MOST_POINTS = 8 * files.MOST_BYTES
_REMEDY = "Copy it again from its source, or remove it together with its image."


class MatlabPoints(NamedTuple):
    """What an annotation holds.

    Attributes:
      points: (n, 2) float64 (x, y) in pixels.
      stated_count: the number of points that the file states beside them, or None.
    """

    points: np.ndarray
    stated_count: float | None


def read_points(path: str, points: Sequence[str], count: Sequence[str], holds: str) -> MatlabPoints:
    """Reads the points of an annotation.

    The values are kept as they are, which is how published results take them. MATLAB counts pixels from 1, but values
    of 0.02 occur, so nothing is subtracted.

    Args:
      path: of the file.
      points: where in the file the points are: the name of a variable, then of fields.
      count: where their number is stated, or nothing.
      holds: what the file should hold, for the error.

    Raises:
      OSError: if the file cannot be read, or no process can be started.
      ValueError: if the file is no such annotation.
    """
    content = files.read_bytes(path)
    with _lock:
        # A file before may have damaged the process that dies of this one, so each has a second try in a new one.
        reply = _ask(content, points, count) or _ask(content, points, count)
    if reply is None:
        raise ValueError(
            f"{path} is not an annotation of {holds}: what reads it dies, or takes longer than {MOST_SECONDS:g} "
            f"seconds. {_REMEDY}"
        )
    if isinstance(reply, str):
        raise ValueError(f"{path} is not an annotation of {holds} ({reply}). {_REMEDY}")
    array, stated = reply
    if array.size == 0:
        return MatlabPoints(np.zeros((0, 2)), stated)
    if array.size == 2:
        return MatlabPoints(array.reshape(1, 2), stated)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(
            f"{path}: {holds.rpartition(' ')[2]} must be of shape (n, 2). Received: {array.shape}. {_REMEDY}"
        )
    return MatlabPoints(array, stated)


# Points and their stated number, the text of an error, or None from a process that died.
_Reply = tuple[np.ndarray, float | None] | str | None


class _Child:
    """A process of `matlab_child`, which ends with this one: then its standard input ends."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        # A session of its own: the Ctrl-C of a terminal is for this process alone. Without -P, modules of the standard
        # library would be looked for beside the script.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(matlab_child.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self._requests = cast(BinaryIO, self._process.stdin)
        self._replies = cast(BinaryIO, self._process.stdout)
        if self._within(_SECONDS_TO_START, lambda: self._receive(1)) != matlab_child.READY:
            self.end()
            raise ChildProcessError(
                f"The process that reads MATLAB files does not start: look what `{sys.executable} -P "
                f"{matlab_child.__file__}` says."
            )

    def ask(self, content: bytes, points: Sequence[str], count: Sequence[str]) -> _Reply:
        """Has the content of a file read, see `read_points`."""
        return self._within(MOST_SECONDS, lambda: self._exchange(content, points, count))

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()

    def _within(self, seconds, function):
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            return function()
        except (OSError, EOFError, ValueError, KeyError, TypeError, struct.error):
            # It is dead, or replies nonsense, which is no better.
            return None
        finally:
            timer.cancel()

    def _exchange(self, content, points, count):
        request = json.dumps({"points": list(points), "count": list(count)}).encode()
        for part in (request, content):
            self._requests.write(struct.pack("<Q", len(part)))
            self._requests.write(part)
        self._requests.flush()
        (length,) = struct.unpack("<Q", self._receive(8))
        reply = json.loads(self._receive(min(length, _MOST_REPLY)))
        if "error" in reply:
            return str(reply["error"])
        shape, count = [int(side) for side in reply["shape"]], reply["count"]
        size = 8 * math.prod(shape)
        if min(shape, default=0) < 0 or size > _MOST_POINTS:
            raise ValueError(f"The points have the shape {shape}.")
        array = np.frombuffer(self._receive(size), np.float64).reshape(shape)
        return array, None if count is None else float(count)

    def _receive(self, length):
        content = self._replies.read(length)
        if len(content) < length:
            raise EOFError
        return content


_lock = threading.Lock()
_children: list[_Child] = []


def _ask(content: bytes, points: Sequence[str], count: Sequence[str]) -> _Reply:
    """Has the content of a file read by the child of this process, which it starts if there is none."""
    # The child of a process that was forked belongs to its parent.
    _children[:] = [child for child in _children if child.owner == os.getpid()]
    if not _children:
        _children.append(_Child())
    reply = None
    try:
        reply = _children[0].ask(content, points, count)
    finally:
        # Also where Ctrl-C comes in the midst of an exchange.
        if reply is None:
            _children.pop().end()
    return reply


@atexit.register
def _end_children() -> None:
    while _children:
        child = _children.pop()
        if child.owner == os.getpid():
            child.end()
