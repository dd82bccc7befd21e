"""Which pairs to label next: the command, on records of rendered crowds."""

import csv
import shutil

import numpy as np
import pytest
from absl import flags

from tfcount import select_labels
from tfcount.data import schema
from tfcount.data.records import Records


@pytest.fixture
def folder(crowds, tmp_path):
    return str(shutil.copytree(crowds, tmp_path / "records"))


@pytest.fixture
def call(tmp_path, capsys):
    """Runs the command in this process, and returns what it prints."""

    def run(*arguments):
        values = flags.FlagValues()
        select_labels.define_flags(values)
        select_labels.main(values(["select_labels", *arguments]), values)
        return capsys.readouterr().out

    return run


def answer(path, counts):
    """Fills in a file of questions as somebody does who knows the counts."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, ["image_a", "image_b", "relation"])
        table.writeheader()
        for row in rows:
            one, other = counts[row["image_a"]], counts[row["image_b"]]
            relation = "greater" if one > 2 * other else "less" if other > 2 * one else "close"
            table.writerow({**row, "relation": relation})


def test_questions_answers_and_questions_again(folder, call, tmp_path):
    counts = {row.id: row.count for row in Records.open(folder, "train").rows}
    path = str(tmp_path / "questions.csv")
    printed = call(f"--data_dir={folder}", f"--output={path}", "--number=6")
    assert "0 labels of pairs, 0 pairs known" in printed and f"Written: {path} (6 pairs)" in printed
    asked = 6
    while True:
        answer(path, counts)
        printed = call(f"--data_dir={folder}", f"--answers={path}", f"--output={path}", "--number=6")
        if "nothing left to ask" in printed:
            break
        with open(path) as file:
            asked += len(file.readlines()) - 1
    labels = schema.read_pairs(folder, "train")
    assert len(labels) == asked
    assert all(pair.source == "human" for pair in labels)
    apart = sum(one > 2 * other for one in counts.values() for other in counts.values())
    assert f"{apart} pairs known with what follows from them" in printed


def test_answers_that_contradict_each_other_are_not_kept(folder, call, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("image_a,image_b,relation\ntrain_00001,train_00002,greater\ntrain_00001,train_00002,less\n")
    with pytest.raises(ValueError, match="Labels contradict each other: 'train_00002' shows more than 'train_00001'"):
        call(f"--data_dir={folder}", f"--answers={path}")
    assert schema.read_pairs(folder, "train") == []


def test_equal_answers_are_kept_once(folder, call, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("image_a,image_b,relation\n" + 2 * "train_00001,train_00002,greater\n")
    for new in (1, 0):
        printed = call(f"--data_dir={folder}", f"--answers={path}", f"--output={tmp_path}/{new}.csv")
        assert f"Kept {new} new labels of pairs" in printed and "1 labels of pairs, 1 pairs known" in printed


def test_answers_that_were_not_read_are_not_written_over(folder, call, tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text("image_a,image_b,relation\ntrain_00001,train_00002,greater\n")
    with pytest.raises(FileExistsError, match="may hold answers: read it with --answers="):
        call(f"--data_dir={folder}", f"--output={path}")
    assert "greater" in path.read_text()


def test_simulated(folder, call):
    lines = call(f"--data_dir={folder}", "--simulate", "--number=3").splitlines()
    assert lines[0].startswith("12 images, ")
    table = np.array([[int(cell.replace(",", "")) for cell in line.split()[1:]] for line in lines[2:]])
    assert table.shape == (7, 2) and np.all(np.diff(table, axis=0) >= 0)
    assert table[-1].max() <= 66
    assert schema.read_pairs(folder, "train") == []


def test_simulation_needs_counts():
    with pytest.raises(ValueError, match="--simulate needs the counts of all images"):
        select_labels.simulate(np.array([1.0, np.nan, 5.0]), 10, 2.0, 0)
    with pytest.raises(ValueError, match="some that differ by more than --ratio"):
        select_labels.simulate(np.array([5.0, 5.0]), 10, 2.0, 0)
