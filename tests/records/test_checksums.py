import hashlib
import json
import os
import re
import subprocess

import numpy as np
import pytest

from tfcount.records import checksums

CONTENT = {"b": [1, 2.5, float("inf"), None], "a": {"ä": "x"}, "none": None}


def test_sealed(tmp_path):
    path = str(tmp_path / "a.json")
    checksums.write_sealed(path, CONTENT)
    assert checksums.read_sealed(path, "Mend it.") == CONTENT
    # In another order, with other spaces, it is the same.
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert checksums.read_sealed(path, "Mend it.") == CONTENT
    # One of before has none.
    (tmp_path / "a.json").write_text(json.dumps(CONTENT))
    assert checksums.read_sealed(path, "Mend it.") == CONTENT


def test_every_flipped_bit_is_seen_or_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    checksums.write_sealed(str(path), CONTENT)
    content, seen = path.read_bytes(), 0
    for place in range(0, 8 * len(content), 7):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = checksums.read_sealed(str(path), "Mend it.")
        except ValueError as error:
            assert str(path) in str(error) and str(error).endswith(" Mend it.")
            seen += 1
        else:
            # What is left is whole where it was the name of the checksum that was hit.
            assert {key: found[key] for key in CONTENT} == CONTENT
    assert seen > len(content)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"3", b"\xff", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"]
)
def test_what_is_no_sealed_document(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.json is damaged \(.*\). Mend it.$"):
        checksums.read_sealed(str(tmp_path / "a.json"), "Mend it.")


def test_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("a.json", "pipe", "."):
        with pytest.raises(FileNotFoundError, match="is missing: mend it."):
            checksums.read_sealed(str(tmp_path / name), "Mend it.")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "model.pb").write_bytes(b"model")
    (tmp_path / "inner" / "with space.data").write_bytes(bytes(range(256)))
    checksums.write_sums(str(tmp_path))
    return tmp_path


def check(folder):
    checksums.check_sums(str(folder), "model.pb")


def test_sums_of_a_folder(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert lines[1] == f"{hashlib.sha256(b'model').hexdigest()}  model.pb" and len(lines) == 2
    check(folder)
    # Others may put files beside them.
    (folder / "notes.txt").write_text("x")
    check(folder)
    assert subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=False).returncode == 0
    os.remove(folder / "SHA256SUMS")
    check(folder)


def test_every_damage_of_a_folder_is_seen(folder):
    rng = np.random.default_rng(0)
    for path in (folder / "model.pb", folder / "inner" / "with space.data", folder / "SHA256SUMS"):
        content = path.read_bytes()
        damages = [b"", content[:-1], content[: len(content) // 2], content + b"x"]
        for place in rng.integers(0, len(content), 20):
            damages.append(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        for changed in damages:
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=re.escape(str(folder))):
                check(folder)
        path.write_bytes(content)
    check(folder)


def test_sums_lead_nowhere_else(folder):
    for name in ("../secret", "/etc/passwd", "inner/../model.pb"):
        (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'model').hexdigest()}  model.pb\n{'0' * 64}  {name}\n")
        with pytest.raises(ValueError, match="is missing"):
            check(folder)
    os.remove(folder / "SHA256SUMS")
    (folder / "SHA256SUMS").mkdir()
    with pytest.raises(ValueError, match="SHA256SUMS cannot be read"):
        check(folder)
