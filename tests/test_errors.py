import errno
import re

import pytest
import tensorflow as tf

from tfcount import errors
from tfcount.records import shards


def not_finite(what):
    return tf.errors.InvalidArgumentError(None, None, f"{what} is not finite : Tensor had NaN values")


@pytest.mark.parametrize("what", ["a point", "the mask of points", "the density", "the gradient", "loss 'count'"])
def test_what_is_not_finite_in_training(what):
    ours = errors.translate(not_finite(what), ["count"], step=7, saved=4)
    assert isinstance(ours, FloatingPointError)
    assert str(ours).startswith(
        f"{what[0].upper()}{what[1:]} is not finite at step 7; the weights were left as they were"
    )
    assert "the last checkpoint is that of step 4." in str(ours)


def test_elsewhere_there_is_no_step():
    assert errors.translate(not_finite("the density")) is None


def test_a_damaged_record():
    ours = errors.translate(tf.errors.DataLossError(None, None, "truncated at 5"))
    assert isinstance(ours, ValueError) and "a record is damaged (truncated at 5). `python -m" in str(ours)


def test_a_damaged_record_in_a_graph_is_told_in_a_line():
    message = (
        "Graph execution error:\n\nDetected at node IteratorGetNext defined at (most recent call last):\n"
        '  File "x.py", line 1, in <module>\n'
        "{{function_node __wrapped__}} corrupted record at 7\n\t [[{{node IteratorGetNext}}]] [Op:__inference_f_1]"
    )
    ours = errors.translate(tf.errors.DataLossError(None, None, message))
    assert str(ours).startswith("a record is damaged (corrupted record at 7). `python -m") and "\n" not in str(ours)


def test_a_shard_of_other_images(tmp_path):
    path = tmp_path / "x.tfrecord"
    path.write_bytes(b"")
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        list(shards.read([shards.Shard(str(path), ["a"], [True])], tf.data.Dataset.range(1), 1))
    ours = str(errors.translate(raised.value))
    assert re.match(
        r"a shard is damaged \(\[/.*x.tfrecord does not hold .* in place of a\)\]\). .*--check` tells which", ours
    )
    assert "\n" not in ours and "node" not in ours


def test_other_errors_are_nobodys():
    assert errors.translate(tf.errors.NotFoundError(None, None, "x")) is None
    assert errors.translate(tf.errors.InvalidArgumentError(None, None, "x"), ["count"], step=1, saved=0) is None


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EFBIG, "File too large"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        # HDF5 and TensorFlow do not always tell.
        (OSError("Unable to write\n\n  (file write failed)"), True),
        (tf.errors.OutOfRangeError(None, None, "no space"), True),
        (tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (OSError(errno.EROFS, "Read-only file system"), False),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), False),
        (tf.errors.PermissionDeniedError(None, None, "x/1; Permission denied"), False),
        (tf.errors.NotFoundError(None, None, "x/1; No such file or directory"), False),
        (tf.errors.FailedPreconditionError(None, None, "x/1; Not a directory"), False),
    ],
)
def test_a_folder_that_cannot_be_written_to(error, full):
    """The disk is blamed where it may be to blame, and the reason is told in any case."""
    message = str(errors.not_written("runs/x", error, "Make room."))
    reason = " ".join(str(error).split())
    if full:
        assert message == f"'runs/x' cannot be written to: is the disk full? Make room. ({reason})"
    else:
        assert message == f"'runs/x' cannot be written to: {reason}"
