"""Counters: networks that map images to density maps."""

import inspect
from collections.abc import Callable

from tfcount.models.compact import compact
from tfcount.models.counter import Counter
from tfcount.models.csrnet import csrnet
from tfcount.models.l2sm import l2sm
from tfcount.models.mcnn import mcnn
from tfcount.models.resnet50 import resnet50
from tfcount.models.spn import spn, vgg16
from tfcount.models.vgg19 import vgg19

COUNTERS: dict[str, Callable[..., Counter]] = {
    "compact": compact,
    "csrnet": csrnet,
    "l2sm": l2sm,
    "mcnn": mcnn,
    "resnet50": resnet50,
    "spn": spn,
    "vgg16": vgg16,
    "vgg19": vgg19,
}


def build_counter(name: str, **options) -> Counter:
    """Builds a counter by name.

    Args:
      name: a key of `COUNTERS`.
      **options: arguments of that counter's function, such as `encoder_weights`.

    Raises:
      ValueError: if there is no such counter, or it has no such option.

    Example:
      >>> counter = build_counter("resnet50", encoder_weights="none")
      >>> counter(np.zeros((1, 100, 60, 3), "uint8")).shape
      TensorShape([1, 13, 8, 1])
    """
    if name not in COUNTERS:
        raise ValueError(f"`name` must be one of {sorted(COUNTERS)}. Received: {name!r}.")
    accepted = inspect.signature(COUNTERS[name]).parameters
    for option in options:
        if option not in accepted:
            raise ValueError(f"Counter {name!r} has no option {option!r}; it has {sorted(accepted)}.")
    return COUNTERS[name](**options)
