import numpy as np
import pytest
import tensorflow as tf

from tfcount.layers.multipolar_centers import MultipolarCenters


def test_update_by_hand():
    """Center 0 at 1 with densities 3 and 0: sum of differences (1 - 3) + (1 - 0) = -1, over 1 + 2; rate 0.6: + 0.2.

    Center 1 at 2 with 8: (2 - 8) / (1 + 1) = -3, + 1.8. Center 2 at 3 has no division and stays.
    """
    centers = MultipolarCenters(3, 0.6)
    np.testing.assert_array_equal(centers.centers, [1, 2, 3])
    np.testing.assert_array_equal(centers(np.array([2, 0])), [3, 1])
    centers.update(tf.constant([3.0, 8.0, 0.0]), tf.constant([0, 1, 0]))
    np.testing.assert_allclose(centers.centers, [1.2, 3.8, 3.0], rtol=1e-6)


def test_no_division_at_all():
    centers = MultipolarCenters(2, 0.5)
    centers.update(tf.zeros([0]), tf.zeros([0], tf.int32))
    np.testing.assert_array_equal(centers.centers, [1, 2])


def test_replicas_update_like_one_device_on_the_joined_batch(two_replicas):
    """The shares are unequal: two divisions here, three there; center 1 has a division on one replica alone."""
    parts = [([3.0, 0.5], [0, 1]), ([7.0, 2.0, 4.0], [0, 0, 0])]
    one = MultipolarCenters(2, 0.5)
    one.update(*(tf.constant(parts[0][index] + parts[1][index]) for index in range(2)))
    with two_replicas.scope():
        two = MultipolarCenters(2, 0.5)

    @tf.function
    def step():
        def update():
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            densities = tf.cond(first, lambda: tf.constant(parts[0][0]), lambda: tf.constant(parts[1][0]))
            index = tf.cond(first, lambda: tf.constant(parts[0][1]), lambda: tf.constant(parts[1][1]))
            two.update(densities, index)

        two_replicas.run(update)

    step()
    # (1 - 3) + (1 - 7) + (1 - 2) + (1 - 4) = -12, over 1 + 4; (2 - 0.5) / (1 + 1) = 0.75.
    np.testing.assert_allclose(one.centers, [2.2, 1.625], rtol=1e-6)
    for value in two_replicas.experimental_local_results(two.centers.value):
        np.testing.assert_allclose(value, one.centers, rtol=1e-6)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_rate(rate):
    with pytest.raises(ValueError, match="`rate` must be between 0 and 1"):
        MultipolarCenters(2, rate)
