"""Learning to scale: dense divisions are counted again at a scale that the network chooses."""

import itertools
import math

import keras
import numpy as np
from keras import ops

from tfcount.layers.live_relu import live_relu
from tfcount.models.counter import Counter
from tfcount.models.spn import BASE_STRIDE, PYRAMID_CHANNELS, STRIDE, regression_head, stacked_stages
from tfcount.ops.divisions import (
    Divisions,
    apply_separable,
    averaging_matrix,
    choose_divisions,
    division_sums,
    inside_scaled,
    put_back,
    read_scaled,
)

# Limits of the scale factors, which the paper leaves open.
SCALES = (0.5, 3.0)
# Scale factor that all divisions start with.
_START = 1.5
# Densities of divisions are in people per square of this side, pixels: they are near 1.
UNIT = 32
# Channels of the five re-prediction convolutions, which the paper leaves open. The first is 1x1, the others 3x3.
_REPREDICTION = (64, 64, 48, 32, 1)
_MARGIN = len(_REPREDICTION) - 1
# Cells of the density along one side of a cell of the features, of which divisions are made.
MULTIPLE = BASE_STRIDE // STRIDE


class LearningToScale(keras.Model):
    """Gives a first density map, and counts its dense divisions again at their own scale (L2SM).

    The map is cut into K x K divisions. They fall into `groups` groups by mean density, with limits that come from
    the training images. Those of the densest `centers` groups are looked at again: features are enlarged by the
    division's scale factor, and five convolutions predict its density, which takes the place of the first one with as
    many people as it has. All divisions of a batch are one batch.

    Source: Xu et al., "Learn to scale", ICCV 2019, section 3.3.

    Differs from the paper:
      - The scale factors are read from the enlarged pools in the stack, averaged over each division, which for pools of
        `divisions` bins or fewer is nearly the pool itself.
      - The first re-prediction convolution is 1x1 and comes before the enlargement, with which it commutes: the same
        map, of fewer cells.
      - Around a division the convolutions see the features of its surroundings, not zeros.

    Args:
      channels: of the features.
      divisions: K, number of divisions along each side.
      groups: G, of divisions by density.
      centers: C, of the groups, the densest ones, are looked at again.
      scaling: "center": factors are learned; "average": divisions are scaled to the mean density of their group (S2AD).

    What is divided is the map as the encoder padded it. People whom it sees in the padding are cut with it.

    Input shape: `(batch, h, w, channels)`, the stack, stride 8.
    Output shape: `(batch, 2 * h, 2 * w, 1)`, float32, people per cell.
    """

    def __init__(self, channels: int, divisions: int, groups: int, centers: int, scaling: str, **kwargs):
        super().__init__(**kwargs)
        self.divisions, self.groups, self.centers, self.scaling = divisions, groups, centers, scaling
        self.base_channels = channels - PYRAMID_CHANNELS
        self.first = regression_head(channels)
        small = keras.initializers.RandomNormal(stddev=0.01)
        start = (math.log(_START) - math.log(SCALES[0])) / (math.log(SCALES[1]) - math.log(SCALES[0]))
        self.scale_layer = keras.layers.Conv2D(
            1,
            1,
            kernel_initializer=small,
            bias_initializer=keras.initializers.Constant(math.log(start / (1 - start))),
            dtype="float32",
            name="scale",
        )
        self.reprediction = [
            keras.layers.Conv2D(filters, 3 if index else 1, kernel_initializer="he_normal", name=f"reprediction{index}")
            for index, filters in enumerate(_REPREDICTION[:-1])
        ]
        self.reprediction.append(
            keras.layers.Conv2D(
                1,
                3,
                activation=live_relu,
                kernel_initializer=small.clone(),
                bias_initializer=keras.initializers.Constant(0.05),
                dtype="float32",
                name="scaled_density",
            )
        )
        self.build((None, None, None, channels))

    def build(self, input_shape):
        """Creates the weights."""
        # Unknown until training has looked at its images.
        unknown = keras.initializers.Constant(float("nan"))
        self.boundaries = self.add_weight(
            shape=(self.groups - 1,), initializer=unknown, trainable=False, name="boundaries", autocast=False
        )
        self.averages = self.add_weight(
            shape=(self.centers,), initializer=unknown, trainable=False, name="averages", autocast=False
        )
        if self.scaling == "center":
            self.scale_layer.build((None, self.divisions, self.divisions, PYRAMID_CHANNELS))
        channels = self.base_channels
        for layer in self.reprediction:
            layer.build((None, None, None, channels))
            channels = layer.filters
        self.built = True

    def division_density(self, density):
        """Returns the mean density of each division of maps of stride 4: `(batch, K, K)`, people per 32 x 32 pixels.

        Divisions without cells, of images with fewer than K cells a side, have 0.
        """
        people, cells = division_sums(density, self.divisions, MULTIPLE)
        return people / ops.maximum(cells, 1.0)[None] * (UNIT / STRIDE) ** 2

    def group(self, densities):
        """Returns the group of each division by its density, 0 to `groups` - 1, int32; of those above is the last."""
        return ops.sum(ops.cast(densities[..., None] > self.boundaries, "int32"), -1)

    def center_of(self, group):
        """Returns the index of the center that divisions of a group have; negative where they are not selected."""
        return group - (self.groups - self.centers)

    def scales(self, features, densities, group):
        """Returns the scale factor of each division, `(batch, K, K)` float32, within `SCALES`.

        Args:
          features: the stack.
          densities: first predicted density of the divisions.
          group: of the divisions.
        """
        low, high = SCALES
        if self.scaling == "average":
            average = ops.take(self.averages, ops.maximum(self.center_of(group), 0))
            return ops.clip(ops.sqrt(densities / ops.maximum(average, 1e-6)), low, high)
        pyramid = ops.cast(features[..., self.base_channels :], "float32")
        rows, columns = (averaging_matrix(length, self.divisions) for length in ops.shape(features)[1:3])
        logits = self.scale_layer(apply_separable(rows, pyramid, columns))[..., 0]
        return low * (high / low) ** ops.sigmoid(logits)

    def repredict(self, features, chosen: Divisions):
        """Returns the density of divisions at their scale, `(n, h, w, 1)` float32, people per cell of stride 8."""
        x = self.reprediction[0](features[..., : self.base_channels])
        x = ops.relu(ops.cast(read_scaled(x, chosen, _MARGIN), self.compute_dtype))
        # Convolutions of no division at all fail on a CPU: there is always one.
        count, *shape = ops.shape(x)
        x = ops.concatenate([x, ops.zeros((ops.cast(count == 0, "int32"), *shape), x.dtype)])
        for layer in self.reprediction[1:-1]:
            x = ops.relu(layer(x))
        return self.reprediction[-1](x)[:count] * inside_scaled(chosen)

    def call(self, features, training=None):
        """Returns the density map with its dense divisions replaced."""
        first, group, scales = self.survey(features, training=training)
        return self.replace(features, first, self.choose(features, group, scales))

    def survey(self, features, training=None):
        """Returns the first density map, and the group and the scale factor of each of its divisions."""
        first = self.first(features, training=training)
        densities = self.division_density(first)
        group = self.group(densities)
        return first, group, self.scales(features, densities, group)

    def choose(self, features, group, scales) -> Divisions:
        """Lists the divisions of dense groups, with their scale factors."""
        height, width = ops.shape(features)[1:3]
        return choose_divisions(self.center_of(group) >= 0, scales, height, width)

    def replace(self, features, first, chosen: Divisions):
        """Returns the first density map with some of its divisions looked at again."""
        return put_back(first, self.repredict(features, chosen), chosen, MULTIPLE)

    def set_groups(self, densities) -> None:
        """Sets the limits of the groups, which become equally large, and their means from densities of divisions.

        Args:
          densities: `(n,)` of the divisions of the training images.

        Raises:
          ValueError: if there are fewer divisions than groups.
        """
        densities = np.sort(np.asarray(densities, np.float64).ravel())
        if len(densities) < self.groups:
            raise ValueError(f"`groups`={self.groups} is more than the number of divisions, {len(densities)}.")
        parts = np.array_split(densities, self.groups)
        self.boundaries.assign([0.5 * (below[-1] + above[0]) for below, above in itertools.pairwise(parts)])
        self.averages.assign([part.mean() for part in parts[-self.centers :]])


