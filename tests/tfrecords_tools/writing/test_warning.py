import json

from tests.records import tiny
from tests.tfrecords_tools.writing.crowds import Crowd, crowds, write
from tfcount.records.folder import MANIFEST, Records, read_manifest
from tfrecords_tools import show
from tfrecords_tools.writing.plan import ImageWarning


class Doubtful(Crowd):
    def load(self):
        outside = ImageWarning("have points outside: {number:,} of {points:,} are dropped", f"{self.id}.jpg, 600", 600)
        other = ImageWarning("are blue", f"{self.id}.jpg", 1)
        return super().load()._replace(warnings=(outside, other) if self.id == "c" else (outside,))


def test_the_manifest_keeps_warnings(tmp_path):
    splits = {"train": [*crowds(30), Doubtful("b", 31), Doubtful("a", 32)], "test": [*crowds(1), Doubtful("c", 34)]}
    manifest = write(tmp_path / "out", splits, warnings=["x.png is passed over."])
    # The numbers of points are those of the records, and three of every image that are dropped.
    assert manifest["warnings"] == [
        "x.png is passed over.",
        "train: 2 of 32 images have points outside: 1,200 of 160 are dropped (first: a.jpg, 600).",
        "test: 1 of 2 images have points outside: 600 of 10 are dropped (first: c.jpg, 600).",
        "test: 1 of 2 images are blue (first: c.jpg).",
    ]
    assert read_manifest(str(tmp_path / "out")) == manifest
    assert write(tmp_path / "fine", {"train": crowds(1)})["warnings"] == []


def test_records_are_the_same_whatever_is_warned_of(tmp_path):
    write(tmp_path / "a", {"train": crowds(3)})
    write(tmp_path / "b", {"train": crowds(3)}, warnings=["x.png is passed over."])
    prints = [Records.open(str(tmp_path / name), "train").fingerprint() for name in "ab"]
    assert prints[0] == prints[1]
    assert [problem for problem in show.check(str(tmp_path / "b")) if problem] == []


def test_records_of_before_have_no_warnings(tmp_path):
    folder = tmp_path / "out"
    write(folder, {"train": crowds(1)})
    tiny.forget_checksums(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["warnings"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert Records.open(str(folder), "train").fingerprint()
    assert [problem for problem in show.check(str(folder)) if problem] == []
