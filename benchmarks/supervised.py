"""A counter that is trained with `supervised`, as the benchmarks of training need it."""

import dataclasses

from measuring import records
import tensorflow as tf

from tfcount import experiment
from tfcount.config import EncoderConfig, ExperimentConfig
from tfcount.records.folder import Records
from tfcount.data.streams import DensityConfig, TrainingData
from tfcount.methods import METHODS
from tfcount.models import build_counter

PRECISION = "mixed_bfloat16"
CONFIG = ExperimentConfig(encoder=EncoderConfig(weights="none"))
TITLE = f"{CONFIG.counter}, {PRECISION}, batches of {CONFIG.train.batch_size} crops of {CONFIG.data.crop} pixels"


def build(trainable: bool = True, density_loss: str = CONFIG.density.loss):
    """Returns the method, compiled as `experiment.train` does it, and its stream of batches."""
    config = dataclasses.replace(CONFIG, density=DensityConfig(density_loss), loss_options=None)
    with experiment.precision(PRECISION):
        counter = build_counter(CONFIG.counter, **experiment.counter_options(CONFIG))
        counter.encoder.trainable = trainable
        method = METHODS[CONFIG.method].build(CONFIG.options, counter, config.density_loss)
    optimizer = experiment.build_optimizer(CONFIG.train)
    optimizer.build(method.trainable_variables)
    method.compile(optimizer=optimizer, jit_compile=False)
    method.make_train_function()
    training = Records.open(records(), "train")
    data = TrainingData(training, CONFIG.data, CONFIG.density, counter.stride, CONFIG.train.batch_size, CONFIG.seed)
    return method, METHODS[CONFIG.method].train_dataset(CONFIG.options, data)


def step_on(method, batch):
    """Returns a function that takes a training step on always the same batch."""
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: method.train_function(batches)["loss"].numpy()
