"""Somebody who knows the counts, asked until nothing is left to ask."""

import numpy as np
import pytest

from tfcount.labeling import simulation


def test_simulation_needs_counts():
    with pytest.raises(ValueError, match="--simulate needs the counts of all images"):
        simulation.simulate(np.array([1.0, np.nan, 5.0]), 10, 2.0, 0)
    with pytest.raises(ValueError, match="some that differ by more than --ratio"):
        simulation.simulate(np.array([5.0, 5.0]), 10, 2.0, 0)
