import contextlib
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.running import run_training, small_config
from tfcount import distribution, progress

# What a shell starts in the background ignores Ctrl-C, and tests would pass that on to the commands that they stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two logical processors, so that a strategy over several devices can be tested on any machine.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy a session: two would collide."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    monkeypatch.setattr(distribution, "strategy", tf.distribute.get_strategy)


@pytest.fixture(scope="session")
def crowds(tmp_path_factory):
    """Records of a few small rendered crowds."""
    from tfrecords_tools import synthesize

    folder = str(tmp_path_factory.mktemp("records") / "crowds")
    synthesize.synthesize(folder, train_images=12, test_images=4, height=96, width=128, max_people=60)
    return folder


@pytest.fixture(scope="session")
def run(crowds, tmp_path_factory):
    """A run of a few steps on them."""
    folder = str(tmp_path_factory.mktemp("runs") / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "strategy", tf.distribute.get_strategy)
        assert run_training(small_config(crowds), folder) == 0
    return folder


@pytest.fixture
def stopping(monkeypatch):
    """Context that sends a signal to this process after a step of training: `with stopping(step, number)`."""

    @contextlib.contextmanager
    def stopped(step, number):
        whole = progress.Progress.on_train_batch_end

        def on_train_batch_end(self, batch, logs=None):
            whole(self, batch, logs)
            if self.model.steps == step:
                os.kill(os.getpid(), number)

        with monkeypatch.context() as patch:
            patch.setattr(progress.Progress, "on_train_batch_end", on_train_batch_end)
            yield

    return stopped


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data():
    """The folder that holds `data/`, `weights/` and `reference/`."""
    folder = os.environ.get("TFCOUNT_DATA")
    if not folder:
        pytest.skip("needs real data: set TFCOUNT_DATA to the folder that holds data/, weights/ and reference/")
    return folder
