"""The last activation of a counter: never negative, and never dead."""

from keras import ops

# Part of the gradient that passes where the input is negative.
_LEAK = 0.1


def live_relu(x):
    """Returns `max(x, 0)`, with a gradient of 0.1 instead of 0 where `x` is negative.

    A ReLU behind the last convolution stops learning in every cell in which it is zero. When a counter starts from
    random weights, most cells show nobody, so the first steps push all of them below zero, and nothing ever comes back:
    such a counter says 0 for every image. Here a cell that is wrongly zero still learns; one that is rightly zero has
    no error and thus no gradient.

    Differentiation: 1 for positive `x`, 0.1 for others, on purpose not the derivative of the value.

    Args:
      x: any tensor.

    Returns:
      A tensor of the same shape and dtype, at least 0.
    """
    negative = ops.minimum(x, 0)
    return ops.relu(x) + _LEAK * (negative - ops.stop_gradient(negative))
