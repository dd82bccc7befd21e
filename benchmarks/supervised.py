"""A counter that is trained with `supervised`, as the benchmarks of training need it."""

import dataclasses

from measuring import records
import tensorflow as tf

from tfcount import assembly
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.records.folder import Records
from tfcount.data.config import DensityConfig
from tfcount.data.streams.training_data import TrainingData
from tfcount.methods import METHODS

PRECISION = "mixed_bfloat16"
CONFIG = ExperimentConfig(encoder=EncoderConfig(weights="none"), train=TrainConfig(precision=PRECISION))
TITLE = f"{CONFIG.counter}, {PRECISION}, batches of {CONFIG.train.batch_size} crops of {CONFIG.data.crop} pixels"


def build(trainable: bool = True, density_loss: str = CONFIG.density.loss):
    """Returns the method, as training assembles it, and its stream of batches."""
    encoder = dataclasses.replace(CONFIG.encoder, trainable=trainable)
    config = dataclasses.replace(CONFIG, encoder=encoder, density=DensityConfig(density_loss), loss_options=None)
    method = assembly.assemble(config)
    method.make_train_function()
    training, stride = Records.open(records(), "train"), method.counter.stride
    data = TrainingData(training, CONFIG.data, CONFIG.density, stride, CONFIG.train.batch_size, CONFIG.seed)
    return method, METHODS[CONFIG.method].plan(CONFIG.options, training, CONFIG.seed).stream(data)


def step_on(method, batch):
    """Returns a function that takes a training step on always the same batch."""
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: method.train_function(batches)["loss"].numpy()
