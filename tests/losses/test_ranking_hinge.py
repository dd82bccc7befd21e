import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount.losses.ranking_hinge import RankingHingeLoss, is_hard, ranking_hinge


def test_golden():
    """0.5 - (3 - 1) < 0, 0.5 - (1 - 2) = 1.5, and 0.5 - (1.2 - 1) = 0.3: in order, but not by the margin."""
    np.testing.assert_allclose(ranking_hinge(np.array([3, 1, 1.2]), np.array([1.0, 2, 1])), [0, 1.5, 0.3])


def test_it_ranks():
    """Downhill the image that shows more goes up, the other one down; beyond the margin neither moves."""
    more, fewer = tf.Variable([1.0, 5.0]), tf.Variable([2.0, 1.0])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(ranking_hinge(more, fewer))
    up, down = tape.gradient(total, [more, fewer])
    np.testing.assert_array_equal(up, [-1, 0])
    np.testing.assert_array_equal(down, [1, 0])


def test_the_class_takes_both_orders():
    y_pred = np.float32([[3, 1], [3, 1], [1, 3]])
    for y_true in (np.array([1, -1, -1]), np.array([[1.0], [-1.0], [-1.0]])):
        np.testing.assert_allclose(RankingHingeLoss().call(y_true, y_pred), [0, 2.5, 0])
    assert RankingHingeLoss(margin=3.0).call(np.array([1]), y_pred[:1]) == 1


@pytest.mark.parametrize(
    ("more", "fewer", "hard"),
    [
        (1.0, 2.0, True),  # the wrong order
        (1.2, 1.0, True),  # the right one, by less than the margin
        (3.0, 2.0, True),  # by the margin, not by the ratio
        (4.0, 2.0, False),
        (0.4, 0.1, True),  # four times as much, but near zero: by less than the margin
        (0.6, 0.0, False),
        (0.6, -9.0, False),
        (-1.0, -9.0, False),  # 1 / 9 would be a small ratio
        (-9.0, -1.0, True),  # 9 a large one
        (-1.0, -1.2, True),
        (0.0, 0.0, True),
    ],
)
def test_hard_pairs(more, fewer, hard):
    assert bool(is_hard(np.float32([more]), np.float32([fewer]))[0]) == hard


def test_what_is_left_out_costs_nothing(rng):
    more, fewer = rng.normal(0, 3, (2, 1000)).astype("float32")
    hard = np.asarray(is_hard(more, fewer))
    assert 0 < hard.sum() < 1000
    np.testing.assert_array_equal(np.asarray(ranking_hinge(more, fewer))[~hard], 0)


def test_in_a_plain_model():
    keras.utils.set_random_seed(0)
    loss = RankingHingeLoss(margin=0.1)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, RankingHingeLoss) and copy.margin == 0.1
    images = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    pairs = np.arange(64).reshape(32, 2)
    relation = np.sign(images[pairs[:, 0], 0] - images[pairs[:, 1], 0])
    first, second = keras.Input((3,)), keras.Input((3,))
    potential = keras.layers.Dense(1)
    model = keras.Model([first, second], keras.layers.Concatenate()([potential(first), potential(second)]))
    model.compile(keras.optimizers.Adam(0.05), copy, jit_compile=False)
    model.fit([images[pairs[:, 0]], images[pairs[:, 1]]], relation, epochs=160, verbose=0)
    potentials = np.asarray(potential(images))[pairs, 0]
    assert np.mean(np.sign(potentials[:, 0] - potentials[:, 1]) == relation) > 0.95


def test_margin_out_of_range():
    with pytest.raises(ValueError, match=r"`margin` must be at least 0. Received: margin=-1.0"):
        RankingHingeLoss(margin=-1.0)
