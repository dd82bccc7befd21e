import os

import pytest

from tfcount.records.files import read_json, replacing, write_file


def test_files_are_complete_or_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a", tmp_path / "b") as temporary:
        temporary.touch()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Expecting property name"),
        (b"", "Expecting value"),
        (b"\xff{}", "it is not encoded as UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "4300 digits"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path, content, message):
    path = tmp_path / "notes.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"notes.json is damaged \(.*{message}.*\). Write it again."):
        read_json(str(path), "Write it again.")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_regular_file_is_not_read(tmp_path, kind):
    path = tmp_path / "notes.json"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    with pytest.raises(ValueError, match=r"notes.json is not a regular file"):
        read_json(str(path), "Write it again.")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"notes.json"):
        read_json(str(tmp_path / "notes.json"), "Write it again.")


def test_a_temporary_file_of_before_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.writing").symlink_to(victim)
    write_file(str(tmp_path / "a"), "new")
    assert (tmp_path / "a").read_text() == "new" and victim.read_text() == "precious"
