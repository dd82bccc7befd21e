import numpy as np
import tensorflow as tf

from tfcount.layers.live_relu import live_relu


def test_value_and_gradient():
    """The value of a ReLU; the gradient is 0.1 where it would be 0."""
    x = tf.constant([-2.0, -0.5, 0.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = live_relu(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 3])
    gradient = tape.gradient(y, x).numpy()
    np.testing.assert_allclose(gradient[[0, 1, 3]], [0.1, 0.1, 1])


def test_a_dead_output_comes_back():
    """A density of zero everywhere, which a ReLU would keep, learns that there is somebody."""
    bias = tf.Variable(-0.5)
    optimizer_steps = 0
    while float(live_relu(bias)) < 0.9 and optimizer_steps < 1000:
        with tf.GradientTape() as tape:
            loss = tf.square(live_relu(bias) - 1.0)
        bias.assign_sub(0.1 * tape.gradient(loss, bias))
        optimizer_steps += 1
    assert optimizer_steps < 1000
