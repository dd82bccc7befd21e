"""Ways to train a counter, one file a paper; each has `Config`, `train_dataset` and `build`."""

from tfcount.methods import supervised

METHODS = {"supervised": supervised}
