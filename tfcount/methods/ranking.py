"""Learning to rank ("Glance to Count"): a counter trained on which of two images shows more."""

import dataclasses
import functools
import logging

import numpy as np
import tensorflow as tf

from tfcount.data.streams.pairs import paired
from tfcount.data.streams.training_data import TrainingData
from tfcount.labeling import pair_selection, questions
from tfcount.labeling.anchor_selection import spread
from tfcount.labeling.order import against_counts, check, order_of, reduction
from tfcount.losses.ranking_hinge import is_hard, ranking_hinge
from tfcount.methods.method import Method, MethodConfig, Plan
from tfcount.records.folder import Records
from tfcount.records.labels import PairLabel, read_labels

SUPERVISION = ("none", "anchors", "all")
LABELS = ("counts", "records")

logger = logging.getLogger("tfcount")


@dataclasses.dataclass(frozen=True)
class Config(MethodConfig):
    """What is known of the images, and how it is weighed.

    Attributes:
      pairs: whether pairs of images are put in order; if not, --ranking_supervision alone teaches: the baselines.
      labels: who says which image of a pair shows more: "counts", where a person is simulated who knows those of the
        records, or "records", where these keep what people said (`python -m tfcount.select_labels`).
      ratio: with counts, a person tells the pairs apart whose counts differ by more than this factor.
      asked: with counts, of these pairs, how many a person is asked, first of images that were in none; what follows
        from the answers is used, too. 0 asks for the fewest that imply all of them.
      supervision: images whose counts teach, too: none (the paper's "Ours"), anchors ("Ours++") or all ("Fully").
      anchors: images whose counts give the line from potentials to counts, from few people to many: by the order that
        the pairs give where a person is simulated, and by their counts, or all of them if they are fewer, in records.
      margin: by which potentials of a pair shall differ, people.
      hard_ratio: pairs in the right order by the margin and by this factor are left out of the mean.
      alpha: weight of the counts; Eq. (2).
      containment: weight of the ranking of random windows, half as high and wide as the smallest image of a batch,
        below the images that they are cut from (L2R, Liu et al., CVPR 2018); it needs no label.
    """

    pairs: bool = True
    labels: str = "counts"
    ratio: float = 2.0
    asked: int = 0
    supervision: str = "none"
    anchors: int = 50
    margin: float = 0.5
    hard_ratio: float = 2.0
    alpha: float = 1.0
    containment: float = 0.0

    def __post_init__(self):
        least = {"ratio": 1, "asked": 0, "anchors": 2, "margin": 0, "hard_ratio": 1, "alpha": 0, "containment": 0}
        for name, limit in least.items():
            if not getattr(self, name) >= limit:
                raise ValueError(f"--ranking_{name} must be at least {limit}. Received: {getattr(self, name)}.")
        if self.supervision not in SUPERVISION:
            raise ValueError(f"--ranking_supervision must be one of {SUPERVISION}. Received: {self.supervision!r}.")
        if self.labels not in LABELS:
            raise ValueError(f"--ranking_labels must be one of {LABELS}. Received: {self.labels!r}.")
        if not self.pairs and self.supervision == "none":
            raise ValueError("--noranking_pairs leaves nothing to learn from with --ranking_supervision=none.")


