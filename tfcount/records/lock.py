"""One process at a time: a lock file, which says who holds it."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator

# What a lock file is called in the folder that it guards; `OUTPUT.tfcount.lock` guards what is replaced as a whole.
NAME = "tfcount.lock"

# Seconds between two looks at a lock that is waited for, and how long its holder may take to write who it is.
_PAUSE = 0.05
_WRITING = 1.0

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: str, doing: str, patience: float = 0.0, in_place: bool = False) -> Iterator[None]:
    """Lets one process at a time, or one thread, do what is inside.

    The lock is the kernel's (`flock`), and lets go when its holder ends, however that ends. So a lock file which is
    there and free was left by a process that was killed: it is taken over, which is told. The file holds, as JSON, the
    host, the process, since when, and what it is doing. It is removed at the end.

    Hosts that share a file system see each other's locks where that passes them on, as NFS does since Linux 2.6.12. A
    file system that is mounted with locks of each host alone (`local_lock=flock`, `localflock`) guards against
    processes of the same host only. One that has no locks guards against none, which is told.

    Args:
      path: of the lock file.
      doing: what the holder does, for the message to others: "training in 'runs/sha'".
      patience: how long to wait for another holder, seconds.
      in_place: whether the folder of the file must be there, and may be replaced by another one while this process
        waits; if not, it is made, and removed at the end if it is empty then.

    Raises:
      BlockingIOError: if another process holds the lock; the message names it.
      FileExistsError: if the file is somebody's own.
      OSError: if the file cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(path))
    made = [] if in_place else _make_folders(folder)
    try:
        file = _wait(path, patience, in_place)
        try:
            _take_over(path, file)
            if not has_locks(file):
                sys.stderr.write(f"Warning: {folder} knows no locks: start no other command that writes there.\n")
            try:
                _write_holder(file, path, doing)
                yield
            finally:
                # Whoever waits for this very file finds that it is gone, and makes another one.
                if _is_at(file, path):
                    os.unlink(path)
        finally:
            os.close(file)
    finally:
        for name in made:
            with contextlib.suppress(OSError):
                os.rmdir(name)


def take(path: str, flags: int = 0) -> int | None:
    """Opens a file for reading and writing, and locks it.

    Args:
      path: of the file.
      flags: of `os.open`, such as `os.O_CREAT`.

    Returns:
      The descriptor of the file that has this name; None if another process holds it, or took its name away.
      Closing it ends the lock. Where the file system has no locks, it is open, and not locked.

    Raises:
      OSError: if it cannot be opened.
    """
    file = os.open(path, os.O_RDWR | flags, 0o666)
    try:
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            if not _is_at(file, path):
                return None
            opened.pop_all()
            return file
    except BlockingIOError:
        return None


def has_locks(file: int) -> bool:
    """Returns whether the file system of a file that `take` gave has locks."""
    try:
        # It is held already, which is no error.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait(path, patience, in_place):
    """Returns the locked file."""
    end, told = time.monotonic() + patience, False
    while True:
        try:
            file = take(path, os.O_CREAT)
        except FileNotFoundError:
            # Between two moves of a folder that is replaced, or removed by another process that had made it too.
            if not in_place:
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            elif time.monotonic() >= end:
                raise
            time.sleep(_PAUSE)
            continue
        if file is not None:
            return file
        holder = _read_holder(path)
        if holder is None:
            # It has just ended.
            continue
        if time.monotonic() >= end:
            raise BlockingIOError(f"{path} is held by {holder}. Wait until that ends, or choose another place.")
        if not told:
            sys.stderr.write(f"Waiting for {holder}.\n")
            told = True
        time.sleep(_PAUSE)


def _take_over(path, file):
    """Tells whose lock is taken over; raises FileExistsError if the file is no lock."""
    content = os.pread(file, 1 << 16, 0)
    # A process that was killed before it wrote who it is.
    if not content:
        return
    try:
        holder = _describe(json.loads(content))
    except (ValueError, KeyError, TypeError):
        raise FileExistsError(f"{path} is in the way: it is not a lock of tfcount. Move it away.") from None
    sys.stderr.write(f"Took over {path}, left by {holder}, which has ended.\n")


def _write_holder(file, path, doing):
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    holder = {"host": socket.gethostname(), "process": os.getpid(), "since": now, "doing": doing}
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, (json.dumps(holder) + "\n").encode(), 0)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _read_holder(path):
    """Returns a text about who holds a lock; None if the file is gone."""
    end = time.monotonic() + _WRITING
    while True:
        try:
            with open(path, encoding="utf-8") as file:
                return _describe(json.load(file))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            if time.monotonic() >= end:
                return "a process that does not say who it is"
            time.sleep(_PAUSE)


def _describe(holder):
    return "process {process} on {host}, {doing} since {since}".format(**holder)


def _is_at(file, path):
    """Returns whether an open file has this name still."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _make_folders(folder):
    """Makes a folder, and those around it; returns those that were missing, the innermost first."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    if missing:
        os.makedirs(missing[0], exist_ok=True)
    return missing
