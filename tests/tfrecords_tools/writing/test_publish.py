import json
import os

import pytest

from tests.tfrecords_tools.writing.crowds import crowds, write
from tfcount.records.folder import MANIFEST, read_index, read_manifest
from tfcount.records.labels import KINDS, CountLabel, PairLabel, PointsLabel, RegionsLabel, read_labels, write_labels


def test_existing_output(tmp_path):
    out = tmp_path / "out"
    write(out, {"train": crowds(2)})
    with pytest.raises(FileExistsError, match=r"out exists.*--overwrite"):
        write(out, {"train": crowds(3)})
    assert len(read_index(str(out), "train")) == 2
    with pytest.raises(ValueError, match="is damaged"):
        write(out, {"train": crowds(3, trouble="damaged")}, overwrite=True)
    assert len(read_index(str(out), "train")) == 2
    write(out, {"train": crowds(3)}, overwrite=True)
    assert len(read_index(str(out), "train")) == 3
    assert os.listdir(tmp_path) == ["out"]


def test_overwrite_spares_other_folders(tmp_path):
    (tmp_path / "thesis.txt").write_text("text")
    with pytest.raises(FileExistsError, match="something else than records"):
        write(tmp_path, {"train": crowds(1)}, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_overwriting_keeps_what_people_said_of_pairs(tmp_path, capsys):
    out = tmp_path / "out"
    write(out, {"train": crowds(3)})
    ids = sorted(row.id for row in read_index(str(out), "train"))
    pairs = [PairLabel(ids[one], ids[other], "greater", "human") for one, other in ((0, 1), (1, 2))]
    write_labels(str(out), "train", PairLabel, pairs)
    write(out, {"train": crowds(4)}, overwrite=True)
    assert read_labels(str(out), "train", PairLabel) == pairs
    assert "lost" not in capsys.readouterr().err
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_labels(str(out), "train", PairLabel) == pairs[:1]
    assert "1 of 2 labels of the kind 'pair' are lost: split 'train' lacks their images." in capsys.readouterr().err
    (next(out.glob("train-labels-*"))).unlink()
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_labels(str(out), "train", PairLabel) == []
    assert "Warning: labels that people added to split 'train' are lost: " in capsys.readouterr().err


def write_labels_of_all_kinds(folder, split, one, other):
    """Adds to two images a label each of every kind but pairs, which are of both."""
    write_labels(folder, split, PairLabel, [PairLabel(one, other, "less", "human", "2026-07-01T12:00:00Z")])
    write_labels(folder, split, CountLabel, [CountLabel(id, 7, "human") for id in (one, other)])
    write_labels(folder, split, PointsLabel, [PointsLabel(id, [[1, 2], [3, 4]], "human") for id in (one, other)])
    regions = [RegionsLabel(id, [[0, 0, 4, 4]], [[1, 2]], "human") for id in (one, other)]
    write_labels(folder, split, RegionsLabel, regions)


def labels_of(folder, split):
    """Returns the ids of the images of the labels of every kind."""
    return {name: [label.images() for label in read_labels(folder, split, kind)] for name, kind in KINDS.items()}


def test_overwriting_keeps_labels_of_every_kind(tmp_path, capsys):
    out = tmp_path / "out"
    write(out, {"train": crowds(3), "test": crowds(2)})
    write_labels_of_all_kinds(str(out), "train", "img 0", "img 2")
    write_labels_of_all_kinds(str(out), "test", "img 0", "img 1")
    before = {split: labels_of(str(out), split) for split in ("train", "test")}
    write(out, {"train": crowds(4), "test": crowds(2)}, overwrite=True)
    assert {split: labels_of(str(out), split) for split in ("train", "test")} == before
    (regions,) = (label for label in read_labels(str(out), "train", RegionsLabel) if label.id == "img 2")
    assert regions.regions.tolist() == [[0, 0, 4, 4]] and regions.points.tolist() == [[1, 2]]
    assert read_labels(str(out), "train", PairLabel)[0].time == "2026-07-01T12:00:00Z"
    assert "lost" not in capsys.readouterr().err

    write(out, {"train": crowds(2)}, overwrite=True)
    alone = [("img 0",)]
    assert labels_of(str(out), "train") == {"pair": [], "count": alone, "points": alone, "regions": alone}
    error = capsys.readouterr().err
    assert "1 of 1 labels of the kind 'pair' are lost: split 'train' lacks their images." in error
    for name in ("count", "points", "regions"):
        assert f"1 of 2 labels of the kind {name!r} are lost: split 'train' lacks their images." in error
        assert f"2 of 2 labels of the kind {name!r} are lost: split 'test' lacks their images." in error


def test_labels_of_one_split_that_are_damaged_leave_those_of_another(tmp_path, capsys):
    out = tmp_path / "out"
    splits = {"train": crowds(2), "test": crowds(2)}
    write(out, splits)
    for split in splits:
        write_labels_of_all_kinds(str(out), split, "img 0", "img 1")
    next(out.glob("train-labels-*")).write_bytes(b"")
    write(out, splits, overwrite=True)
    assert not any(labels_of(str(out), "train").values()) and all(labels_of(str(out), "test").values())
    error = capsys.readouterr().err
    assert "Warning: labels that people added to split 'train' are lost: " in error and "'test'" not in error


def test_labels_of_a_manifest_that_cannot_be_read(tmp_path):
    """They stay; records without labels are replaced."""
    out = tmp_path / "out"
    write(out, {"train": crowds(2)})
    write_labels_of_all_kinds(str(out), "train", "img 0", "img 1")
    (out / MANIFEST).write_text(json.dumps({"format_version": 99}))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(FileExistsError, match=r"labels that people added, 'train-labels-.*', .*format version 99"):
        write(out, {"train": crowds(2)}, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    next(out.glob("train-labels-*")).unlink()
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_manifest(str(out))["splits"]["train"]["images"] == 2