class Ranking(Method):
    """Puts the potentials of images in the order that people see, and makes some of them counts.

    The potential of an image is the sum of its map before the last activation, so it may be negative. The map counts
    people from the start, as that of every counter does, so one unit of a potential is about one person.

    Args:
      counter: the network to train; its last activation is left out if pairs teach.
      config: what is known, and how it is weighed.

    Raises:
      ValueError: if the counter looks at means over the whole image, of which padding would be a part.
    """

    def __init__(self, counter, config: Config, **kwargs):
        super().__init__(counter, **kwargs)
        self.config = config
        if counter.pools_image:
            raise ValueError(
                f"--method=ranking pads images to equal sides, and --counter={counter.name} would see the padding "
                "everywhere, for it looks at means over the image: choose another counter."
            )
        if config.pairs:
            counter.leave_out_activation()
        self.build_metrics(self._parts())

    def _parts(self):
        config = self.config
        return (
            ["ranking"] * config.pairs
            + ["count"] * (config.supervision != "none")
            + ["containment"] * (config.containment > 0)
        )

    def compute_losses(self, batch, training):
        """Returns the hinge of all known pairs of the batch that are hard, and the errors of known counts."""
        values = potentials(self.counter(batch["image"], training=training), batch["size"], self.counter.stride)
        parts = {}
        if self.config.pairs:
            more, fewer = values[:, None], values[None]
            hard = is_hard(more, fewer, self.config.margin, self.config.hard_ratio)
            weights = batch["more"] * tf.cast(hard, tf.float32)
            hinge = ranking_hinge(more, fewer, self.config.margin)
            parts["ranking"] = tf.reshape(hinge, [-1]), tf.reshape(weights, [-1])
        if self.config.supervision != "none":
            parts["count"] = self.config.alpha * tf.abs(values - batch["count"]), batch["counted"]
        if self.config.containment:
            windows = random_windows(
                batch["image"], batch["size"], tf.stack([tf.zeros([], tf.int64), self._steps.value])
            )
            inside = tf.reduce_sum(self.counter(windows, training=training), [1, 2, 3])
            parts["containment"] = self.config.containment * ranking_hinge(values, inside, 0.0)
        return parts


