"""What tests of runs share."""

import json
import os
import pathlib

from tfcount import runs, training
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.runs import Run


def run_training(config, folder, resume=False):
    """Trains as the command does."""
    return training.train(config, *training.open_records(config), Run(folder), resume)


def small_config(crowds, **train):
    values = {
        "steps": 6,
        "batch_size": 4,
        "warmup_steps": 2,
        "learning_rate": 1e-4,
        "validation_interval": 2,
        "ema": 0.5,
    }
    return ExperimentConfig(
        counter="mcnn",
        data=DataConfig(dir=crowds, crop=64, validation_fraction=0.25),
        train=TrainConfig(**{**values, **train}),
    )


def weights(folder, name=runs.LAST):
    counter, _ = Run(folder).load_counter()
    counter.load_weights(os.path.join(folder, name))
    return counter.get_weights()


def read(folder, name):
    """Returns the content of a JSON file, but for its own SHA-256: written back so, it is one of before."""
    content = json.loads(pathlib.Path(folder, name).read_text())
    content.pop("sha256", None)
    return content
