import numpy as np
import tensorflow as tf

from tfcount.losses.center import center_loss


def test_golden():
    """(2 - 0.5) ** 2 = 2.25."""
    np.testing.assert_allclose(center_loss(np.array([2.0, 1.0]), np.array([0.5, 1.0])), [2.25, 0])


def test_gradient_to_the_scale_factor():
    """d/dr (D / r ** 2 - d) ** 2 = -4 D / r ** 3 (D / r ** 2 - d), against finite differences too."""
    density, center = tf.constant([2.0, 0.3]), tf.constant([0.5, 0.4])

    def loss(r):
        return center_loss(density / tf.square(r), center)

    factors = tf.constant([1.3, 0.8])
    with tf.GradientTape() as tape:
        tape.watch(factors)
        total = tf.reduce_sum(loss(factors))
    gradient = tape.gradient(total, factors).numpy()
    numeric = (np.asarray(loss(factors + 1e-3)) - np.asarray(loss(factors - 1e-3))) / 2e-3
    np.testing.assert_allclose(gradient, numeric, rtol=1e-2)
    exact = -4 * density / factors**3 * (density / factors**2 - center)
    np.testing.assert_allclose(gradient, exact, rtol=1e-4)
