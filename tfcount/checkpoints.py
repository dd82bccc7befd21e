"""Checkpoints of a run: what training goes on from, with the SHA-256 of their files."""

import os
import re
import sys

import tensorflow as tf

from tfcount.records import checksums

# How many are kept.
_KEPT = 2


class DamagedCheckpointError(Exception):
    """The files of a checkpoint are not those that were written."""


def save(folder: str, checkpoint: tf.train.Checkpoint, step: int) -> None:
    """Writes a checkpoint, and the SHA-256 of its files beside it, and removes all but the newest ones.

    TensorFlow's own manager of checkpoints reads from a file of the run which others it shall remove: any that somebody
    writes there.

    Args:
      folder: of the checkpoints.
      checkpoint: what is saved.
      step: at which training is.

    Raises:
      OSError, tf.errors.OpError: if it cannot be written.
    """
    os.makedirs(folder, exist_ok=True)
    checkpoint.write(os.path.join(folder, f"ckpt-{step}"))
    checksums.write_sealed(os.path.join(folder, f"ckpt-{step}.json"), _sums(folder, step))
    kept = sorted(steps_of(folder), reverse=True)[:_KEPT]
    for name in os.listdir(folder):
        match = re.match(r"ckpt-(\d+)\.", name)
        if match and int(match[1]) not in kept:
            os.remove(os.path.join(folder, name))


def restore(checkpoint: tf.train.Checkpoint, paths: list[str]) -> None:
    """Restores the first of some checkpoints that is whole.

    Raises:
      ValueError: if there is none, or they are of another counter.
    """
    for path in paths:
        try:
            _check(path)
            checkpoint.read(path).expect_partial().assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise ValueError(f"{path} is the checkpoint of another counter or method: {error}") from error
        # TensorFlow's reader turns some of its errors into IndexError.
        except (tf.errors.OpError, IndexError, DamagedCheckpointError) as error:
            sys.stderr.write(f"Warning: checkpoint {path} is damaged ({error}).\n")
        else:
            return
    raise ValueError(
        f"No checkpoint in {os.path.dirname(paths[0])!r} can be read: start again in another --model_dir. If the run "
        "has weights, --initial_weights starts from them."
    )


def steps_of(folder: str) -> list[int]:
    """Returns the steps of the checkpoints in a folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [int(match[1]) for name in names if (match := re.fullmatch(r"ckpt-(\d{1,18})\.index", name, re.ASCII))]


def _sums(folder, step):
    """Returns the SHA-256 of each file of a checkpoint, by its name."""
    names = [name for name in os.listdir(folder) if re.match(rf"ckpt-{step}\.(index|data-\d+-of-\d+)$", name)]
    return {name: checksums.sha256(os.path.join(folder, name)) for name in sorted(names)}


def _check(path):
    """Raises DamagedCheckpointError if a checkpoint is not what was written; those of before do not tell."""
    folder, name = os.path.split(path)
    if os.path.lexists(f"{path}.json"):
        try:
            stated = checksums.read_sealed(f"{path}.json", "Restore it from a copy.")
        except ValueError as error:
            raise DamagedCheckpointError(str(error)) from error
        if stated != _sums(folder, int(name.removeprefix("ckpt-"))):
            raise DamagedCheckpointError("its files do not have the SHA-256 that they were written with")
