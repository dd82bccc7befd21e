import os

import pytest

from tests.tfrecords_tools.writing.crowds import Crowd, crowds, write


def test_order_is_the_same_for_any_order_of_sources(tmp_path):
    first = write(tmp_path / "a", {"train": crowds(12)})
    second = write(tmp_path / "b", {"train": crowds(12)[::-1]})
    assert first == second


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "no images"),
        ({"train": []}, "no images"),
        ({"train": crowds(1), "test": []}, "'test' has no images"),
        # One letter, and a letter with an accent.
        ({"train": [Crowd("caf\u00e9", 1), Crowd("cafe\u0301", 2)]}, r"'train'.*\['caf\u00e9'\]"),
        ({"train": crowds(2) + crowds(1)}, r"'train'.*\['img 0'\]"),
    ],
)
def test_splits_that_cannot_be_written(tmp_path, splits, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", splits)
    assert not os.listdir(tmp_path)
