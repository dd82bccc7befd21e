"""The process that reads MATLAB files for `matlab.read_points`: a damaged file can kill the interpreter inside SciPy.

It is run as a script and imports nothing of this package, so that it starts without TensorFlow. It reads requests from
standard input until that ends: a JSON object with its length in front, `{"points": [...], "count": [...]}` (where in
the file they are: a variable, then fields), and the content of a file with its length in front. It answers each with a
JSON object with its length in front: `{"error": text}`, or `{"shape": [...], "count": number or null}` and the points
as float64. Lengths are 8 bytes, little-endian. The first byte that it writes says that it is ready.
"""

import contextlib
import io
import json
import os
import struct
import sys
import warnings
from typing import Any, BinaryIO

import numpy as np
import scipy.io

READY = b"R"
# Address space, bytes: a small file can ask for any amount of memory.
_MOST_MEMORY = 4 << 30


def main() -> None:
    """Answers requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    # What a library writes to standard output would be taken for a reply.
    os.dup2(2, 1)
    _limit()
    replies.write(READY)
    replies.flush()
    while header := sys.stdin.buffer.read(8):
        request = json.loads(_read(sys.stdin.buffer, header))
        content = _read(sys.stdin.buffer, sys.stdin.buffer.read(8))
        try:
            points, count = _find_points(content, request["points"], request["count"])
        except Exception as error:  # noqa: BLE001 - SciPy raises everything, from ZeroDivisionError to UnboundLocalError.
            _write(replies, {"error": repr(error)[:500]})
        else:
            _write(replies, {"shape": points.shape, "count": count})
            replies.write(points.tobytes())
        replies.flush()


def _limit() -> None:
    """Bounds the memory of this process where the system can, and keeps it from leaving files when it dies."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_AS, _MOST_MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _find_points(content: bytes, points: list[str], count: list[str]) -> tuple[np.ndarray, float | None]:
    with warnings.catch_warnings():
        # SciPy warns, and goes on, where a variable is there twice or cannot be read.
        warnings.simplefilter("error", scipy.io.matlab.MatReadWarning)
        variables = scipy.io.loadmat(io.BytesIO(content))
    found = _numbers(_follow(variables, points))
    if not count:
        return found, None
    try:
        stated = _numbers(_follow(variables, count))
    except (KeyError, IndexError, ValueError, TypeError):
        return found, None
    return found, float(stated.item()) if stated.size == 1 else None


def _follow(variables: Any, names: list[str]) -> Any:
    value = _unwrap(variables[names[0]])
    for name in names[1:]:
        value = _unwrap(value[name])
    return value


def _unwrap(value: Any) -> Any:
    """Takes a value out of MATLAB's cells of one element."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.item()
    return value


def _numbers(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"holds {array.dtype} where numbers are expected")
    return np.ascontiguousarray(array, np.float64)


def _read(stream: BinaryIO, header: bytes) -> bytes:
    return stream.read(struct.unpack("<Q", header)[0])


def _write(stream: BinaryIO, reply: dict) -> None:
    text = json.dumps(reply).encode()
    stream.write(struct.pack("<Q", len(text)) + text)


if __name__ == "__main__":
    main()
