"""The how-to pages, followed to the letter in a copy of the project.

Blocks of Python with a caption are files, those of `diff` change one, those of `bash` are commands, and those of `text`
show what the last command prints. Nothing else is done.
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tfcount.records.folder import read_index, read_manifest
from tfcount.runs import Run
from tfrecords_tools import show

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGES = ROOT / "docs" / "how_to"
BLOCK = re.compile(r"^```\{code-block\} (\w+)\n(?::caption: (\S+)\n)?\n?(.*?)^```$", re.DOTALL | re.MULTILINE)
# Training to the end would take long.
FEW = "--counter=compact --train_steps=2 --train_batch_size=2 --data_crop=32 --train_validation_interval=2"


@pytest.fixture
def copy(tmp_path):
    for name in ("tfcount", "tfrecords_tools", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def apply(difference, path):
    """Changes a file as a block says: lines with a space or a minus stand there, those with a plus are new."""
    lines = difference.splitlines()
    assert {line[0] for line in lines} <= {" ", "+", "-"} and any(line[0] == "+" for line in lines)
    before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kind) for kind in (" -", " +"))
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} does not hold what the page shows: {before}"
    path.write_text(text.replace(before, after))


def run(command, folder, replaced):
    words = [replaced.get(word, word) for word in shlex.split(command)]
    assert words[0] == "python"
    words = [part for word in words[1:] for part in word.split(" ")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def follow(name, folder, replaced):
    """Does what a page says, with some words of its commands replaced; returns what its commands printed."""
    text, printed = (PAGES / f"{name}.md").read_text(), []
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```{code-block}") and text.count("```") == 2 * len(blocks)
    for language, path, content in blocks:
        if language == "python":
            assert not (folder / path).exists()
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        elif language == "diff":
            apply(content, folder / path)
        elif language == "bash":
            printed += [run(command, folder, replaced) for command in content.splitlines()]
        else:
            assert (language, content) == ("text", printed[-1])
    return printed


@pytest.mark.parametrize("page, name", [("add_a_loss", "l1"), ("add_a_method", "crop_count")])
def test_what_is_added_trains(page, name, copy, crowds):
    assert len(follow(page, copy, {"--data_dir=data/mine": f"--data_dir={crowds}", "--counter=compact": FEW})) == 3
    assert Run(str(copy / "runs" / name)).notes()["steps"] == 2


def test_what_is_added_becomes_records(copy):
    printed = follow("add_an_annotation_format", copy, {})
    assert re.search(r"^6 passed", printed[1], re.MULTILINE)
    folder = str(copy / "data" / "crossing")
    assert read_manifest(folder)["dataset"] == "tsv"
    assert {row.id: row.points for row in read_index(folder, "train")} == {"noon.png": 2, "night.png": 0}
    assert show.read_record(folder, "train", "noon.png")["points"].tolist() == [[10.5, 20], [64, 30]]
    assert list(show.check(folder)) == [None, None]
