"""Which image goes to which shard: a function of the sources alone, wherever the shards are written."""

import hashlib
import itertools
import json
import math
import random
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from tfcount.records import schema
from tfcount.records.manifest import FORMAT_VERSION

IMAGES_PER_SHARD = 40
# Reading is parallel over shards, so a small data set is cut finer, but not below this many images.
FEWEST_IMAGES_PER_SHARD = 8
SHARDS_READ_IN_PARALLEL = 4
ORDER_SEED = 0


class ImageWarning(NamedTuple):
    """Something that may be wrong with an image; what is said of several images becomes one sentence.

    Attributes:
      text: what such images do, a plural verb and more; `{number}` stands for the sum of `number`, `{points}` for the
        number of annotated points of the split.
      detail: the file and value of this image.
      number: how many things of this image it is about.
    """

    text: str
    detail: str
    number: int


class LoadedImage(NamedTuple):
    """What a source gives.

    Attributes:
      image: the annotated image, its points inside the image.
      points_clipped: how many of its points were moved to the edge of the image.
      points_dropped: how many annotated points are not among its points.
      warnings: what may be wrong with it.
    """

    image: schema.AnnotatedImage
    points_clipped: int
    points_dropped: int
    warnings: tuple[ImageWarning, ...] = ()


class ImageSource(Protocol):
    """One image of a data set, which a worker process loads: it must be picklable.

    Attributes:
      id: name of the image, unique within its split.
    """

    @property
    def id(self) -> str:
        """Name of the image."""

    def fingerprint(self) -> str:
        """Returns a text that changes whenever `load` would return something else."""

    def load(self) -> LoadedImage:
        """Reads the image and its annotation; raises ValueError or OSError that name the file and the remedy."""


class Shard(NamedTuple):
    """One file to write.

    Attributes:
      split: whose images it holds.
      path: its name in the folder of records.
      fingerprint: of what it will hold.
      sources: its images, in order.
    """

    split: str
    path: str
    fingerprint: str
    sources: Sequence[ImageSource]


def plan_shards(splits: Mapping[str, Sequence[ImageSource]]) -> list[Shard]:
    """Spreads the images of every split over its shards, in an order that only depends on their ids.

    Args:
      splits: the images of every split.

    Raises:
      ValueError: if there are no images, or two of a split have the same id.
    """
    _check(splits)
    return [shard for split, sources in splits.items() for shard in _plan_split(split, sources)]


def _check(splits: Mapping[str, Sequence[ImageSource]]) -> None:
    if not any(splits.values()):
        raise ValueError("The data set has no images.")
    for split, sources in splits.items():
        if not sources:
            raise ValueError(f"Split {split!r} has no images.")
        # Names that read the same are the same: an accented letter may be one character or two.
        ids = sorted(unicodedata.normalize("NFC", source.id) for source in sources)
        equal = sorted({a for a, b in itertools.pairwise(ids) if a == b})
        if equal:
            raise ValueError(f"Ids must be unique in a split. Split {split!r} has several images of id {equal[:10]}.")


def _plan_split(split: str, sources: Sequence[ImageSource]) -> Iterator[Shard]:
    shuffled = sorted(sources, key=lambda source: source.id)
    random.Random(ORDER_SEED).shuffle(shuffled)
    size = len(shuffled)
    least = min(SHARDS_READ_IN_PARALLEL, math.ceil(size / FEWEST_IMAGES_PER_SHARD))
    number = max(least, math.ceil(size / IMAGES_PER_SHARD))
    for index in range(number):
        part = shuffled[index * size // number : (index + 1) * size // number]
        contents = json.dumps([FORMAT_VERSION, *([source.id, source.fingerprint()] for source in part)])
        yield Shard(
            split,
            f"{split}-{index:05d}-of-{number:05d}.tfrecord",
            hashlib.sha256(contents.encode()).hexdigest(),
            part,
        )
