import os

import pytest

from tests.killing import killed_everywhere
from tfcount.records import temporary


def fill(folder):
    temporary.make(str(folder))
    (folder / "model").mkdir()
    for path in (folder / "file", folder / "model" / "file"):
        path.touch()


def test_made_and_removed(tmp_path):
    folder = tmp_path / "a" / "work"
    fill(folder)
    temporary.make(str(folder))
    assert (folder / "file").exists()
    temporary.remove(str(folder))
    temporary.remove(str(folder))
    assert os.listdir(tmp_path / "a") == []


@pytest.mark.parametrize("inside", ["notes.txt", "model", None])
def test_what_it_did_not_make_is_left_alone(tmp_path, inside):
    path = tmp_path / "work" / inside if inside else tmp_path / "work"
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"work is in the way: .* Move it away"):
        temporary.make(str(tmp_path / "work"))
    temporary.remove(str(tmp_path / "work"))
    assert path.read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path):
    temporary.make(str(tmp_path))
    assert temporary.is_temporary(str(tmp_path))


def test_killed_while_it_is_made_or_removed(tmp_path):
    """What is left is known again."""
    folder = tmp_path / "work"

    def make_and_remove():
        fill(folder)
        temporary.remove(str(folder))

    kills = 0
    for _ in killed_everywhere(make_and_remove):
        kills += 1
        temporary.make(str(folder))
        temporary.remove(str(folder))
        assert os.listdir(tmp_path) == []
    assert kills > 5
