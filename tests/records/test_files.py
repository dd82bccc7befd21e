import os
import threading

import pytest

from tests.killing import killed_everywhere
from tfcount.records import files, lock
from tfcount.records.files import create_file, read_json, replacing, write_file


@pytest.fixture(autouse=True)
def first_look():
    """Looks at folders as a process does that has just begun."""
    files.remove_abandoned.cache_clear()


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


def test_two_that_write_one_file_at_once(tmp_path):
    """It is whole, and that of one of them."""
    path, failures = tmp_path / "results" / "evaluation.json", []
    texts = [letter * 100_000 for letter in "abcd"]

    def write(text):
        try:
            for _ in range(20):
                write_file(str(path), text)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_text() in texts
    assert not failures and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("write", [write_file, create_file])
def test_killed_while_it_writes(tmp_path, write):
    """The next process removes what is left, and only that."""
    path, foreign = tmp_path / "a.json", tmp_path / "a.json.writing"
    foreign.write_text("mine")
    kills = 0
    for _ in killed_everywhere(lambda: write(str(path), "new")):
        kills += 1
        assert not path.exists() or path.read_text() == "new"
        path.unlink(missing_ok=True)
        files.remove_abandoned.cache_clear()
        write(str(path), "again")
        assert sorted(os.listdir(tmp_path)) == ["a.json", "a.json.writing"]
        assert path.read_text() == "again" and foreign.read_text() == "mine"
        path.unlink()
        files.remove_abandoned.cache_clear()
    assert kills >= 1


def test_what_another_process_is_writing_is_no_leftover(tmp_path):
    temporary = tmp_path / f"tfcount-{'0' * 16}.writing"
    held = lock.take(str(temporary), os.O_CREAT)
    write_file(str(tmp_path / "a"), "text")
    assert temporary.exists()
    os.close(held)
    files.remove_abandoned.cache_clear()
    write_file(str(tmp_path / "a"), "text")
    assert os.listdir(tmp_path) == ["a"]


def test_names_as_long_as_they_can_be(tmp_path):
    write_file(str(tmp_path / ("a" * 255)), "text")


class TestCreated:
    def test_never_in_place_of_another(self, tmp_path):
        path = tmp_path / "questions.csv"
        path.write_text("answers")
        with pytest.raises(FileExistsError, match=r"questions\.csv"):
            create_file(str(path), "questions")
        assert path.read_text() == "answers" and os.listdir(tmp_path) == [path.name]

    def test_where_there_are_no_hard_links(self, tmp_path, monkeypatch):
        def link(source, target):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
        path = tmp_path / "questions.csv"
        create_file(str(path), "questions")
        with pytest.raises(FileExistsError):
            create_file(str(path), "more")
        assert path.read_text() == "questions" and os.listdir(tmp_path) == [path.name]
