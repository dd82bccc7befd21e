"""Ways to train a counter, one file a paper; each has `Config`, `plan` and `build`."""

from tfcount.methods import l2sm, ranking, supervised

METHODS = {
    "l2sm": l2sm,
    "ranking": ranking,
    "supervised": supervised,
}
