import os
import pathlib
import shutil

import pytest

from tfcount.records.folder import Records
from tfcount.records.labels import RankingPair, parse_pair, read_pairs, write_pairs


def test_pair_round_trip():
    pair = RankingPair("a.jpg", "b.jpg", "greater", "human")
    result = {name: value.numpy().decode() for name, value in parse_pair(pair.serialize()).items()}
    assert RankingPair(**result) == pair


def test_errors_name_the_values():
    with pytest.raises(ValueError, match="'more'"):
        RankingPair("a", "b", "more", "human").serialize()


class TestPairs:
    PAIRS = (
        RankingPair("train_00001", "train_00002", "greater", "human"),
        RankingPair("train_00003", "train_00002", "close", "human"),
    )

    @pytest.fixture
    def folder(self, crowds, tmp_path):
        return str(shutil.copytree(crowds, tmp_path / "records"))

    def test_they_lie_beside_the_images(self, folder):
        before = Records.open(folder, "train").fingerprint()
        assert read_pairs(folder, "train") == []
        write_pairs(folder, "train", self.PAIRS)
        assert read_pairs(folder, "train") == list(self.PAIRS)
        # The images are the same: a run that was stopped goes on.
        assert Records.open(folder, "train").fingerprint() == before
        assert read_pairs(folder, "test") == []

    def test_they_are_replaced(self, folder):
        files = set(os.listdir(folder))
        write_pairs(folder, "train", self.PAIRS)
        write_pairs(folder, "train", self.PAIRS[1:])
        assert read_pairs(folder, "train") == list(self.PAIRS[1:])
        assert len(set(os.listdir(folder)) - files) == 1
        write_pairs(folder, "train", self.PAIRS[1:])
        assert read_pairs(folder, "train") == list(self.PAIRS[1:])
        write_pairs(folder, "train", [])
        assert read_pairs(folder, "train") == [] and set(os.listdir(folder)) == files

    def test_of_images_that_are_not_there(self, folder):
        pair = RankingPair("train_00001", "nobody", "greater", "human")
        with pytest.raises(ValueError, match="Split 'train' of the records in .* has no image 'nobody'"):
            write_pairs(folder, "train", [pair])
        with pytest.raises(ValueError, match="have no split 'val'"):
            read_pairs(folder, "val")

    @pytest.mark.parametrize("content", [None, b"", b"no records at all"])
    def test_a_damaged_file(self, folder, content):
        write_pairs(folder, "train", self.PAIRS)
        (path,) = pathlib.Path(folder).glob("train-pairs-*")
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ValueError, match="train-pairs-.* (cannot be read|holds 0 pairs)"):
            read_pairs(folder, "train")