class L2SMCounter(Counter):
    """A counter that looks at dense divisions again, see `LearningToScale`."""

    def load_weights(self, filepath, *args, **kwargs):
        """Loads weights; raises ValueError if they hold no group boundaries."""
        super().load_weights(filepath, *args, **kwargs)
        if not np.all(np.isfinite(self.head.boundaries.numpy())):
            raise ValueError("the boundaries of the density groups were never set: these weights were not trained.")


def l2sm(
    encoder_name: str = "vgg16",
    encoder_weights: str = "imagenet",
    divisions: int = 4,
    groups: int = 5,
    centers: int = 3,
    scaling: str = "center",
) -> Counter:
    """Builds SPN with the module that learns to scale (L2SM), with stride 4.

    Source: Xu et al., "Learn to scale", ICCV 2019; see `LearningToScale`. As SPN, it sees the whole image, or tile:
    each tile is divided by itself.

    Args:
      encoder_name: "vgg16" (the paper), "resnet50", or "compact", which learns from random weights.
      encoder_weights: "imagenet", "none" or the path of a weights file.
      divisions: K, number of divisions along each side.
      groups: G, of divisions by density.
      centers: C, of the groups, the densest ones, are looked at again.
      scaling: "center" or "average", see `LearningToScale`.

    Raises:
      ValueError: if there is no such encoder, or the numbers do not fit together.
    """
    if divisions < 1 or groups < 1:
        raise ValueError(f"`divisions` and `groups` must be at least 1. Received: {divisions} and {groups}.")
    if not 1 <= centers <= groups:
        raise ValueError(f"`centers` must be between 1 and `groups`={groups}. Received: {centers}.")
    if scaling not in ("center", "average"):
        raise ValueError(f"`scaling` must be 'center' or 'average'. Received: {scaling!r}.")
    encoder, fuse, reach = stacked_stages(encoder_name, encoder_weights)
    head = LearningToScale(fuse.output.shape[-1], divisions, groups, centers, scaling, name="head")
    return L2SMCounter(encoder, head, STRIDE, reach, fuse, pools_image=True, trained_by="l2sm", name="l2sm")
