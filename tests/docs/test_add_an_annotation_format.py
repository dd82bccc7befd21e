"""The page on annotation formats, followed to the letter in a copy of the packages."""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tfcount.records.folder import read_index, read_manifest
from tfrecords_tools import show

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "how_to" / "add_an_annotation_format.md"
BLOCK = re.compile(r"^```\{code-block\} (\w+)\n(?::caption: (\S+)\n)?\n?(.*?)^```$", re.DOTALL | re.MULTILINE)


def apply(difference, path):
    """Changes a file as a block says: lines that begin with a space stand there, those with a plus are new."""
    lines = difference.splitlines()
    assert {line[0] for line in lines} == {" ", "+"}
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] == " ")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} does not hold what the page shows: {before}"
    path.write_text(text.replace(before, "".join(f"{line[1:]}\n" for line in lines)))


def run(command, folder):
    words = shlex.split(command)
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def copy(tmp_path):
    for package in ("tfcount", "tfrecords_tools"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_page(copy):
    said, printed = [], []
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("```{code-block}")
    for language, path, content in blocks:
        if language == "python":
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_text(content)
        elif language == "diff":
            apply(content, copy / path)
        elif language == "bash":
            printed += [run(command, copy) for command in content.splitlines()]
        else:
            said.append(content)
    # The page shows what the last command prints.
    assert said == printed[-1:]
    assert re.search(r"^6 passed", printed[1], re.MULTILINE)

    folder = str(copy / "data" / "crossing")
    assert read_manifest(folder)["dataset"] == "tsv"
    assert {row.id: row.points for row in read_index(folder, "train")} == {"noon.png": 2, "night.png": 0}
    assert show.read_record(folder, "train", "noon.png")["points"].tolist() == [[10.5, 20], [64, 30]]
    assert list(show.check(folder)) == [None, None]
