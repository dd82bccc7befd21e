"""Batches with features in place of images: what an encoder that does not change gives is computed once."""

import itertools
import os
import shutil
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from tfcount.records import temporary


def cache_features(
    dataset: tf.data.Dataset, batches: int, encode: Callable, folder: str, seed: int, start: int
) -> tf.data.Dataset:
    """Encodes the images of the first batches of a dataset, and returns these batches again and again.

    The features lie in files that are mapped into memory: they take what memory is free, and the disk for the rest.
    They are kept as float16, half of their size. Every round has a new order; it depends on the seed alone.

    Args:
      dataset: batches, dicts with `image` `(batch, height, width, 3)`.
      batches: how many to keep.
      encode: images -> tuple of maps `(batch, h, w, channels)`.
      folder: temporary one for the files, `0.npy`, `1.npy`, ...: one for each map.
      seed: of the order.
      start: number of batches to pass over.

    Returns:
      The batches, endlessly, with `image` the tuple of maps, float16.

    Raises:
      FileExistsError: if the folder holds something else.
      OSError: if the disk has no room for them.
    """
    temporary.make(folder)
    files: list[np.ndarray] = []
    rest = []
    for index, batch in enumerate(tqdm.tqdm(dataset.take(batches), total=batches, unit="batch", desc="encode")):
        maps = [tf.saturate_cast(features, tf.float16).numpy() for features in encode(batch["image"])]
        if not files:
            size, free = batches * sum(features.nbytes for features in maps), shutil.disk_usage(folder).free
            if size > free:
                raise OSError(
                    f"The features need {size / 1e9:.1f} GB, and {folder!r} has {free / 1e9:.1f} GB free: make room, "
                    "or train without --cache_features."
                )
            files = [
                np.lib.format.open_memmap(
                    os.path.join(folder, f"{number}.npy"), "w+", dtype=np.float16, shape=(batches, *features.shape)
                )
                for number, features in enumerate(maps)
            ]
        for file, features in zip(files, maps, strict=True):
            file[index] = features
        rest.append({name: value for name, value in batch.items() if name != "image"})

    def rounds():
        for step in itertools.count(start):
            number, position = divmod(step, batches)
            index = np.random.default_rng((seed, number)).permutation(batches)[position]
            yield {**rest[index], "image": tuple(file[index] for file in files)}

    image = tuple(tf.TensorSpec(file.shape[1:], tf.float16) for file in files)
    return tf.data.Dataset.from_generator(rounds, output_signature={**dataset.element_spec, "image": image}).prefetch(2)
