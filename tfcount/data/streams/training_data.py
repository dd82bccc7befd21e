"""What streams of batches are made of."""

import dataclasses

from tfcount.data.config import DataConfig, DensityConfig
from tfcount.records.folder import Records


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a method may make its training stream of.

    Attributes:
      records: the training images, without those held out.
      data: augmentation.
      density: targets.
      stride: of the counter, pixels.
      batch_size: images a step, over all replicas.
      seed: of order and augmentation.
      start_step: steps already done; streams go on from there.
      replicas: devices that share a batch.
    """

    records: Records
    data: DataConfig
    density: DensityConfig
    stride: int
    batch_size: int
    seed: int
    start_step: int = 0
    replicas: int = 1
