import numpy as np
import pytest

from tfcount.progress import RecentMeans


def test_recent_means_are_those_of_the_latest_steps(rng):
    """Of 25 steps, told after 10, 20 and 25: the means of 10, 10 and 5 values."""
    values, means, found = rng.random(25), RecentMeans(), []
    for step in range(1, 26):
        means.add_step({"loss": np.float32(values[:step].mean()), "count": 2.0})
        if step in (10, 20, 25):
            found.append(means.since_last())
    expected = [part.mean() for part in (values[:10], values[10:20], values[20:])]
    assert [one["loss"] for one in found] == pytest.approx(expected, rel=1e-5)
    assert [one["count"] for one in found] == [2] * 3
