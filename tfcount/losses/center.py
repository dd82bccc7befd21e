"""The loss that gathers densities around centers."""

from keras import ops


def center_loss(relative_density, center):
    """Computes the squared differences of relative densities from their centers.

    `loss = (relative_density - center) ** 2`

    Source: Xu et al., "Learn to scale", ICCV 2019, Eq. (2), whose sum over divisions is left to the caller.

    Args:
      relative_density: `(n,)` D / r ** 2, the density of a division after scaling.
      center: `(n,)` the center of each division's group.

    Returns:
      `(n,)`.

    Example:
      >>> center_loss(np.array([2.0, 1.0]), np.array([0.5, 1.0]))
      [2.25, 0.0]
    """
    return ops.square(relative_density - center)
