"""What the owner of a graphics card runs: `make test-gpu`."""

import json

import pytest
import tensorflow as tf

from tests.running import run_training
from tfcount import distribution
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.methods import METHODS
from tfcount.models import COUNTERS, build_counter

# As it is before the tests put one device in its place.
all_devices = distribution.strategy

pytestmark = pytest.mark.gpu


@pytest.fixture
def cards(monkeypatch):
    """Trains on all cards; returns how many there are."""
    cards = tf.config.list_physical_devices("GPU")
    if not cards:
        pytest.skip("needs a graphics card that TensorFlow sees")
    monkeypatch.setattr(distribution, "strategy", all_devices)
    return len(cards)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_one_step_of_each_method_on_all_cards(cards, crowds, tmp_path, method, precision):
    folder = str(tmp_path / "run")
    config = ExperimentConfig(
        method=method,
        # Methods that train one counter alone bear its name.
        counter=method if method in COUNTERS else "resnet50",
        data=DataConfig(dir=crowds, crop=64, validation_fraction=0.25),
        encoder=EncoderConfig(name="resnet50" if method in COUNTERS else "vgg16", weights="none"),
        train=TrainConfig(steps=1, batch_size=2 * cards, precision=precision, warmup_steps=0),
    )
    assert run_training(config, folder) == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["hardware"]["replicas"] == cards and run["steps"] == 1
    assert run_training(config, folder, resume=True) == 0


def test_a_card_counts_as_the_processor_does(cards, rng):
    counter = build_counter("resnet50", encoder_weights="none")
    images = tf.constant(rng.integers(0, 256, (1, 96, 128, 3), dtype="uint8"))
    with tf.device("GPU:0"):
        ours = counter(images)
    with tf.device("CPU:0"):
        expected = counter(images)
    tf.debugging.assert_near(ours, expected, rtol=1e-2, atol=1e-4)
