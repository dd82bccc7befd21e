"""Which pairs to label next: the command, on records of rendered crowds."""

import csv
import itertools
import shutil

import numpy as np
import pytest
from absl import flags

from tests.records.tiny import without_counts
from tfcount import select_labels
from tfcount.records.folder import Records
from tfcount.records.labels import PairLabel, read_labels, write_labels


@pytest.fixture
def counted(crowds, tmp_path):
    """Records that know all counts."""
    return str(shutil.copytree(crowds, tmp_path / "counted"))


@pytest.fixture
def folder(crowds, tmp_path):
    """The same images, none of them counted."""
    return without_counts(str(shutil.copytree(crowds, tmp_path / "records")))


@pytest.fixture
def counts(crowds):
    return {row.id: row.count for row in Records.open(crowds, "train").rows}


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


def test_questions_answers_and_questions_again(folder, counts, call, tmp_path):
    path = str(tmp_path / "questions.csv")
    printed = call(f"--data_dir={folder}", f"--output={path}", "--number=6")
    assert "Pairs answered: 0 (in 0 one" in printed and "what follows from them: 0." in printed
    assert f"Written: {path} (6 pairs)" in printed and "not asked" not in printed
    asked = 6
    while True:
        answer(path, counts)
        following = str(tmp_path / f"questions_{asked}.csv")
        printed = call(f"--data_dir={folder}", f"--answers={path}", f"--output={following}", "--number=6")
        if "Nothing is left to ask" in printed:
            break
        path = following
        with open(path) as file:
            asked += len(file.readlines()) - 1
    labels = read_labels(folder, "train", PairLabel)
    assert len(labels) == asked
    assert all(pair.source == "human" and pair.time.endswith("Z") for pair in labels)
    apart = sum(one > 2 * other for one in counts.values() for other in counts.values())
    close = sum(pair.relation == "close" for pair in labels)
    assert f"Pairs answered: {asked} (in {asked - close} one image shows more, in {close} both show" in printed
    assert f"Pairs in a known order, by these answers and by what follows from them: {apart}." in printed


class TestKnownCounts:
    """What records know is not asked: the counts are the answers."""

    def test_questions_have_an_image_without_a_count(self, counted, counts, call, tmp_path):
        known = sorted(counts)[:7]
        folder, path = without_counts(counted, known), tmp_path / "questions.csv"
        printed = call(f"--data_dir={folder}", f"--output={path}", "--number=1000")
        assert "Pairs of the 7 images whose counts the records know are not asked." in printed
        with open(path, newline="") as file:
            asked = [{row["image_a"], row["image_b"]} for row in csv.DictReader(file)]
        assert not any(pair <= set(known) for pair in asked)
        assert len(asked) == 12 * 11 / 2 - 7 * 6 / 2
        # First of all come images of which nothing is known.
        assert not any(pair & set(known) for pair in asked[:2])

    def test_what_follows_from_counts_is_not_asked(self, counted, counts, call, tmp_path):
        """An image that shows more than one with a count also shows more than those with less than half of it."""
        fewest, *_, most = sorted(counts, key=lambda name: counts[name])
        assert counts[most] > 2 * counts[fewest]
        folder, path = without_counts(counted, (fewest, most)), tmp_path / "questions.csv"
        other = next(name for name in counts if name not in (fewest, most))
        write_labels(folder, "train", PairLabel, [PairLabel(other, most, "greater", "human")])
        call(f"--data_dir={folder}", f"--output={path}", "--number=1000")
        with open(path, newline="") as file:
            asked = [{row["image_a"], row["image_b"]} for row in csv.DictReader(file)]
        assert {other, fewest} not in asked and len(asked) == 66 - 3

    def test_counts_take_the_place_of_answers_and_contradictions_are_told(self, counted, counts, call, tmp_path):
        fewest, *_, most = sorted(counts, key=lambda name: counts[name])
        folder = without_counts(counted, (fewest, most))
        said = [PairLabel(fewest, most, "greater", "human")]
        write_labels(folder, "train", PairLabel, said)
        printed = call(f"--data_dir={folder}", f"--output={tmp_path}/one.csv")
        assert f"Warning: {fewest!r} is said to show more than {most!r}" in printed
        other = next(name for name in counts if name not in (fewest, most))
        said = [PairLabel(fewest, other, "greater", "human"), PairLabel(other, most, "greater", "human")]
        write_labels(folder, "train", PairLabel, said)
        with pytest.raises(ValueError, match="Labels contradict each other: .* counts of both images, these have answ"):
            call(f"--data_dir={folder}", f"--output={tmp_path}/two.csv")

    @pytest.mark.parametrize("answers", [False, True])
    def test_nothing_to_ask(self, counted, counts, call, tmp_path, answers):
        """Answers are kept all the same."""
        path = tmp_path / "answers.csv"
        path.write_text("image_a,image_b,relation\ntrain_00001,train_00002,close\n")
        with pytest.raises(ValueError, match="counts of all 12 images of split 'train': there is nothing to ask. Tra"):
            call(f"--data_dir={counted}", f"--output={tmp_path}/no.csv", *[f"--answers={path}"] * answers)
        assert not (tmp_path / "no.csv").exists() and len(read_labels(counted, "train", PairLabel)) == answers


