"""Whatever happens to a file of records: reading them gives the same as before, or an error that names the file."""

import os
import re
import shutil
import struct

import numpy as np
import pytest
import tensorflow as tf

from tests.records import tiny
from tfcount.data.streams.evaluation import whole_images
from tfcount.records import schema
from tfcount.records.folder import Records, naming_damage
from tfcount.records.labels import KINDS, read_labels
from tfcount.records.manifest import INDEX, MANIFEST

SHARD = "train-00001-of-00003.tfrecord"
FILES = (MANIFEST, INDEX, SHARD, "train-labels-*")


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("intact") / "records")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Records of other images in shards of the same names."""
    return tiny.build(tmp_path_factory.mktemp("other") / "records", first=30)


@pytest.fixture
def folder(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "records")


def find(folder, name):
    (path,) = folder.glob(name)
    return path


def boundary(content):
    """Returns where the first record ends, or the first line of a text."""
    if content[:1] in b"{s":
        return content.index(b"\n") + 1
    return struct.unpack("<Q", content[:8])[0] + 16


def flipped(content, seed):
    generator = np.random.default_rng(seed)
    changed = bytearray(content)
    changed[generator.integers(len(content))] ^= 1 << generator.integers(8)
    return bytes(changed)


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_link(path):
    outside = path.parent.parent / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


# What happens to a file; where it becomes another one of its kind, that is given, too.
CHANGES = {
    "cut_at_a_boundary": lambda path, _: path.write_bytes(path.read_bytes()[: boundary(path.read_bytes())]),
    "cut_inside": lambda path, _: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1]),
    "emptied": lambda path, _: path.write_bytes(b""),
    "replaced": lambda path, replacement: shutil.copy(replacement, path),
    "swapped": lambda path, _: shutil.copy(path.parent / "train-00002-of-00003.tfrecord", path),
    "removed": lambda path, _: path.unlink(),
    "a_folder": lambda path, _: make_folder(path),
    "a_link": lambda path, _: make_link(path),
    "a_pipe": lambda path, _: make_pipe(path),
    "endless": lambda path, _: make_endless(path),
    **{
        f"flipped_{seed}": lambda path, _, seed=seed: path.write_bytes(flipped(path.read_bytes(), seed))
        for seed in range(4)
    },
}


def evaluate(records):
    with naming_damage(records):
        examples = list(whole_images(records))
    return [(example["id"].numpy(), example["count"].numpy(), example["image"].numpy().sum()) for example in examples]


def train(records):
    """Two epochs of the stream."""
    with naming_damage(records):
        serialized = list(records.shuffled(seed=1).take(2 * len(records.rows)))
    return [schema.parse_image(record)["id"].numpy() for record in serialized]


def train_on_a_part(records):
    return train(records.select(row.id for row in records.rows[::2]))


def choose(records):
    """Images at positions, as pairs are read."""
    order = tf.data.Dataset.range(len(records.rows))
    with naming_damage(records):
        return [record.numpy() for record in records.at(order)]


def labels(records):
    return [str(label) for kind in KINDS.values() for label in read_labels(records.folder, "train", kind)]


USES = (evaluate, train, train_on_a_part, choose, labels)


@pytest.fixture(scope="module")
def expected(intact):
    records = Records.open(str(intact), "train")
    return {use: use(records) for use in USES}


def assert_same_or_error(use, open_records, expected, names):
    try:
        found = use(open_records())
    except (ValueError, OSError) as error:
        assert any(name in str(error) for name in names), error
        assert "\n" not in str(error)
    else:
        assert found == expected[use]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_before_records_are_opened(folder, other, expected, name, change):
    path = find(folder, name)
    CHANGES[change](path, find(other, name))
    # A manifest of other records is not to be told from an index of others.
    names = [path.name, INDEX] if name == MANIFEST and change == "replaced" else [path.name]
    for use in [labels] if name == "train-labels-*" else USES:
        assert_same_or_error(use, lambda: Records.open(str(folder), "train"), expected, names)


@pytest.mark.parametrize("change", ["cut_at_a_boundary", "emptied", "replaced", "swapped", "removed", "flipped_0"])
def test_damage_while_records_are_read(folder, other, change):
    records = Records.open(str(folder), "train")
    CHANGES[change](folder / SHARD, other / SHARD)
    for use in (evaluate, train, train_on_a_part):
        # What is removed may be missed before anything is read.
        with pytest.raises((ValueError, FileNotFoundError), match=SHARD) as raised:
            use(records)
        message = str(raised.value)
        assert change == "removed" or re.search("(is damaged|does not hold).* build the records again", message)


@pytest.mark.parametrize("change", ["replaced", "swapped", "cut_at_a_boundary", "flipped_1"])
def test_records_of_before_are_read_with_the_same_care(folder, other, expected, change):
    """They lack checksums of manifest and index; sizes, ids and numbers are compared all the same."""
    tiny.forget_checksums(folder)
    for use in (train, labels):
        assert use(Records.open(str(folder), "train")) == expected[use]
    CHANGES[change](folder / SHARD, other / SHARD)
    assert_same_or_error(train, lambda: Records.open(str(folder), "train"), expected, [SHARD])


def test_all_shards_emptied_do_not_hang(folder):
    records = Records.open(str(folder), "train")
    for path in folder.glob("train-0*"):
        path.write_bytes(b"")
    for use in (evaluate, train):
        with pytest.raises(ValueError, match=r"train-00000-of-00003.tfrecord does not hold .*: it ends before image"):
            use(records)
    with pytest.raises(tf.errors.InvalidArgumentError, match=str(folder)):
        next(iter(records.shuffled(0)))


def test_an_undamaged_folder_leaves_the_error_as_it_is(folder):
    records = Records.open(str(folder), "train")
    with pytest.raises(tf.errors.DataLossError, match="somewhere else"), naming_damage(records):
        raise tf.errors.DataLossError(None, None, "somewhere else")
