import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount import assembly
from tfcount.config import TrainConfig
from tfcount.losses.density_l2 import DensityL2Loss
from tfcount.methods import supervised
from tfcount.models import build_counter


def batch(rng, images=4):
    return {
        "image": rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8),
        "density": rng.random((images, 8, 8, 1)).astype("float32"),
    }


def build(config):
    keras.utils.set_random_seed(0)
    method = supervised.build(supervised.Config(), build_counter("mcnn"), DensityL2Loss)
    optimizer = assembly.build_optimizer(config)
    optimizer.build(method.trainable_variables)
    method.compile(optimizer=optimizer, jit_compile=False)
    return method


def train(method, batches):
    data = tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature={
            "image": tf.TensorSpec([4, 32, 32, 3], tf.uint8),
            "density": tf.TensorSpec([4, 8, 8, 1], tf.float32),
        },
    )
    return method.fit(data, epochs=1, shuffle=False, verbose=0).history["loss"][0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_replicas_train_like_one(two_replicas, rng, optimizer):
    batches = [batch(rng) for _ in range(3)]
    config = TrainConfig(steps=3, warmup_steps=0, learning_rate=1e-4, optimizer=optimizer, ema=0.5)
    one = build(config)
    loss = train(one, batches)
    with two_replicas.scope():
        two = build(config)
    assert train(two, batches) == pytest.approx(loss, rel=1e-4)
    for first, second in zip(one.trainable_variables, two.trainable_variables, strict=True):
        np.testing.assert_allclose(second.numpy(), first.numpy(), rtol=1e-2, atol=1e-5)


def test_the_end_of_the_data_is_not_taken_for_a_step(rng):
    """Keras asks for a batch more than there are, and TensorFlow runs what does not wait for it."""
    method = build(TrainConfig(steps=3, warmup_steps=0))
    for _ in range(5):
        train(method, [batch(rng)])
        assert float(method.metrics[0].count) == 1
    assert method.steps == 5


def test_weighted_parts():
    """Values 1, 3, 100 with weights 1, 1, 0 have the mean 2; values without weights 4, 4, 4 the mean 4: loss 6."""

    class Weighted(supervised.Supervised):
        def compute_losses(self, batch, training):
            tie = 0 * tf.reduce_sum(self.counter(batch["image"]))
            return {
                "masked": (tf.constant([1.0, 3.0, 100.0]) + tie, tf.constant([1.0, 1.0, 0.0])),
                "plain": tf.fill([3], 4.0),
            }

    method = Weighted(build_counter("mcnn"), None)
    method.build_metrics(["masked", "plain"])
    method.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    logs = method.train_step({"image": np.zeros((3, 8, 8, 3), np.uint8)})
    assert {name: float(value) for name, value in logs.items()} == {"loss": 6, "masked": 2, "plain": 4}


@pytest.mark.parametrize(
    "parts, message",
    [
        (
            {"density": 1.0},
            r"Loss 'density' must have one value per example, \(n,\). Received: shape \(\). .*loss.call",
        ),
        ({"other": [1.0, 2.0]}, r"`build_metrics` must name every part of the loss. Missing: \['other'\]"),
    ],
)
def test_parts_that_do_not_fit(parts, message):
    class Wrong(supervised.Supervised):
        def compute_losses(self, batch, training):
            return {name: tf.constant(value) for name, value in parts.items()}

    method = Wrong(build_counter("mcnn"), None)
    method.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    with pytest.raises(ValueError, match=message):
        method.train_step({})


def test_a_loss_that_is_not_finite_leaves_the_weights(rng):
    # A decay that would be seen, if it were applied.
    method = build(TrainConfig(steps=3, warmup_steps=0, learning_rate=0.1, weight_decay=0.5))
    before = [variable.numpy() for variable in method.trainable_variables]
    bad = batch(rng)
    bad["density"][1, 2, 3] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="loss 'density' is not finite"):
        train(method, [bad])
    for variable, value in zip(method.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert method.steps == 0 and int(method.optimizer.iterations.numpy()) == 0


def test_a_gradient_that_is_not_finite_leaves_the_weights(rng):
    """The loss is finite, and so is each derivative, but not the sum of their squares."""

    class Steep(supervised.Supervised):
        def compute_losses(self, batch, training):
            count = tf.reduce_sum(self.counter(batch["image"]))
            return {"steep": 1e30 * (count - tf.stop_gradient(count))[None]}

    method = Steep(build_counter("mcnn"), None)
    method.build_metrics(["steep"])
    method.compile(optimizer=keras.optimizers.Adam(0.1, global_clipnorm=1.0), jit_compile=False)
    before = [variable.numpy() for variable in method.trainable_variables]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the gradient is not finite"):
        train(method, [batch(rng)])
    for variable, value in zip(method.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_whole_gradient_is_clipped(two_replicas, rng, replicas):
    """With plain SGD at rate 1 the step is the gradient: its norm is that of the clipping, on any number of devices."""
    scope = two_replicas.scope if replicas == 2 else contextlib.nullcontext
    with scope():
        keras.utils.set_random_seed(0)
        method = supervised.build(supervised.Config(), build_counter("mcnn"), DensityL2Loss)
        config = TrainConfig(
            steps=1, warmup_steps=0, learning_rate=1.0, schedule="constant", optimizer="sgd", momentum=0.0,
            weight_decay=0.0, ema=0.0, clip_norm=0.01,
        )  # fmt: skip
        optimizer = assembly.build_optimizer(config, replicas)
        optimizer.build(method.trainable_variables)
        method.compile(optimizer=optimizer, jit_compile=False)
    before = [variable.numpy() for variable in method.trainable_variables]
    train(method, [batch(rng)])
    moved = [variable.numpy() - value for variable, value in zip(method.trainable_variables, before, strict=True)]
    assert np.sqrt(sum(np.sum(change**2) for change in moved)) == pytest.approx(0.01, rel=1e-3)


def test_float16_scales_the_loss(rng):
    with assembly.precision("mixed_float16"):
        method = build(TrainConfig(steps=3, warmup_steps=0, precision="mixed_float16", optimizer="adam"))
    assert isinstance(method.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(train(method, [batch(rng)]))


def test_schedule():
    """Up in a line for 10 steps, then half a cosine down to zero: half of the highest value in the middle."""
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    rate = assembly.build_optimizer(config)._learning_rate
    np.testing.assert_allclose([rate(step) for step in (0, 5, 10, 60, 110)], [0, 0.5, 1, 0.5, 0], atol=1e-6)
    constant = assembly.build_optimizer(TrainConfig(steps=110, warmup_steps=0, schedule="constant", learning_rate=2.0))
    np.testing.assert_allclose([constant._learning_rate(step) for step in (0, 110)], [2, 2])