def test_answers_that_contradict_each_other_are_not_kept(folder, call, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("image_a,image_b,relation\ntrain_00001,train_00002,greater\ntrain_00001,train_00002,less\n")
    with pytest.raises(ValueError, match="Labels contradict each other: 'train_00002' shows more than 'train_00001'"):
        call(f"--data_dir={folder}", f"--answers={path}", f"--output={tmp_path}/next.csv")
    assert read_labels(folder, "train", PairLabel) == []


def test_equal_answers_are_kept_once(folder, call, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("image_a,image_b,relation\n" + 2 * "train_00001,train_00002,greater\n")
    for new in (1, 0):
        printed = call(f"--data_dir={folder}", f"--answers={path}", f"--output={tmp_path}/{new}.csv")
        assert f"Kept {new} new labels of pairs" in printed and "Pairs answered: 1 (in 1 one" in printed
        assert "what follows from them: 1." in printed


def test_an_answer_takes_the_place_of_another(folder, call, tmp_path):
    """Also where what is kept contradicts it: this is how labels are corrected."""
    path = tmp_path / "answers.csv"
    said = [
        "00000,train_00001,greater",
        "00001,train_00002,greater",
        "00000,train_00001,less",
        "00001,train_00000,close",
    ]
    for index, (line, number) in enumerate(zip(said, (1, 2, 2, 2), strict=True)):
        path.write_text(f"image_a,image_b,relation\ntrain_{line}\n")
        printed = call(f"--data_dir={folder}", f"--answers={path}", f"--output={tmp_path}/{index}.csv")
        assert f"Kept 1 new labels of pairs in {folder}, {int(index > 1)} in place of others." in printed
        assert len(read_labels(folder, "train", PairLabel)) == number
    assert {pair.relation for pair in read_labels(folder, "train", PairLabel)} == {"greater", "close"}


def test_labels_that_counts_contradict_are_told(counted, call, tmp_path):
    rows = sorted(Records.open(counted, "train").rows, key=lambda row: row.count)
    without_counts(counted, {row.id for row in rows} - {rows[5].id})
    path = tmp_path / "answers.csv"
    path.write_text(f"image_a,image_b,relation\n{rows[0].id},{rows[-1].id},greater\n")
    printed = call(f"--data_dir={counted}", f"--answers={path}", f"--output={tmp_path}/next.csv")
    assert f"Warning: {rows[0].id!r} is said to show more than {rows[-1].id!r}, and has {rows[0].count:g}" in printed


def test_images_to_count(counted, call, tmp_path):
    """From few people to many, as far as the labels of pairs tell; a count that is known is there."""
    rows = sorted(Records.open(counted, "train").rows, key=lambda row: row.count)
    pairs = [PairLabel(more.id, fewer.id, "greater", "human") for fewer, more in itertools.pairwise(rows)]
    write_labels(counted, "train", PairLabel, pairs)
    path = tmp_path / "anchors.csv"
    printed = call(f"--data_dir={counted}", "--strategy=anchors", "--number=3", f"--output={path}")
    assert f"Written: {path} (3 images, from few people to many)" in printed
    with open(path, newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["image"] for row in found][::2] == [rows[0].id, rows[-1].id]
    assert [float(row["count"]) for row in found] == sorted(float(row["count"]) for row in found)
    with pytest.raises(ValueError, match="The number of anchors must be from 2 to the number of images, 12"):
        call(f"--data_dir={counted}", "--strategy=anchors", "--number=50", f"--output={tmp_path}/more.csv")


def test_answers_that_were_not_read_are_not_written_over(folder, call, tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text("image_a,image_b,relation\ntrain_00001,train_00002,greater\n")
    for arguments in ([], [f"--answers={path}"]):
        with pytest.raises(FileExistsError, match="may hold answers: give another --output"):
            call(f"--data_dir={folder}", f"--output={path}", *arguments)
    assert "greater" in path.read_text()


def test_simulated(counted, call):
    lines = call(f"--data_dir={counted}", "--simulate", "--number=3").splitlines()
    assert lines[0].startswith("12 images, ")
    table = np.array([[int(cell.replace(",", "")) for cell in line.split()[1:]] for line in lines[2:]])
    assert table.shape == (7, 2) and np.all(np.diff(table, axis=0) >= 0)
    assert table[-1].max() <= 66
    assert read_labels(counted, "train", PairLabel) == []
