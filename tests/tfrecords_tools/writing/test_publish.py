import os

import pytest

from tests.tfrecords_tools.writing.crowds import crowds, write
from tfcount.records.folder import read_index
from tfcount.records.labels import RankingPair, read_pairs, write_pairs


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
    pairs = [RankingPair(ids[one], ids[other], "greater", "human") for one, other in ((0, 1), (1, 2))]
    write_pairs(str(out), "train", pairs)
    write(out, {"train": crowds(4)}, overwrite=True)
    assert read_pairs(str(out), "train") == pairs
    assert "labels of pairs" not in capsys.readouterr().err
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_pairs(str(out), "train") == pairs[:1]
    assert "1 of 2 labels of pairs are lost: split 'train' lacks their images." in capsys.readouterr().err
    (next(out.glob("train-pairs-*"))).unlink()
    write(out, {"train": crowds(2)}, overwrite=True)
    assert read_pairs(str(out), "train") == []
    assert "Warning: labels of pairs that the replaced records may hold are lost: " in capsys.readouterr().err
