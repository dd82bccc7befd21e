"""From TensorFlow's errors to ours: one table."""

import errno
import re
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from tfcount.records.shards import DIFFERS

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEFT = "the weights were left as they were, the last checkpoint is that of step {saved}."
_LOWER = " Lower --train_learning_rate, lengthen --train_warmup_steps, or set --train_clip_norm=1."
_CHECK = "`python -m tfrecords_tools.show DIR --check` tells "


class Translation(NamedTuple):
    """What is said in place of one of TensorFlow's errors.

    Attributes:
      raised: kind of TensorFlow's error.
      phrase: what its message holds; empty if any will do.
      error: kind of ours.
      message: of ours; `{detail}` is what TensorFlow's message comes to, other names are facts that the caller knows.
    """

    raised: type[tf.errors.OpError]
    phrase: str
    error: type[Exception]
    message: str


TABLE = (
    Translation(tf.errors.DataLossError, "", ValueError, "a record is damaged ({detail}). " + _CHECK + "which."),
    Translation(
        tf.errors.InvalidArgumentError, DIFFERS, ValueError, "a shard is damaged ({detail}). " + _CHECK + "which."
    ),
    *(
        Translation(
            tf.errors.InvalidArgumentError,
            f"{what} is not finite",
            FloatingPointError,
            what.capitalize() + " is not finite at step {step}; " + _LEFT + " " + _CHECK + "of which image.",
        )
        for what in ("a point", "the mask of points")
    ),
    *(
        Translation(
            tf.errors.InvalidArgumentError,
            f"{what} is not finite",
            FloatingPointError,
            what.capitalize() + " is not finite at step {step}; " + _LEFT + _LOWER,
        )
        for what in ("the density", "the gradient")
    ),
)


def not_written(folder: str, error: Exception, told: str = "") -> OSError:
    """Returns the error to raise where a folder cannot be written to.

    Args:
      folder: of the files.
      error: what the system, HDF5 or TensorFlow raised.
      told: what to do on a full disk: a sentence.
    """
    reason = " ".join(str(error).split())
    others = tf.errors.PermissionDeniedError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError
    # HDF5 does not always tell what went wrong: then it is the most frequent.
    if isinstance(error, others) or getattr(error, "errno", None) not in (None, *_FULL):
        return OSError(f"{folder!r} cannot be written to: {reason}")
    return OSError(" ".join(filter(None, [f"{folder!r} cannot be written to: is the disk full?", told, f"({reason})"])))


def translate(error: tf.errors.OpError, losses: Iterable[str] = (), **facts) -> Exception | None:
    """Returns the error to raise in place of one of TensorFlow's, or None if it is not in the table.

    Args:
      error: what TensorFlow raised.
      losses: names of the parts of the loss, each of which may be what is not finite.
      **facts: in training, `step`, that was taken, and `saved`, of the last checkpoint; rows that name them are passed
        over elsewhere.
    """
    of_losses = (
        Translation(
            tf.errors.InvalidArgumentError,
            f"loss {name!r} is not finite",
            FloatingPointError,
            f"Loss {name!r} is not finite at step {{step}}; " + _LEFT + _LOWER,
        )
        for name in losses
    )
    for row in (*TABLE, *of_losses):
        told = "step" in facts or "{step}" not in row.message
        if told and isinstance(error, row.raised) and row.phrase in str(error):
            return row.error(row.message.format(detail=_detail(error.message), **facts))
    return None


def _detail(message: str) -> str:
    """Returns the line of a message of TensorFlow that says what is wrong, without those that say where in a graph."""
    where = r"\{\{.*?\}\}|\[\[.*|.*Iterator::\S+ |assertion failed: "
    lines = [re.sub(where, "", line).strip() for line in message.splitlines()]
    return next(filter(None, reversed(lines)), "")
