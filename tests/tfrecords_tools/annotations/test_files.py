import os
import unicodedata

import numpy as np
import pytest

from tests.tfrecords_tools.annotations.image_files import save_image
from tfrecords_tools.annotations import files


def test_a_file_is_regular_and_inside(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "a.txt").write_text("a")
    (root / "b.txt").symlink_to("a.txt")
    assert files.check_file(str(root / "b.txt"), str(root)) == str(root / "b.txt")
    # The folder itself may be a link.
    (tmp_path / "link").symlink_to(root)
    files.check_file(str(tmp_path / "link" / "b.txt"), str(tmp_path / "link"))

    (tmp_path / "secret.txt").write_text("secret")
    (root / "c.txt").symlink_to("../secret.txt")
    # As a text, the name of this folder begins with that of the data set.
    (tmp_path / "data2").mkdir()
    (tmp_path / "data2" / "a.txt").write_text("a")
    (root / "d.txt").symlink_to("../data2/a.txt")
    (root / "e.txt").symlink_to("nowhere")
    (root / "f.txt").symlink_to("/dev/zero")
    (root / "g.txt").mkdir()
    os.mkfifo(root / "h.txt")
    for name, message in {
        "c.txt": r"c\.txt is a link out of .*data, to .*secret\.txt: put the file itself there",
        "d.txt": r"d\.txt is a link out of",
        "e.txt": r"e\.txt is missing, or a link that leads nowhere. Copy it again",
        "f.txt": r"f\.txt must be a regular file: replace or remove it",
        "g.txt": r"g\.txt must be a regular file",
        "h.txt": r"h\.txt must be a regular file",
        "i.txt": r"i\.txt is missing",
        os.fsdecode(b"\xff.txt"): r"udcff\.txt' is not a name in UTF-8, which records need: rename it",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            files.check_file(str(root / name), str(root))


def test_images_whose_names_read_the_same(tmp_path):
    for form in ("NFC", "NFD"):
        save_image(tmp_path / unicodedata.normalize(form, "é.png"))
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("this file system holds one form of a name")
    with pytest.raises(ValueError, match=r"holds 'e\\u0301.png' and '\\xe9.png', which read the same: rename or"):
        files.list_images(str(tmp_path), str(tmp_path))


def test_read_bytes_never_waits(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe must be a regular file"):
        files.read_bytes(str(tmp_path / "pipe"))
    with pytest.raises(ValueError, match="/dev/zero must be a regular file"):
        files.read_bytes("/dev/zero")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        files.read_bytes(str(tmp_path))
    (tmp_path / "large").write_bytes(b"12345")
    assert files.read_bytes(str(tmp_path / "large")) == b"12345"
    monkeypatch.setattr(files, "MOST_BYTES", 4)
    with pytest.raises(ValueError, match=r"large is larger than 0 megabytes: it is no file of annotations. Copy"):
        files.read_bytes(str(tmp_path / "large"))


def test_read_lines(tmp_path):
    # The characters that `str.splitlines` also takes for ends of lines are none.
    (tmp_path / "a").write_bytes("\ufeffa\x0bb\r\n\n \nc\u2028d\re".encode())
    assert list(files.read_lines(str(tmp_path / "a"))) == [(1, "a\x0bb"), (4, "c\u2028d"), (5, "e")]
    (tmp_path / "a").write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match="a is not encoded as UTF-8 .*: save it as UTF-8"):
        list(files.read_lines(str(tmp_path / "a")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' stands there twice: join or remove one"),
        ('[{"b": {"é": 1, "é": 2}}]', r"the key '\\xe9' stands there twice"),
        ("[" * 100000, "recursion"),
        ('{"a":' * 100000, "recursion"),
        ("[1] [2]", "Extra data"),
    ],
)
def test_json_that_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json is not a JSON file \(.*{message}.* Do this\."):
        files.read_json(str(tmp_path / "a.json"), "Do this.")


def test_json_numbers_are_floats(tmp_path):
    (tmp_path / "a.json").write_text(f"[[1, 2.5], [{'9' * 5000}, -1e999]]")
    array = files.to_numbers(files.read_json(str(tmp_path / "a.json"), ""), 2)
    np.testing.assert_array_equal(array, [[1, 2.5], [np.inf, -np.inf]])
    assert files.to_numbers([], 4).shape == (0, 4)


@pytest.mark.parametrize(
    "value", [None, 1.0, {"a": 1.0}, [1.0, 2.0], [[1.0]], [[1.0, True]], [[1.0, None]], [["1", "2"]]]
)
def test_what_is_no_list_of_numbers(value):
    with pytest.raises(ValueError, match="must be a list"):
        files.to_numbers(value, 2)


def test_numbers_of_texts():
    assert files.to_number(" 1e3") == 1000
    for text in ("1_000", "", "1,5", "0x10"):
        with pytest.raises(ValueError):
            files.to_number(text)
