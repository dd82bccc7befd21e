"""The manifest: its form, its checksum, and the names that it tells."""

import json
import os
import pathlib
import re

import pytest

from tests.records import tiny
from tfcount.records.folder import Records
from tfcount.records.labels import CountLabel, PairLabel, read_labels, write_labels
from tfcount.records.manifest import MANIFEST, hash_file, read_manifest, write_manifest

TRAIN = ("splits", "train")
SHARD = (*TRAIN, "shards", 0)
LABELS = (*TRAIN, "labels")


@pytest.fixture
def folder(tmp_path):
    return str(tiny.build(tmp_path / "records"))


def write(folder, manifest):
    """Writes a manifest of before, which has no checksum."""
    pathlib.Path(folder, MANIFEST).write_text(json.dumps(manifest))


def change(folder, place, value):
    """Changes a value at a place; `None` removes it."""
    manifest = read_manifest(folder)
    part = manifest
    for key in place[:-1]:
        part = part[key]
    if value is None:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    write(folder, manifest)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("splits",), None, "`splits` is missing"),
        (("splits",), [], r"`splits` must be a dict. Received: \[\]"),
        (("dataset",), None, "`dataset` is missing"),
        (("dataset",), 5, "`dataset` must be a text. Received: 5"),
        (("index",), [], "`index` must be a dict"),
        (("index", "sha256"), None, "`index/sha256` is missing"),
        (TRAIN, 3, "`splits/train` must be a dict. Received: 3"),
        *[((*TRAIN, name), None, f"`splits/train/{name}` is missing") for name in ("images", "points", "shards")],
        *[
            ((*TRAIN, "images"), value, "`splits/train/images` must be a number of at least 0. Received: ")
            for value in ("20", 20.0, True, -1, 10**30, [])
        ],
        ((*TRAIN, "shards"), {}, "`splits/train/shards` must be a list"),
        (SHARD, "x", "`splits/train/shards/0` must be a dict. Received: 'x'"),
        *[((*SHARD, name), None, f"`splits/train/shards/0/{name}` is missing") for name in ("path", "bytes", "sha256")],
        ((*SHARD, "path"), 7, "`splits/train/shards/0/path` must be a text. Received: 7"),
        ((*SHARD, "records"), "7", "`splits/train/shards/0/records` must be a number"),
        ((*LABELS, "records"), None, "`splits/train/labels/records` is missing"),
        (LABELS, "x", "`splits/train/labels` must be a dict"),
    ],
)
def test_another_form(folder, place, value, message):
    change(folder, place, value)
    with pytest.raises(ValueError, match=rf"manifest.json is damaged \({message}.*build the records again"):
        Records.open(folder, "train")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "7",
        "null",
        "[" * 100_000,
        '{"format_version": ' + "9" * 5000 + "}",
        '{"format_version": 1, "source": ' + "[" * 950 + "]" * 950 + "}",
        "ÿ",
    ],
)
def test_other_json(folder, text):
    pathlib.Path(folder, MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="manifest.json is damaged .*not a manifest of records: restore it") as raised:
        read_manifest(folder)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("name", ["../victim", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\0b", "a\nb"])
@pytest.mark.parametrize("place", [("dataset",), (*SHARD, "path"), (*LABELS, "path")])
def test_names_are_names(folder, place, name):
    change(folder, place, name)
    with pytest.raises(ValueError, match=re.escape(f"names {name!r}, which is not the name of a file in its folder")):
        Records.open(folder, "train")


def test_a_split_whose_labels_would_lie_elsewhere(folder):
    manifest = read_manifest(folder)
    manifest["splits"]["../train"] = manifest["splits"].pop("train")
    write(folder, manifest)
    with pytest.raises(ValueError, match=r"names '../train', which is not"):
        write_labels(folder, "../train", CountLabel, [])


class TestNobodyElsesFile:
    """Whatever a folder of somebody else names, only its own labels are removed or written."""

    @pytest.mark.parametrize("name", ["../victim.txt", "index.csv", "manifest.json", "train-00000-of-00003.tfrecord"])
    @pytest.mark.parametrize("key", ["labels", "pairs"])
    def test_labels_that_are_none(self, folder, name, key):
        victim = pathlib.Path(folder, name)
        victim.exists() or victim.write_text("precious")
        before = victim.read_bytes()
        file = {"path": name, "records": 0, **hash_file(str(victim))}
        change(folder, (*TRAIN, key), file)
        before = before if name != MANIFEST else victim.read_bytes()
        with pytest.raises(ValueError, match=re.escape(os.path.basename(name))):
            write_labels(folder, "train", CountLabel, [])
        assert victim.read_bytes() == before

    def test_labels_that_are_a_link_to_elsewhere(self, folder, tmp_path):
        (labels,) = pathlib.Path(folder).glob("train-labels-*")
        labels.rename(tmp_path / "outside")
        labels.symlink_to(tmp_path / "outside")
        for use in (
            lambda: read_labels(folder, "train", PairLabel),
            lambda: write_labels(folder, "train", PairLabel, []),
        ):
            with pytest.raises(ValueError, match=r"train-labels-.* is a link out of the folder"):
                use()
        assert (tmp_path / "outside").stat().st_size > 0

    @pytest.mark.parametrize("name", ["manifest.json.writing", "labels.writing"])
    def test_temporary_files_that_are_links_are_not_followed(self, folder, tmp_path, name):
        (tmp_path / "victim").write_text("precious")
        pathlib.Path(folder, name).symlink_to(tmp_path / "victim")
        write_labels(folder, "train", PairLabel, [PairLabel("image_1", "image_2", "less", "human")])
        assert (tmp_path / "victim").read_text() == "precious"
        assert len(read_labels(folder, "train", PairLabel)) == 1

    def test_links_inside_of_the_folder_are_files_of_it(self, folder):
        shard = pathlib.Path(folder, "train-00000-of-00003.tfrecord")
        shard.rename(shard.parent / "moved")
        shard.symlink_to("moved")
        assert len(Records.open(folder, "train").rows) == 20


class TestChecksum:
    def test_an_edited_manifest_is_refused(self, folder):
        path = pathlib.Path(folder, MANIFEST)
        edited = path.read_text().replace('"tiny"', '"tidy"')
        path.write_text(edited)
        with pytest.raises(ValueError, match="manifest.json is not what was written.* remove its last key, `sha256`"):
            read_manifest(folder)
        # As the message says.
        content = json.loads(edited)
        assert list(content)[-1] == "sha256"
        write(folder, {name: value for name, value in content.items() if name != "sha256"})
        assert read_manifest(folder)["dataset"] == "tidy"

    def test_written_again_by_another_hand_it_is_the_same(self, folder):
        before = read_manifest(folder)
        path = pathlib.Path(folder, MANIFEST)
        path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, ensure_ascii=True))
        assert read_manifest(folder) == before

    def test_whatever_the_source_is(self, folder):
        """Where the data are from may be any JSON; what is read is what was written."""
        source = {"pair": (1, 2), 7: "seven", "ü": [0.1, 1e300, None, True, float("nan")], "": {}}
        write_manifest(folder, {**read_manifest(folder), "source": source})
        assert read_manifest(folder)["source"]["pair"] == [1, 2]

    def test_labels_keep_it_true(self, folder):
        before = Records.open(folder, "train").fingerprint()
        for labels in ([], [CountLabel("image_4", 3, "human")]):
            write_labels(folder, "train", CountLabel, labels)
            assert "sha256" in json.loads(pathlib.Path(folder, MANIFEST).read_text())
            assert read_labels(folder, "train", CountLabel) == labels
        assert Records.open(folder, "train").fingerprint() == before

    def test_records_of_before_have_none_and_are_the_same_records(self, folder):
        before = Records.open(folder, "train")
        tiny.forget_checksums(folder)
        assert "index" not in read_manifest(folder)
        assert Records.open(folder, "train") == before
        assert Records.open(folder, "train").fingerprint() == before.fingerprint()
        write_labels(folder, "train", CountLabel, [CountLabel("image_4", 3, "human")])
        assert read_labels(folder, "train", CountLabel)[0].count == 3
