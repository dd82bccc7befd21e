"""The training step of `supervised` against the bare forward pass, backward pass and update of the same counter.

ratio: seconds of our step over those of the bare one; at most 1.05.
"""

from measuring import finish, medians
import supervised
import tensorflow as tf

REPEATS = 25


def main():
    """Measures, prints a table and the result."""
    method, dataset = supervised.build()
    batch = next(iter(dataset))

    @tf.function
    def bare_step():
        with tf.GradientTape() as tape:
            density = method.counter(batch["image"], training=True)
            loss = tf.reduce_mean(method.density_loss.call(batch, density))
        variables = method.trainable_variables
        method.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    seconds = medians({"bare": lambda: bare_step().numpy(), "ours": supervised.step_on(method, batch)}, REPEATS)
    print(f"{supervised.TITLE}, median of {REPEATS}")
    for name, value in seconds.items():
        print(f"{name:<6}{value:>9.4f} s a step")
    finish(seconds["ours"] / seconds["bare"], 1.05, largest=True)


if __name__ == "__main__":
    main()
