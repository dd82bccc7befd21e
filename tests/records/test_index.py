"""The index: its form, and whether it belongs to the manifest; without checksums, as in records of before."""

import pathlib
import shutil

import pytest

from tests.records import tiny
from tfcount.records.folder import Records, naming_damage, read_index
from tfcount.records.manifest import INDEX, read_manifest, write_manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tiny.build(tmp_path_factory.mktemp("records") / "records")
    tiny.forget_checksums(folder)
    return folder


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built, tmp_path / "records")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "split,id,height",
            "split,id,width",
            "its first line must be split,id,height,width,.*'split,id,width,",
        ),
        ("split,id,height", "7", "its first line must be"),
        ("image_5,4,6", "image_5,4", "it has 7 values, and must have 8"),
        ("image_5,4,6", "image_5,x,6", "invalid literal for int.* 'x'"),
        ("image_5,4,6", "image_5,,6", "invalid literal for int"),
        ("image_5,4,6", "image_5,4.0,6", "invalid literal for int"),
        ("image_5,4,6", "image_5,0,6", "'image_5' cannot have 0 x 6 pixels"),
        ("image_5,4,6", f"image_5,{'9' * 20},6", "'image_5' cannot have 9+ x 6 pixels"),
        ("image_5,4,6", f"image_5,{'9' * 5000},6", "Exceeds the limit"),
        ("image_5,4,6,points,5,5", "image_5,4,6,points,-5,5", "'image_5' cannot have .* -5 points"),
        ("image_5,4,6,points,5,5", "image_5,4,6,points,5,-5", "'image_5' cannot have .* count -5"),
        ("image_5,4,6,points,5,5", "image_5,4,6,points,5,inf", "'image_5' cannot have .* count inf"),
        ("image_5,4,6,points,5,5", "image_5,4,6,points,5,five", "could not convert string to float: 'five'"),
        ("image_5,4,6,points", "image_5,4,6,pints", "Received: 'image_5', 'pints'"),
        ("train,image_5,", "trian,image_5,", "the manifest has no split 'trian'"),
        ("image_5,", ",", "Received: '', 'points'"),
    ],
)
def test_another_form(folder, old, new, message):
    tiny.replace_in_index(folder, old, new)
    with pytest.raises(ValueError, match=rf"index.csv is damaged, in line .*({message}).* build the records again"):
        read_index(str(folder), "test")


def test_another_encoding(folder):
    path = pathlib.Path(folder, INDEX)
    path.write_bytes(path.read_bytes().replace(b"image_5", "imäge".encode("latin-1")))
    with pytest.raises(ValueError, match=r"index.csv is damaged \(it is not encoded as UTF-8"):
        read_index(str(folder), "train")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("train,image_5,", "train,image_4,", "train: several images have the id image_4"),
        ("train,image_5,", "test,image_5,", "the index has 19 images, the manifest 20"),
        ("image_15,4,6,points,15", "image_15,4,6,points,14", "the index has 189 points, the manifest 190"),
        ("train-00001-of-00003", "train-00000-of-00003", "train-0000.-of-00003.tfrecord: the index has .* records"),
        ("train-00001-of-00003", "test-00000-of-00001", "names a shard that is not in the manifest|has .* records"),
    ],
)
def test_it_belongs_to_another_manifest(folder, old, new, message):
    tiny.replace_in_index(folder, old, new)
    with pytest.raises(
        ValueError, match=rf"index.csv does not belong to manifest.json: .*({message}).* build the records"
    ):
        Records.open(str(folder), "train")


def test_a_manifest_that_promises_a_shard_more(folder):
    manifest = read_manifest(str(folder))
    more = {**manifest["splits"]["train"]["shards"][0], "path": "train-00003-of-00003.tfrecord"}
    manifest["splits"]["train"]["shards"].append(more)
    write_manifest(str(folder), manifest)
    with pytest.raises(ValueError, match="train-00003-of-00003.tfrecord: the index has 0 records, the manifest"):
        Records.open(str(folder), "train")


def test_images_of_another_split_are_told_by_the_pass(folder):
    """Ids of two images are exchanged in the index: every number is right."""
    tiny.replace_in_index(folder, "image_5,", "image_?,")
    tiny.replace_in_index(folder, "image_6,", "image_5,")
    tiny.replace_in_index(folder, "image_?,", "image_6,")

    records = Records.open(str(folder), "train")
    with pytest.raises(ValueError, match="does not hold the images that the index says"), naming_damage(records):
        list(records.serialized())
