"""Images of any size are counted with one graph: no second trace, and no memory that grows with every size."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount import evaluation
from tfcount.inference import CountingModel
from tfcount.models import build_counter
from tfcount.serving import savedmodel

# Bytes by which 25 images may grow a process that has counted 25 others, all of them of sizes of their own.
GROWTH = 32 << 20


@pytest.fixture(scope="module")
def counter():
    keras.utils.set_random_seed(0)
    return build_counter("compact")


@pytest.fixture
def images(rng):
    sizes = [(40 + 3 * index, 200 - 2 * index) for index in range(50)]
    return [rng.integers(0, 256, (1, *size, 3), dtype=np.uint8) for size in sizes]


def resident():
    with open("/proc/self/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grows_by(count, images):
    """Returns by how many bytes the second half of the images grows the process."""
    for image in images[:25]:
        count(image)
    before = resident()
    for image in images[25:]:
        count(image)
    return resident() - before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux to tell the memory of a process")
class TestFiftySizes:
    def test_evaluate(self, counter, images, monkeypatch):
        traces = []
        call = counter.call
        monkeypatch.setattr(counter, "call", lambda *args, **kwargs: traces.append(1) or call(*args, **kwargs))
        model = CountingModel.of_counter(counter)

        def count(image):
            example = {
                "id": tf.constant("image"),
                "image": tf.constant(image[0]),
                "points": tf.zeros((0, 2)),
                "boxes": tf.zeros((0, 4)),
                "labels": tf.constant("points"),
                "count": tf.constant(0.0),
            }
            assert evaluation.evaluate(model, [example])[0].predicted > 0

        assert grows_by(count, images) < GROWTH
        assert len(traces) == 1

    def test_savedmodel(self, counter, images, tmp_path):
        folder = savedmodel.export(counter, str(tmp_path / "savedmodel"))
        loaded = savedmodel.load(folder)
        # What was saved is a graph: all that could be traced again is the function around it.
        assert grows_by(lambda image: loaded.count(image[0]), images) < GROWTH
        model = tf.saved_model.load(folder)
        for image in images[:3]:
            model.density(tf.constant(image))
        encoded = [tf.io.encode_png(image[0]) for image in images]
        default = model.signatures["serving_default"]
        counts = default(image_bytes=tf.stack(encoded))["count"]
        np.testing.assert_allclose(counts, [loaded.count(image[0]) for image in images], rtol=1e-3)
        assert len(model.density.concrete_functions) == 1
