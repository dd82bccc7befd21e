import itertools
import os

import numpy as np
import pytest
import tensorflow as tf

from tfcount.data.feature_cache import cache_features
from tfcount.records import temporary


def batches(count):
    return tf.data.Dataset.range(count).map(
        lambda index: {
            "image": tf.fill([2, 8, 8, 3], tf.cast(index, tf.uint8)),
            "count": tf.fill([2], tf.cast(index, tf.float32)),
        }
    )


def encode(images):
    means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2], keepdims=True)
    return means[..., :1] + 0.5, 1e6 * means


def cache(folder, start=0, seed=7):
    return cache_features(batches(9), 5, encode, str(folder), seed, start)


def test_each_round_has_every_batch_with_its_features(tmp_path):
    steps = list(itertools.islice(cache(tmp_path / "features"), 15))
    for number in range(3):
        counts = [step["count"].numpy()[0] for step in steps[5 * number : 5 * number + 5]]
        assert sorted(counts) == [0, 1, 2, 3, 4]
    assert [step["count"].numpy()[0] for step in steps[:5]] != [step["count"].numpy()[0] for step in steps[5:10]]
    for step in steps:
        small, large = step["image"]
        assert small.dtype == large.dtype == tf.float16
        np.testing.assert_array_equal(small[:, 0, 0, 0], step["count"] + 0.5)
    assert sorted(os.listdir(tmp_path / "features")) == ["0.npy", "1.npy", temporary.MARKER]


def test_values_beyond_float16_are_cut_to_its_largest(tmp_path):
    for step in itertools.islice(cache(tmp_path), 5):
        np.testing.assert_array_equal(step["image"][1][0, 0, 0, 0], min(1e6 * step["count"][0], 65504))


def test_order_goes_on_at_any_position(tmp_path):
    def counts(start, number):
        return [step["count"].numpy()[0] for step in itertools.islice(cache(tmp_path, start), number)]

    assert counts(0, 12)[7:] == counts(7, 5)


def test_a_folder_of_the_user_is_left_alone(tmp_path):
    (tmp_path / "0.npy").write_text("mine")
    with pytest.raises(FileExistsError, match="is in the way"):
        cache_features(tf.data.Dataset.range(1), 1, lambda image: (image,), str(tmp_path), 0, 0)
    assert (tmp_path / "0.npy").read_text() == "mine"
