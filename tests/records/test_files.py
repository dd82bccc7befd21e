import os

import pytest

from tfcount.records.files import replacing


def test_files_are_complete_or_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a", tmp_path / "b") as temporary:
        temporary.touch()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