def potentials(maps, sizes, stride: int):
    """Adds up the cells of each image.

    Args:
      maps: `(batch, h, w, 1)` a counter gives for images that were padded to equal sides.
      sizes: `(batch, 2)` int32, height and width of the images without padding, pixels.
      stride: side of a cell, pixels.

    Returns:
      `(batch,)`.
    """
    cells = -(-sizes // stride)
    inside = [tf.sequence_mask(cells[:, axis], tf.shape(maps)[1 + axis], dtype=maps.dtype) for axis in (0, 1)]
    return tf.einsum("bhw,bh,bw->b", maps[..., 0], *inside)


def random_windows(images, sizes, seed):
    """Cuts a window out of each image, half as high and wide as the smallest, and at least a pixel.

    Args:
      images: `(batch, height, width, 3)`, padded to equal sides.
      sizes: `(batch, 2)` int32, height and width of the images without padding, pixels.
      seed: `(2,)` integers.

    Returns:
      `(batch, h, w, 3)`.
    """
    window = tf.maximum(tf.reduce_min(sizes, 0) // 2, 1)
    share = tf.random.stateless_uniform(tf.shape(sizes), seed)
    corners = tf.cast(share * tf.cast(sizes - window + 1, tf.float32), tf.int32)

    def cut(image_and_corner):
        image, corner = image_and_corner
        return tf.slice(image, [corner[0], corner[1], 0], [window[0], window[1], 3])

    return tf.map_fn(cut, (images, corners), fn_output_signature=images.dtype)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a person has said of the training images; images are positions in the rows of the records.

    Attributes:
      pairs: `(p, 2)` int64: the image that shows more, the one that shows fewer, what follows from others among them.
      asked: how many of them were asked.
      anchors: `(n,)` int64, images whose counts give the line.
      counted: `(c,)` int64, images whose counts teach.
    """

    pairs: np.ndarray
    asked: int
    anchors: np.ndarray
    counted: np.ndarray


def collect_facts(config: Config, records: Records, seed: int) -> Facts:
    """Asks as the config says.

    Raises:
      ValueError: if no two images differ enough, no pair is labeled, labels contradict each other, or too few images
        have counts.
    """
    counts = np.array([row.count for row in records.rows])
    pairs, asked = np.zeros((0, 2), np.int64), 0
    if config.pairs or (config.supervision == "anchors" and config.labels == "counts"):
        by_people = config.labels == "records"
        labels, asked = _said(records) if by_people else _simulated(config, records, counts, seed)
        pairs = order_of(labels, len(counts)).pairs()
    chosen = np.zeros(0, np.int64)
    if config.pairs or config.supervision == "anchors":
        chosen = _anchors(config, records, counts, pairs)
    everyone = np.flatnonzero(~np.isnan(counts))
    counted = {"none": chosen[:0], "anchors": chosen, "all": everyone}[config.supervision]
    return Facts(pairs, asked, chosen, counted)


def _anchors(config, records, counts, pairs):
    """Returns images whose counts are known, or a person is asked for, from few people to many, `(n,)`."""
    known_counts = np.flatnonzero(~np.isnan(counts))
    if config.labels == "records":
        candidates, order, number = known_counts, counts, min(config.anchors, len(known_counts))
        if number < 2:
            raise ValueError(
                f"The records in {records.folder!r} know the counts of {number} training images. Anchors are two or "
                "more: count some images with few people, and some with many."
            )
    else:
        # Before anything is counted, only the pairs tell which images show few people, and which many.
        candidates, number = np.intersect1d(pairs, known_counts), config.anchors
        order = np.bincount(pairs[:, 0], minlength=len(counts)) - np.bincount(pairs[:, 1], minlength=len(counts))
        if len(candidates) < number:
            raise ValueError(
                f"--ranking_anchors={number} is larger than the number of training images in pairs with counts, "
                f"{len(candidates)}, in {records.folder!r}."
            )
    chosen = np.sort(candidates[spread(order[candidates], number)])
    if len(np.unique(counts[chosen])) < 2:
        raise ValueError(
            f"All {number} anchors of the records in {records.folder!r} show {counts[chosen[0]]:g} people, which gives "
            "no line: count images with fewer people, and with more."
        )
    return chosen


def _simulated(config, records, counts, seed):
    """Returns the labels of a person who tells the counts of the records apart, `(p, 2)`, and how many were asked."""
    pairs = pair_selection.from_counts(counts, config.ratio)
    if not len(pairs):
        raise ValueError(
            f"No two of the {len(counts)} training images in {records.folder!r} have counts that differ by more than "
            f"the factor --ranking_ratio={config.ratio}."
        )
    if config.asked:
        labels = pair_selection.sparse_first(pairs, config.asked, seed)
    else:
        labels = reduction(pairs, len(counts))
    return labels, len(labels)


def _said(records):
    """Returns the labels "more" that the records keep of these images, `(p, 2)`, and how many pairs have labels."""
    ids = [row.id for row in records.rows]
    known_ids = set(ids)
    pairs = read_labels(records.folder, records.rows[0].split, PairLabel)
    pairs = [pair for pair in pairs if {pair.id_a, pair.id_b} <= known_ids]
    labels = questions.index_pairs(pairs, ids)
    if not len(labels.greater):
        raise ValueError(
            f"The records in {records.folder!r} keep no labels of pairs of training images. Label some with `python -m "
            "tfcount.select_labels --strategy=ranking`, or set --ranking_labels=counts."
        )
    check(labels, ids)
    return np.unique(labels.greater, axis=0), len({frozenset(pair[:2]) for pair in pairs})


def plan(config: Config, records: Records, seed: int) -> Plan:
    """Plans to learn from whole images among which pairs are in a known order, and some of which have counts.

    Raises:
      ValueError: see `collect_facts`.
    """
    facts = collect_facts(config, records, seed)
    counts = np.array([row.count for row in records.rows])
    for line in against_counts(facts.pairs, counts, [row.id for row in records.rows]):
        logger.warning("%s", line)
    pairs, asked, anchors = facts.pairs, facts.asked, facts.anchors
    if not config.pairs:
        pairs, asked, anchors = pairs[:0], 0, anchors[:0]
    counted = np.union1d(facts.counted, anchors)
    images = np.union1d(counted, np.unique(pairs))
    cost = {"images": len(images), "dots": 0, "counts": len(counted), "pairs": asked, "columns": 0}
    ids = frozenset(records.rows[position].id for position in anchors)
    return Plan(cost, functools.partial(_whole_images, pairs, facts.counted), ids)


def _whole_images(pairs, counted, source: TrainingData) -> tf.data.Dataset:
    if source.data.crop:
        raise ValueError(
            "--method=ranking compares whole images: set --data_crop=0, and --data_long_side to what memory allows."
        )
    return paired(source, pairs, counted)


def build(config: Config, counter, density_loss) -> Ranking:
    """Builds the method around a counter; it has no use for a density loss."""
    return Ranking(counter, config)
