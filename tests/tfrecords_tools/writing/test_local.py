import os

import pytest

from tests.tfrecords_tools.writing.crowds import Crowd, crowds, write
from tfrecords_tools.writing import local


def test_trouble_in_a_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "FEWEST_IMAGES_FOR_WORKERS", 1)
    sources = [*crowds(40), Crowd("bad", 99, trouble="damaged")]
    with pytest.raises(ValueError, match=r"bad\.jpg is damaged"):
        write(tmp_path / "out", {"train": sources})
    assert os.listdir(tmp_path) == ["out.partial"]
    assert not any(name.endswith(".writing") for name in os.listdir(tmp_path / "out.partial"))
