"""Writes the records of a data set: on all cores, restartable, and visible under its name only when complete."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tqdm

from tfcount.records import lock, temporary
from tfrecords_tools.writing import owned
from tfrecords_tools.writing.local import write_shards
from tfrecords_tools.writing.plan import ImageSource, plan_shards
from tfrecords_tools.writing.publish import check_output, finish_killed, open_partial, publish
from tfrecords_tools.writing.shard import NOTE, read_finished


def write_dataset(
    output: str,
    dataset: str,
    splits: Mapping[str, Sequence[ImageSource]],
    source: Mapping[str, Any],
    overwrite: bool = False,
    warnings: Sequence[str] = (),
) -> dict:
    """Writes the splits of a data set as shards of records, with a manifest and an index.

    Everything is written to the sibling folder `OUTPUT.partial`, which is renamed to `output` at the very end. Called
    again after a stop, it keeps every finished shard whose sources did not change.

    Args:
      output: folder to make.
      dataset: name of the data set, kept in the manifest.
      splits: the images of every split.
      source: where the data are from, or the parameters that made them; JSON, kept in the manifest.
      overwrite: replace the records that `output` holds, once the new ones are complete; labels that people
        added to images that are in both are kept.
      warnings: what may be wrong with the data set as a whole, kept in the manifest.

    Returns:
      The manifest: see `read_manifest`. It also holds `duplicates`, lists of "split/id" whose images have equal
      bytes, and `warnings`, sentences on what may be wrong with the data set.

    Raises:
      FileExistsError: if `output` exists, and holds something else than records or `overwrite` is not set; or
        `OUTPUT.partial` does, and holds something that no earlier call wrote.
      BlockingIOError: if another process builds records there; the message names it.
      ValueError: if there are no images, two of a split have the same id, or a file cannot be used.
      OSError: if a file cannot be read or written, for example because the disk is full.
      KeyboardInterrupt: if interrupted; its message says how to go on.
    """
    # Of a link, that to which it leads is replaced, on its own disk.
    output = os.path.realpath(output)
    partial = output + ".partial"
    try:
        with lock.locked(f"{output}.{lock.NAME}", f"building records in {output!r}"):
            finish_killed(partial, output)
            check_output(output, overwrite)
            shards = plan_shards(splits)
            open_partial(partial)
            statistics = read_finished(partial, shards)
            # Also removes what an earlier call was writing when it was killed.
            finished = {name for path in statistics for name in (path, path + NOTE)}
            owned.remove(partial, {temporary.MARKER, *finished})
            total = sum(len(shard.sources) for shard in shards)
            with tqdm.tqdm(total=total, desc=os.path.basename(output), unit="image") as bar:
                bar.update(sum(len(finished["rows"]) for finished in statistics.values()))
                pending = [shard for shard in shards if shard.path not in statistics]
                statistics.update(write_shards(partial, pending, bar))
            return publish(partial, output, dataset, source, shards, statistics, warnings, overwrite)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped. {partial} keeps the finished shards: the same command goes on from there."
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"The disk of {partial} is full. Free space and give the same command again: it keeps the finished shards."
        ) from error
