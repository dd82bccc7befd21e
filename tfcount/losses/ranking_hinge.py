"""The loss that puts two images in order."""

import keras
from keras import ops


def ranking_hinge(more, fewer, margin=0.5):
    """Computes how far the image that shows more is from standing above the other one by a margin.

    `loss = max(0, margin - (more - fewer))`

    Source: "Glance to Count: Learning to Rank with Anchors for Weakly-supervised Crowd Counting", Eq. (1).
    Differs from the paper: as printed, `max(0, fewer - more - margin)` is zero for pairs in the wrong order by less
    than the margin. It must be added, as in the ranking support vector machine that the paper takes it from.

    Args:
      more: `(n,)` potentials of the images that show more.
      fewer: `(n,)` potentials of the images that show fewer.
      margin: difference from which on a pair costs nothing, in units of the potentials; at least 0.

    Returns:
      `(n,)`.

    Example:
      >>> ranking_hinge(np.array([3.0, 1.0]), np.array([1.0, 2.0]))
      [0.0, 1.5]
    """
    return ops.relu(margin - (more - fewer))


def is_hard(more, fewer, margin=0.5, ratio=2.0):
    """Returns which pairs are worth learning from, `(n,)` bool: the hard-sample filter.

    A pair is left out if it stands in the right order by the margin or more, and by the ratio or more:
    `more - fewer >= margin` and `more >= ratio * fewer`. Where `fewer` is negative or zero the second always holds,
    for a multiple of it says nothing.

    Source: as `ranking_hinge`, section 3.3. Differs from the paper, which asks for the ratio alone: of potentials near
    zero any ratio is chance, and a ratio of negative ones turns the order around. So what is left out costs nothing
    anyway; the filter changes over how many pairs a mean is taken.

    Args:
      more: `(n,)` potentials of the images that show more.
      fewer: `(n,)` potentials of the images that show fewer.
      margin: as for `ranking_hinge`.
      ratio: at least 1; infinity leaves out no pair with a positive potential.
    """
    return ops.logical_or(more - fewer < margin, ops.logical_and(fewer > 0, more < ratio * fewer))


@keras.saving.register_keras_serializable("tfcount")
class RankingHingeLoss(keras.losses.Loss):
    """Puts pairs of images in order: `ranking_hinge` of pairs of potentials.

    Args:
      margin: difference from which on a pair costs nothing, in units of the potentials; at least 0.

    Call:
      y_true: `(batch,)` or `(batch, 1)`, 1 where the first image of a pair shows more, -1 where it shows fewer.
      y_pred: `(batch, 2)` potentials of both images.
      Returns `(batch,)`.

    Raises:
      ValueError: if the margin is negative, or relations and potentials are of other shapes.
    """

    def __init__(self, margin: float = 0.5, name="ranking_hinge", **kwargs):
        super().__init__(name=name, **kwargs)
        if not margin >= 0:
            raise ValueError(f"`margin` must be at least 0. Received: margin={margin}.")
        self.margin = margin

    def call(self, y_true, y_pred):
        """Returns one value per pair, `(batch,)`."""
        pairs = {shape[0] for shape in (y_true.shape, y_pred.shape)} - {None}
        if len(pairs) > 1 or y_pred.shape[1:] != (2,):
            raise ValueError(
                "`y_true` must be of shape (batch,) or (batch, 1) and `y_pred` of shape (batch, 2). "
                f"Received: shapes {y_true.shape} and {y_pred.shape}."
            )
        relation = ops.cast(ops.reshape(y_true, [-1]), y_pred.dtype)
        first, second = y_pred[:, 0], y_pred[:, 1]
        return ranking_hinge(relation * first, relation * second, self.margin)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}
