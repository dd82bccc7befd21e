"""What the generalized loss costs of a training step of `resnet50`: 8 crops of 256 pixels with 250 points each.

ratio: seconds of value and gradient of the loss, for a density of the counter, over those of the step with that loss,
in the same run; at most 0.1.
"""

from measuring import finish, medians
import numpy as np
import supervised
import tensorflow as tf

from tfcount.ops.density import density_map

REPEATS = 25
POINTS, BUCKET = 250, 256


def main():
    """Measures, prints a table and the result."""
    method, dataset = supervised.build(density_loss="unbalanced_ot")
    batch = dict(next(iter(dataset)))
    images, side = batch["image"].shape[:2]
    points = np.random.default_rng(0).uniform(0, side, (images, POINTS, 2)).astype("float32")
    batch["points"] = tf.constant(np.pad(points, [[0, 0], [0, BUCKET - POINTS], [0, 0]]))
    batch["point_mask"] = tf.constant(np.tile(np.arange(BUCKET) < POINTS, (images, 1)).astype("float32"))
    # Blobs that miss the heads a little, as a counter in training gives them.
    seen = np.clip(points + np.random.default_rng(1).normal(0, 4, points.shape), 0, side).astype("float32")
    mask, sigma = np.ones((images, POINTS), "float32"), np.full((images, POINTS), 8.0, "float32")
    cells = side // method.counter.stride
    density = density_map(seen, mask, sigma, cells, cells, method.counter.stride)

    @tf.function
    def loss_alone():
        with tf.GradientTape() as tape:
            tape.watch(density)
            value = method.density_loss.call(batch, density)
        return value, tape.gradient(value, density)

    seconds = medians(
        {"loss": lambda: loss_alone()[1].numpy(), "step": supervised.step_on(method, batch)}, REPEATS, warmup=3
    )
    print(f"{supervised.TITLE}, {POINTS} points each, median of {REPEATS}")
    for name, value in seconds.items():
        print(f"{name:<6}{value:>9.4f} s")
    finish(seconds["loss"] / seconds["step"], 0.1, largest=True)


if __name__ == "__main__":
    main()
