"""Entropic unbalanced optimal transport: generalized Sinkhorn iterations, over-relaxed, in the exponential domain."""

import math
from typing import NamedTuple

import tensorflow as tf

REGULARIZATIONS = ("entropy", "kl")

# Potentials are taken into the kernel when they have moved by that much, times epsilon: exp(2 * 30) is far from what
# float32 can hold.
_ABSORB = 30.0
# Iterations before over-relaxation begins: the first ones are large.
_PLAIN = 2
# Over-relaxation is weakened where the largest residual of so many iterations is not this much smaller than that of as
# many before, and strengthened where it is: far from the solution, for a small epsilon, it may go round in circles.
_WINDOW = 20
_PROGRESS = 0.95


class SinkhornResult(NamedTuple):
    """The potentials of a transport problem; the plan is `exp((f[:, :, None] + g[:, None] - cost) / epsilon)`.

    Attributes:
      f: `(batch, n)` potentials of the sources, in units of the cost; minus infinity where a source has no mass.
      g: `(batch, m)` potentials of the targets, likewise.
      iterations: `()` int32, what was needed for the whole batch.
      residual: `(batch,)`, what another iteration, not over-relaxed, would have changed in the logarithm of the
        scaling factors at most: 0.01 is one percent; NaN where a mass is negative or not a number.
      converged: `(batch,)` bool, whether the residual is small enough.
    """

    f: tf.Tensor
    g: tf.Tensor
    iterations: tf.Tensor
    residual: tf.Tensor
    converged: tf.Tensor


