"""Learning to scale (L2SM): dense divisions are counted again at a scale that brings them to a common density."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfcount.data.streams.labeled import labeled
from tfcount.data.streams.training_data import TrainingData
from tfcount.drawing.divisions_figure import draw_divisions
from tfcount.layers.multipolar_centers import MultipolarCenters
from tfcount.losses.annotations import DensityTargetLoss
from tfcount.losses.center import center_loss
from tfcount.methods.method import Method, MethodConfig, Plan
from tfcount.models.counter import Counter
from tfcount.models.l2sm import MULTIPLE
from tfcount.models.spn import BASE_STRIDE, STRIDE
from tfcount.ops.density import density_map
from tfcount.ops.divisions import division_edges, inside_scaled, share_out
from tfcount.records import schema
from tfcount.records.folder import Records

# Of the side of crops, pixels: what encoders pad images to.
_CROP_MULTIPLE = 16


@dataclasses.dataclass(frozen=True)
class Config(MethodConfig):
    """What the paper varies, and what it leaves open.

    Attributes:
      divisions: K, number of divisions along each side of an image.
      groups: G, of equally many divisions, by density.
      centers: C, of these groups, the densest ones, are looked at again.
      scaling: "center" learns the scale factors with the center loss, "average" scales each division to the mean
        density of its group (S2AD).
      transform_targets: whether the targets of scaled divisions are drawn again with the heads moved apart; if not, the
        target itself is enlarged.
      rescaled_weight: lambda_1, of the loss of scaled divisions.
      center_weight: lambda_2, of the center loss; at 1 the gradients of the factors are mostly the noise of the loss of
        scaled divisions, which counts people where the center loss compares densities near 1.
      center_rate: alpha, the learning rate of the centers. The center loss is smaller the larger the factors are, so
        centers that follow quickly let all factors grow to their limit.
    """

    divisions: int = 4
    groups: int = 5
    centers: int = 3
    scaling: str = "center"
    transform_targets: bool = True
    rescaled_weight: float = 1.0
    center_weight: float = 10.0
    center_rate: float = 1e-3

    def __post_init__(self):
        for name in ("rescaled_weight", "center_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--l2sm_{name} must be at least 0. Received: {getattr(self, name)}.")
        if not 0 <= self.center_rate <= 1:
            raise ValueError(f"--l2sm_center_rate must be between 0 and 1. Received: {self.center_rate}.")

    def counter_options(self):
        """Returns what the counter and its training must have in common."""
        return {name: getattr(self, name) for name in ("divisions", "groups", "centers", "scaling")}


class L2SM(Method):
    """Trains the first density map, that of dense divisions at their scale, and the scale factors.

    `loss = density loss of the first map + lambda_1 * sum over chosen divisions of the density loss at their scale +
    lambda_2 * sum over chosen divisions of (D / r ** 2 - center) ** 2`

    Source: Xu et al., "Learn to scale", ICCV 2019, Eq. (3). Divisions are chosen by the density of the target: the
    predicted one means nothing at first. D is the predicted density of the division, from which no gradient comes, as
    it would pull the density to the centers.

    Differentiation: the factors r get gradients from the center loss, and from the loss of scaled divisions through the
    positions at which features are read; none through the rounding of sizes, nor through the targets, which move with
    them.

    Args:
      counter: the counter `l2sm`.
      density_loss: `(batch, density) -> (batch,)`, of the first map.
      rescaled_loss: the same for scaled divisions, whose cells are larger.
      config: the weights.
    """

    def __init__(self, counter: Counter, density_loss, rescaled_loss, config: Config, **kwargs):
        super().__init__(counter, **kwargs)
        self.density_loss, self.rescaled_loss = density_loss, rescaled_loss
        self.config = config
        self.learns_scales = config.scaling == "center"
        self.centers = MultipolarCenters(config.centers, config.center_rate, name="centers")
        self.build_metrics(["density", "rescaled", *(["center"] if self.learns_scales else [])])

    def prepare(self, dataset, batches):
        """Sets the limits of the density groups from the crops of one epoch, and where the centers start."""
        densities = [self.counter.head.division_density(batch["density"]) for batch in dataset.take(batches)]
        self.counter.head.set_groups(np.concatenate(densities))
        boundaries, averages = self.counter.head.boundaries.numpy(), self.counter.head.averages.numpy()
        # Between the group's mean and the density where the chosen groups begin, so that denser groups are enlarged
        # more; where all groups are chosen, where the second one begins.
        first = max(self.config.groups - self.config.centers - 1, 0)
        lowest = max(boundaries[first] if len(boundaries) else averages[0], 1e-2)
        self.centers.centers.assign(np.sqrt(np.maximum(averages, lowest) * lowest))

    def compute_losses(self, batch, training):
        """Returns the parts of Eq. (3) for each image."""
        head = self.counter.head
        images = tf.shape(batch["density"])[0]
        features = self.counter.features(batch["image"], training=training)
        first = head.first(features, training=training)
        group = head.group(head.division_density(batch["density"]))
        densities = tf.stop_gradient(head.division_density(first))
        scales = head.scales(features, densities, group)
        chosen = head.choose(features, group, scales)
        scaled = head.repredict(features, chosen)
        truth = self._scaled_truth(batch, chosen)

        def sum_of_images(values):
            return tf.math.unsorted_segment_sum(values, chosen.image, images)

        losses = {
            "density": self.density_loss.call(batch, first),
            "rescaled": self.config.rescaled_weight * sum_of_images(self.rescaled_loss.call(truth, scaled)),
        }
        if self.learns_scales:
            places = tf.stack([chosen.image, chosen.row, chosen.column], 1)
            relative = tf.gather_nd(densities / tf.square(scales), places)
            index = head.center_of(tf.gather_nd(group, places))
            losses["center"] = self.config.center_weight * sum_of_images(center_loss(relative, self.centers(index)))
            if training:
                self.centers.update(tf.stop_gradient(relative), index)
        return losses

    def _scaled_truth(self, batch, chosen):
        """Returns what the scaled divisions show, as losses take it; the density is `(n, h, w, 1)`, people per cell."""
        if not self.config.transform_targets:
            return {"density": share_out(batch["density"], chosen, MULTIPLE)}
        corner = BASE_STRIDE * tf.cast(tf.stack([chosen.left, chosen.top], 1), tf.float32)
        end = BASE_STRIDE * tf.cast(tf.stack([chosen.right, chosen.bottom], 1), tf.float32)
        scale = tf.stop_gradient(tf.stack([chosen.scale_x, chosen.scale_y], 1))
        points = tf.gather(batch["points"], chosen.image)
        # Crops are closed at their right and lower edge, divisions inside of them are not.
        sides = tf.cast(STRIDE * tf.shape(batch["density"])[2:0:-1], tf.float32)
        end = tf.where(end == sides, end + 1.0, end)
        within = tf.reduce_all((points >= corner[:, None]) & (points < end[:, None]), -1)
        mask = tf.gather(batch["point_mask"], chosen.image) * tf.cast(within, tf.float32)
        height, width = tf.unstack(tf.shape(inside_scaled(chosen))[1:3])
        # "Keeping the same peaks": heads move apart, their kernels stay.
        moved = (points - corner[:, None]) * scale[:, None]
        density = density_map(
            moved,
            mask,
            tf.gather(batch["sigma"], chosen.image),
            height,
            width,
            BASE_STRIDE,
            rows=chosen.height,
            columns=chosen.width,
        )
        # Where the scaled map, with what is beyond the division, would lie in the image.
        span = tf.gather(batch["span"], chosen.image)
        image_pixels = (span[:, 1] - span[:, 0]) / sides[1]
        top = span[:, 0] + corner[:, 1] * image_pixels
        bottom = top + tf.cast(height * BASE_STRIDE, tf.float32) / scale[:, 1] * image_pixels
        return {
            "points": moved,
            "point_mask": mask,
            "density": density,
            "span": tf.stack([top, bottom], 1),
            # The unit of length is that of the first map.
            "side": tf.fill(tf.shape(top), tf.reduce_max(sides)),
        }

    def write_summaries(self, examples):
        """Writes centers, scale factors, and pictures of the divisions that are looked at again."""
        head = self.counter.head
        factors, unlike_target = [], []
        for number, (image, target) in enumerate(examples):
            # It would be counted in tiles, each divided by itself.
            if max(image.shape) > self.counter.tile:
                continue
            features = self.counter.features(image[None], training=False)
            first, group, scales = head.survey(features, training=False)
            after = head.replace(features, first, head.choose(features, group, scales))
            scales = np.asarray(scales)[0]
            index = np.asarray(head.center_of(group))[0]
            padding = [[0, side - size] for side, size in zip(first.shape[1:3], target.shape, strict=True)]
            truth = head.division_density(np.pad(target, padding)[None, ..., None])
            unlike_target.append(np.mean((np.asarray(head.center_of(head.group(truth)))[0] >= 0) != (index >= 0)))
            factors.append(scales[index >= 0])
            edges = [np.asarray(division_edges(side // MULTIPLE, len(index))) * MULTIPLE for side in first.shape[1:3]]
            figure = draw_divisions(image, first[0, ..., 0], after[0, ..., 0], index, scales, edges)
            tf.summary.image(f"scaling/{number}", figure[None])
        if factors:
            tf.summary.histogram("scaling/factors", np.concatenate(factors))
            tf.summary.scalar("scaling/chosen_unlike_target", np.mean(unlike_target))
        for index, center in enumerate(self.centers.centers.numpy()):
            tf.summary.scalar(f"scaling/center_{index}", center)


def plan(config: Config, records: Records, seed: int) -> Plan:
    """Plans to learn from crops of the images with all points, whose cells are those of the map."""
    return Plan(records.with_labels(schema.POINTS).label_cost(), _crops)


def _crops(source: TrainingData) -> tf.data.Dataset:
    if source.data.crop % _CROP_MULTIPLE:
        raise ValueError(
            f"--method=l2sm needs --data_crop to be a multiple of {_CROP_MULTIPLE}. Received: {source.data.crop}."
        )
    return labeled(source)


def build(config: Config, counter, density_loss) -> L2SM:
    """Builds the method around a counter; `density_loss(stride)` makes the losses.

    Raises:
      ValueError: if the counter has no scales to learn, or the loss needs points where there are none.
    """
    if counter.trained_by != "l2sm":
        raise ValueError(f"--method=l2sm trains --counter=l2sm. Received: {counter.name!r}.")
    rescaled_loss = density_loss(BASE_STRIDE)
    if not config.transform_targets and not isinstance(rescaled_loss, DensityTargetLoss):
        raise ValueError(
            "--l2sm_transform_targets=false enlarges target densities, and --density_loss compares with points: choose "
            "another of both."
        )
    return L2SM(counter, density_loss(counter.stride), rescaled_loss, config)
