"""Writes what tensorflow-addons gives for each thing that tfcount would have taken from it.

It cannot be imported beside TensorFlow 2.16 or later, so this runs in an environment of its own:

python3.11 -m venv /tmp/addons
/tmp/addons/bin/pip install tensorflow==2.15.1 tensorflow-addons==0.23.0
/tmp/addons/bin/python tests/parity/write_reference.py
"""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

OUTPUT = pathlib.Path(__file__).with_name("tensorflow_addons.npz")
STEPS = 5


def train(optimizer, start):
    """Returns a variable after some steps down the gradient of half the sum of its squared cosine."""
    variable = tf.Variable(start)
    for _ in range(STEPS):
        optimizer.apply_gradients([(-tf.sin(variable) * tf.cos(variable), variable)])
    return variable.numpy()


def main():
    """Writes the inputs and what came of them."""
    generator = np.random.default_rng(0)
    images = generator.random((2, 12, 8, 3), dtype=np.float32)
    weights = generator.standard_normal((4, 3)).astype(np.float32)
    values = {"images": images, "weights": weights, "steps": STEPS}
    for rows, columns in ((1, 1), (4, 4), (3, 2)):
        pooled = tfa.layers.AdaptiveAveragePooling2D((rows, columns))(images)
        values[f"average_pool_{rows}_{columns}"] = pooled.numpy()
    for size, sigma in ((3, 1.0), (5, 1.5)):
        blurred = tfa.image.gaussian_filter2d(images, (size, size), sigma, padding="CONSTANT")
        values[f"gaussian_{size}_{sigma}"] = blurred.numpy()
    # The decay of tensorflow-addons is the share taken away in a step; Keras multiplies it by the learning rate.
    values["sgdw"] = train(tfa.optimizers.SGDW(weight_decay=0.01, learning_rate=0.1, momentum=0.9), weights)
    values["adamw"] = train(tfa.optimizers.AdamW(weight_decay=0.01, learning_rate=0.1), weights)
    np.savez(OUTPUT, **values)
    print(f"Written: {OUTPUT} ({', '.join(sorted(values))})")


if __name__ == "__main__":
    main()
