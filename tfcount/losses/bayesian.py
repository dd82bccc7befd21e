"""The Bayesian loss: the density expected at each point must add up to one person."""

import keras
import tensorflow as tf

from tfcount.losses.annotations import finite, points_of
from tfcount.ops.transport_cost import transport_cost


@keras.saving.register_keras_serializable("tfcount")
class BayesianLoss(keras.losses.Loss):
    """Computes how far the people expected at each point are from one, and those in the background from none.

    `loss = sum over points j: |1 - sum over cells i: p(j | i) * a_i| + |sum over cells i: p(background | i) * a_i|`
    with a the density, and p the softmax over the points of `-distance ** 2 / (2 * sigma ** 2)`; the background is a
    point that is `background` times the shorter side of the map away from the nearest point, seen from each cell. An
    image without points costs `|sum(a)|`.

    Source: Ma et al., "Bayesian loss for crowd count estimation with point supervision", ICCV 2019. Differs from the
    paper: the background is a whole side away, as in the authors' code, not 15 % of it; there it is the side of the
    image that the crop was cut from, here that of the crop.

    Args:
      stride: side of a cell, pixels.
      sigma: width of the likelihood of a point, pixels.
      background: distance of the background, as a share of the shorter side of the map; 0 leaves it out.

    Call:
      y_true: see `tfcount.losses.annotations.points_of`.
      y_pred: `(batch, h, w, 1)` density, people per cell.
      Returns `(batch,)`.

    Raises:
      ValueError: if sigma is not positive, or the background negative.
      tf.errors.InvalidArgumentError: if the density or a point is not finite.
    """

    OPTIONS = ("sigma", "background")

    def __init__(self, stride: int = 8, sigma: float = 8.0, background: float = 1.0, name="bayesian", **kwargs):
        super().__init__(name=name, **kwargs)
        if not sigma > 0:
            raise ValueError(f"`sigma` must be positive. Received: sigma={sigma}.")
        if not background >= 0:
            raise ValueError(f"`background` must be at least 0. Received: background={background}.")
        self.stride, self.sigma, self.background = stride, sigma, background

    def call(self, y_true, y_pred):
        """Returns one value per example, `(batch,)`."""
        points, mask = points_of(y_true, y_pred)
        density = tf.cast(finite(y_pred), tf.float32)
        height, width = tf.shape(density)[1], tf.shape(density)[2]
        pixels = tf.ones(tf.shape(mask)[:1])
        squared = transport_cost(points, height, width, self.stride, "squared", side=pixels)
        logits = -squared / (2 * self.sigma**2)
        logits = tf.where(mask[:, None] > 0, logits, -float("inf"))
        people = mask
        if self.background:
            nearest = tf.sqrt(tf.reduce_min(tf.where(mask[:, None] > 0, squared, float("inf")), 2, keepdims=True))
            side = tf.cast(tf.minimum(height, width) * self.stride, tf.float32)
            away = -tf.square(self.background * side - nearest) / (2 * self.sigma**2)
            logits = tf.concat([logits, away], 2)
            people = tf.concat([mask, tf.zeros_like(mask[:, :1])], 1)
        nobody = tf.reduce_sum(mask, 1) == 0
        probability = tf.nn.softmax(tf.where(nobody[:, None, None], 0.0, logits))
        a = tf.reshape(density, [-1, height * width])
        expected = tf.linalg.matvec(probability, a, transpose_a=True)
        errors = tf.reduce_sum(tf.abs(people - expected), 1)
        return tf.where(nobody, tf.abs(tf.reduce_sum(a, 1)), errors)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "stride": self.stride, "sigma": self.sigma, "background": self.background}