def unbalanced_sinkhorn(
    a,
    b,
    cost,
    epsilon: float,
    rho: float | None,
    regularization: str = "entropy",
    scaling: float | None = None,
    relaxation: float | None = None,
    tolerance: float = 1e-2,
    max_iterations: int = 100,
) -> SinkhornResult:
    """Solves the entropic transport between sources and targets whose masses need not be kept, or agree.

    `min over P >= 0: <C, P> + epsilon * sum(P * (log P - 1)) + rho * KL(P 1 | a) + rho * KL(P^T 1 | b)` with
    `regularization="entropy"`, whose solution has the form `u K v` with `u = (a / K v) ** lambda`,
    `v = (b / K^T u) ** lambda`, `lambda = rho / (rho + epsilon)`; with "kl" the second term is
    `epsilon * KL(P | a b^T)`, and `u = a / (K v) ** lambda`.

    Iterations of potentials take one multiplication of the kernel with a vector for each side. Large potentials are
    taken into the kernel, so that 32-bit floats do for any epsilon. For a finite rho they are over-relaxed by
    `2 / (1 + sqrt(1 - lambda ** 2))`, the best factor where the slowest error shrinks by `lambda ** 2` an iteration, as
    that of the mass of each group of sources and targets that share nothing with others does.

    Source: Wan et al., "A generalized loss function for crowd counting and localization", CVPR 2021, Eq. (5), (6);
    Chizat et al., "Scaling algorithms for unbalanced optimal transport problems", 2018; over-relaxation: Thibault et
    al., "Overrelaxed Sinkhorn-Knopp algorithm", 2021. Differs from the paper: over-relaxation in place of epsilon
    scaling.

    Differentiation: none; potentials are constants to whatever is computed with them.

    Args:
      a: `(batch, n)` masses of the sources, float32 or float64, at least 0.
      b: `(batch, m)` masses of the targets; padding has 0.
      cost: `(batch, n, m)`, finite.
      epsilon: weight of the entropy, in units of the cost; for 32-bit floats at least 1e-4 of the largest cost.
      rho: weight of the divergence of the marginals from the masses; None keeps the masses, which must then agree.
      regularization: "entropy" or "kl".
      scaling: factor by which epsilon falls in first iterations from the largest cost; None starts at epsilon.
      relaxation: factor of steps, at least 1 and below 2; None takes the best one, and 1 where rho is None.
      tolerance: iterations stop where no residual is larger.
      max_iterations: or where so many are done, those of `scaling` included.

    Returns:
      Potentials, and whether they have converged. f is that which belongs to g by the first of the equations above.

    Raises:
      ValueError: if a number is out of its range.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"`epsilon` must be positive and finite. Received: epsilon={epsilon}.")
    if rho is not None and not rho > 0:
        raise ValueError(f"`rho` must be positive, or None. Received: rho={rho}.")
    if regularization not in REGULARIZATIONS:
        raise ValueError(f"`regularization` must be one of {REGULARIZATIONS}. Received: {regularization!r}.")
    if scaling is not None and not 0 < scaling < 1:
        raise ValueError(f"`scaling` must be between 0 and 1, or None. Received: scaling={scaling}.")
    if relaxation is not None and not 1 <= relaxation < 2:
        raise ValueError(f"`relaxation` must be at least 1 and below 2. Received: relaxation={relaxation}.")
    check_iterations(tolerance, max_iterations)
    cost = tf.stop_gradient(tf.convert_to_tensor(cost))
    a, b = (tf.stop_gradient(tf.cast(masses, cost.dtype)) for masses in (a, b))

    def scalar(value):
        return tf.constant(value, cost.dtype)

    if relaxation is None:
        relaxation = 1.0 if rho is None else best_relaxation(epsilon, rho)
    return SinkhornResult(
        *_solve(
            a,
            b,
            cost,
            scalar(epsilon),
            # 1 / rho, which is 0 where masses are kept.
            scalar(0.0 if rho is None else 1 / rho),
            tf.constant(regularization == "entropy"),
            scalar(scaling or 0.0),
            scalar(relaxation),
            scalar(tolerance),
            tf.constant(max_iterations),
        )
    )


def check_iterations(tolerance: float, max_iterations: int) -> None:
    """Raises ValueError if a tolerance is not positive, or a number of iterations is below 1."""
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be positive. Received: tolerance={tolerance}.")
    if max_iterations < 1:
        raise ValueError(f"`max_iterations` must be at least 1. Received: max_iterations={max_iterations}.")


def best_relaxation(epsilon: float, rho: float) -> float:
    """Returns the best factor of steps where errors shrink by up to `(rho / (rho + epsilon)) ** 2` an iteration."""
    damping = rho / (rho + epsilon)
    return 2 / (1 + (1 - damping**2) ** 0.5)


@tf.function(jit_compile=True, reduce_retracing=True)
def _solve(a, b, cost, epsilon, inverse_rho, entropic, scaling, relaxation, tolerance, max_iterations):
    """Iterates; all arguments are tensors, so that there is one trace for all of their values."""
    # Traces for several shapes may know the same length of one argument and not of another; loops must know it of all.
    shape = cost.shape.merge_with([*a.shape, None]).merge_with([b.shape[0], None, b.shape[1]])
    for value, known in ((a, shape[:2]), (b, [shape[0], shape[2]]), (cost, shape)):
        value.set_shape(known)
    has_a, has_b = a > 0, b > 0
    log_a, log_b = (tf.math.log(tf.where(has, mass, 1)) for has, mass in ((has_a, a), (has_b, b)))

    def damped(epsilon):
        """Returns lambda, and the exponent of the masses."""
        damping = 1 / (1 + epsilon * inverse_rho)
        return damping, tf.where(entropic, damping, 1)

    damping, exponent = damped(epsilon)
    # The part of the potentials that is the masses' own is not taken into the kernel.
    source, target = exponent * epsilon * log_a, exponent * epsilon * log_b
    iteration, g = _anneal(log_a, log_b, has_a, has_b, cost, epsilon, damped, scaling, max_iterations)
    # At the start the largest value of each row and column of the kernel is 1, so that none of them is all zeros.
    f = _smallest(cost - g[:, None], has_b[:, None], 2)
    g = _smallest(cost - f[:, :, None], has_a[:, :, None], 1)

    zero, infinity = tf.zeros_like(a[:, 0]), tf.constant(float("inf"), cost.dtype)

    def unfinished(iteration, residual):
        # Not so where the residual is not a number.
        return (iteration < max_iterations) & tf.reduce_any(residual > tolerance)

    def absorb(iteration, f, g, factor, window, before, residual):
        """Takes the potentials into the kernel, and iterates until they have moved away from it."""
        absorbed_f, absorbed_g = f - source, g - target
        # Rows and columns without mass may hold anything that is finite.
        exponents = (absorbed_f[:, :, None] + absorbed_g[:, None] - cost) / epsilon
        kernel = tf.exp(tf.minimum(exponents, 2 * _ABSORB))

        def solve_f(g):
            """Returns the f that belongs to g."""
            return source + damping * (absorbed_f - epsilon * _log_matvec(kernel, (g - absorbed_g) / epsilon, has_b))

        def solve_g(f):
            """Returns the g that belongs to f."""
            moved = (f - absorbed_f) / epsilon
            return target + damping * (absorbed_g - epsilon * _log_matvec(kernel, moved, has_a, transpose=True))

        def near(iteration, f, g, factor, window, before, residual):
            moved = tf.maximum(_largest(f - source - absorbed_f, has_a), _largest(g - target - absorbed_g, has_b))
            # What is not a number has not moved: an iteration is taken in any case, or there would be no end.
            return unfinished(iteration, residual) & ~tf.reduce_any(moved > _ABSORB * epsilon)

        def iterate(iteration, f, g, factor, window, before, residual):
            step = tf.where(iteration < _PLAIN, tf.ones_like(factor), factor)[:, None]
            change_f = solve_f(g) - f
            f += step * change_f
            change_g = solve_g(f) - g
            g += step * change_g
            residual = tf.maximum(_largest(change_f, has_a), _largest(change_g, has_b)) / epsilon
            window = tf.maximum(window, residual)
            iteration += 1
            ends = iteration % _WINDOW == 0
            aim = tf.where(window < _PROGRESS * before, relaxation, 1)
            factor = tf.where(ends, (factor + aim) / 2, factor)
            before = tf.where(ends, window, before)
            return iteration, f, g, factor, tf.where(ends, zero, window), before, residual

        state = tf.while_loop(near, iterate, [iteration, f, g, factor, window, before, residual])
        # What was over-relaxed need not fit.
        final = solve_f(state[2])
        return state[0], tf.where(unfinished(state[0], state[-1]), state[1], final), *state[2:]

    iteration, f, g, *_, residual = tf.while_loop(
        lambda iteration, f, g, factor, window, before, residual: unfinished(iteration, residual),
        absorb,
        [iteration, f + source, g + target, relaxation + zero, zero, zero + infinity, zero + infinity],
    )
    # No mass at all is legal; a mass that is none must not pass for it.
    legal = tf.reduce_all(a >= 0, 1) & tf.reduce_all(b >= 0, 1)
    residual = tf.where(legal, residual, float("nan"))
    f, g = tf.where(has_a, f, -infinity), tf.where(has_b, g, -infinity)
    return f, g, iteration, residual, residual <= tolerance


def _anneal(log_a, log_b, has_a, has_b, cost, epsilon, damped, scaling, max_iterations):
    """Takes one iteration, in the logarithmic domain, at each of some falling values of epsilon above the last one.

    Returns:
      The number of iterations, which is 0 for a `scaling` of 0, and g without the masses' own part.
    """

    def iterate(iteration, current, g):
        damping, exponent = damped(current)
        v = tf.where(has_b, exponent * log_b + g / current, -float("inf"))
        f = -damping * current * _logsumexp(v[:, None] - cost / current, 2)
        u = tf.where(has_a, exponent * log_a + f / current, -float("inf"))
        g = -damping * current * _logsumexp(u[:, :, None] - cost / current, 1)
        return iteration + 1, current * scaling, g

    start = tf.where(scaling > 0, tf.reduce_max(tf.abs(cost)), 0)
    iteration, _, g = tf.while_loop(
        lambda iteration, current, g: (current > epsilon) & (iteration < max_iterations),
        iterate,
        [tf.constant(0), start, tf.zeros_like(log_b)],
    )
    return iteration, g


def _smallest(costs, counts, axis):
    """Returns the smallest of the costs that count, 0 where there is none."""
    smallest = tf.reduce_min(tf.where(counts, costs, float("inf")), axis)
    return tf.where(tf.math.is_finite(smallest), smallest, 0)


def _largest(values, counts):
    """Returns the largest absolute value of those that count in each example, `(batch,)`; NaN where one is NaN."""
    values = tf.where(counts, tf.abs(values), 0)
    # A compiled maximum may pass over NaN.
    largest = tf.reduce_max(values, 1)
    return tf.where(tf.reduce_any(tf.math.is_nan(values), 1), largest * float("nan"), largest)


def _log_matvec(kernel, exponents, counts, transpose=False):
    """Returns the logarithm of the kernel times `exp(exponents)`, finite also where nothing counts.

    A single step may move potentials by more than an exponential can hold.
    """
    exponents = tf.where(counts, exponents, -float("inf"))
    largest = tf.reduce_max(exponents, 1, keepdims=True)
    largest = tf.where(tf.math.is_inf(largest), tf.zeros_like(largest), largest)
    sums = tf.linalg.matvec(kernel, tf.exp(exponents - largest), transpose_a=transpose)
    return largest + tf.math.log(tf.maximum(sums, sums.dtype.as_numpy_dtype(1e-37)))


def _logsumexp(exponents, axis):
    """Returns the logarithm of a sum of exponentials, finite where all of them are zero."""
    return tf.maximum(tf.reduce_logsumexp(exponents, axis), exponents.dtype.as_numpy_dtype(-1e30))
