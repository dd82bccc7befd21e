import datetime
import hashlib
import json
import os
import pathlib
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf

from tests.killing import contents, killed_everywhere
from tfcount.records import lock, schema
from tfcount.records.files import remove_abandoned
from tfcount.records.folder import Records, read_index
from tfcount.records.labels import (
    KINDS,
    RELATIONS,
    CountLabel,
    PairLabel,
    PointsLabel,
    RegionsLabel,
    changing,
    now,
    parse,
    read_labels,
    serialize,
    update_labels,
    write_labels,
)
from tfcount.records.manifest import MANIFEST, hash_file, read_manifest, write_manifest

PAIRS = (
    PairLabel("train_00001", "train_00002", "greater", "human"),
    PairLabel("train_00003", "train_00002", "close", "human", "2026-07-01T12:00:00Z"),
)
IDS = [f"train_{number:05d}" for number in range(12)]


@pytest.fixture
def folder(crowds, tmp_path):
    return str(shutil.copytree(crowds, tmp_path / "records"))


def plain(labels):
    """Returns labels as values that can be compared: a NamedTuple with arrays has no equality."""
    return [
        (type(label), *(as_list(value) if isinstance(value, np.ndarray) else value for value in label))
        for label in labels
    ]


def as_list(array):
    return array.shape, array.dtype, array.tolist()


def random_label(rng, kind, ids):
    """A label of any content that is legal."""
    source = rng.choice(["human", "人", "", "a, b"])
    time = rng.choice(["", "2026-07-01T12:00:00Z", "2026-07-01T12:00:00.5+00:00"])
    one, other = rng.choice(ids, 2, replace=False)
    if kind is PairLabel:
        return PairLabel(str(one), str(other), str(rng.choice(RELATIONS)), str(source), str(time))
    if kind is CountLabel:
        count = float(np.float32(rng.choice([0, 7, rng.uniform(0, 1e5)])))
        return CountLabel(str(one), count, str(source), str(time))
    corners = rng.uniform(0, 90, (rng.integers(0 if kind is PointsLabel else 1, 4), 2))
    regions = np.concatenate([corners, corners + rng.uniform(0.1, 30, corners.shape)], axis=1).astype(np.float32)
    points = rng.uniform(0, 90, (rng.integers(0, 6), 2)).astype(np.float32)
    if kind is PointsLabel:
        return PointsLabel(str(one), points, str(source), str(time))
    # Each in one of the regions, some of them in a corner.
    inside = regions[rng.integers(0, len(regions), len(points))]
    points = np.where(rng.random((len(points), 1)) < 0.3, inside[:, :2], (inside[:, :2] + inside[:, 2:]) / 2)
    return RegionsLabel(str(one), regions, points, str(source), str(time))


def random_labels(rng, kind, ids):
    return [random_label(rng, kind, ids) for _ in range(rng.integers(0, 8))]


def write_as_before(folder, split, pairs):
    """Keeps pairs as the version before did: under another key, without their kind and time."""
    path = pathlib.Path(folder, f"{split}-pairs-0123456789ab.tfrecord")
    with tf.io.TFRecordWriter(str(path)) as writer:
        for pair in pairs:
            texts = {name: schema.bytes_feature(value.encode()) for name, value in zip(pair._fields[:4], pair[:4])}
            example = tf.train.Example(features=tf.train.Features(feature=texts))
            writer.write(example.SerializeToString(deterministic=True))
    content = path.read_bytes()
    stated = {"path": path.name, "records": len(pairs), "bytes": len(content)}
    manifest = read_manifest(folder)
    manifest["splits"][split]["pairs"] = {**stated, "sha256": hashlib.sha256(content).hexdigest()}
    pathlib.Path(folder, MANIFEST).write_text(json.dumps(manifest))
    return path


class TestOneLabel:
    def test_pair_round_trip(self):
        pair = PairLabel("a.jpg", "b.jpg", "greater", "human")
        assert parse([serialize(pair)]) == [pair]

    @pytest.mark.parametrize("kind", KINDS.values())
    def test_any_label(self, rng, kind):
        for _ in range(50):
            label = random_label(rng, kind, ["a.jpg", "Café 群衆.jpg", "c d"])
            label.check()
            assert plain(parse([serialize(label)])) == plain([label])

    def test_no_object_at_all(self):
        points, regions = PointsLabel("a", [], "human"), RegionsLabel("a", [[0, 0, 1, 1]], [], "human")
        for label in (points, regions):
            label.check()
        first, second = parse([serialize(points), serialize(regions)])
        assert first.points.shape == (0, 2) and second.points.shape == (0, 2) and second.regions.shape == (1, 4)

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            (PairLabel("a", "b", "more", "human"), "`relation` must be one of .* Received: 'more'"),
            (PairLabel("a", "a", "less", "human"), "must be two images. Received: 'a' for both"),
            *[
                (CountLabel("a", count, "human"), "`count` of image 'a' must be a finite number of at least 0. Rec")
                for count in (-1, np.nan, np.inf, 1e39, "5", None)
            ],
            (PointsLabel("a", [[1, 2, 3]], "human"), r"`points` of image 'a' must be of shape \(n, 2\).*\(1, 3\)"),
            (PointsLabel("a", [1, 2], "human"), r"`points` of image 'a' must be of shape \(n, 2\).*\(2,\)"),
            (PointsLabel("a", [[1, 2], [3]], "human"), "`points` of image 'a' must be rows of 2 numbers"),
            (PointsLabel("a", [[1, "x"]], "human"), "`points` of image 'a' must be rows of 2 numbers"),
            (PointsLabel("a", [[1, np.nan]], "human"), "`points` of image 'a' must be finite. Received: nan"),
            (PointsLabel("a", [[1, 1e39]], "human"), "`points` of image 'a' must be finite. Received: inf"),
            (RegionsLabel("a", [[1, 2]], [], "human"), r"`regions` of image 'a' must be of shape \(n, 4\)"),
            (RegionsLabel("a", [[0, 0, 1, np.inf]], [], "human"), "`regions` of image 'a' must be finite"),
            (RegionsLabel("a", [[0, 0, 9, 9], [3, 4, 3, 5]], [], "human"), r"left < right .*\[3.0, 4.0, 3.0, 5.0\]"),
            (RegionsLabel("a", [[3, 5, 4, 4]], [], "human"), r"top < bottom. Received: \[3.0, 5.0, 4.0, 4.0\]"),
            (RegionsLabel("a", [[0, 0, 9, 9]], [[1]], "human"), r"`points` of image 'a' must be of shape \(n, 2\)"),
            (RegionsLabel("a", [[0, 0, 9, 9]], [[9, 10]], "human"), r"must lie in its `regions`.*\[9.0, 10.0\]"),
            *[
                (CountLabel("a", 1, "human", time), "`time` must be a time in UTC as ISO 8601, .* Received: '")
                for time in ("yesterday", "2026-07-01T12:00:00", "2026-07-01T12:00:00+02:00")
            ],
        ],
    )
    def test_errors_name_the_values(self, label, message):
        with pytest.raises(ValueError, match=message):
            label.check()

    def test_now(self):
        CountLabel("a", 1, "human", now()).check()
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(now())
        assert 0 <= age.total_seconds() < 60


class TestFile:
    def test_they_lie_beside_the_images(self, folder):
        before = Records.open(folder, "train").fingerprint()
        assert read_labels(folder, "train", PairLabel) == []
        write_labels(folder, "train", PairLabel, PAIRS)
        assert read_labels(folder, "train", PairLabel) == list(PAIRS)
        # The images are the same: a run that was stopped goes on.
        assert Records.open(folder, "train").fingerprint() == before
        assert read_labels(folder, "test", PairLabel) == []

    def test_they_are_replaced(self, folder):
        files = set(os.listdir(folder))
        write_labels(folder, "train", PairLabel, PAIRS)
        write_labels(folder, "train", PairLabel, PAIRS[1:])
        assert read_labels(folder, "train", PairLabel) == list(PAIRS[1:])
        assert len(set(os.listdir(folder)) - files) == 1
        write_labels(folder, "train", PairLabel, PAIRS[1:])
        assert read_labels(folder, "train", PairLabel) == list(PAIRS[1:])
        write_labels(folder, "train", PairLabel, [])
        assert read_labels(folder, "train", PairLabel) == [] and set(os.listdir(folder)) == files
        assert "labels" not in read_manifest(folder)["splits"]["train"]

    def test_the_manifest_names_the_file(self, folder):
        write_labels(folder, "train", PairLabel, PAIRS)
        stated = read_manifest(folder)["splits"]["train"]["labels"]
        content = pathlib.Path(folder, stated["path"]).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert stated["path"] == f"train-labels-{digest[:12]}.tfrecord"
        assert (stated["records"], stated["bytes"], stated["sha256"]) == (2, len(content), digest)

    def test_kinds_share_a_file(self, folder, rng):
        """Whatever is written in whatever order: each kind is what was written of it last."""
        files, before = set(os.listdir(folder)), Records.open(folder, "train").fingerprint()
        kept = {kind: [] for kind in KINDS.values()}
        for _ in range(30):
            kind = list(kept)[rng.integers(len(kept))]
            kept[kind] = random_labels(rng, kind, IDS)
            write_labels(folder, "train", kind, kept[kind])
            for one, labels in kept.items():
                assert plain(read_labels(folder, "train", one)) == plain(labels)
            assert len(set(os.listdir(folder)) - files) == any(kept.values())
        assert Records.open(folder, "train").fingerprint() == before
        assert all(read_labels(folder, "test", kind) == [] for kind in kept)

    def test_equal_labels_make_equal_files(self, folder, rng):
        labels = {kind: random_labels(rng, kind, IDS) for kind in KINDS.values()}
        paths = set()
        for order in (list(labels), list(labels)[::-1]):
            for kind in order:
                write_labels(folder, "train", kind, [])
            for kind in order:
                write_labels(folder, "train", kind, labels[kind])
            paths.add(read_manifest(folder)["splits"]["train"]["labels"]["path"])
        assert len(paths) == 1

    def test_of_images_that_are_not_there(self, folder):
        pair = PairLabel("train_00001", "nobody", "greater", "human")
        with pytest.raises(ValueError, match="Split 'train' of the records in .* has no image 'nobody'"):
            write_labels(folder, "train", PairLabel, [pair])
        with pytest.raises(ValueError, match="Split 'train' of the records in .* has no image 'nobody'"):
            write_labels(folder, "train", CountLabel, [CountLabel("nobody", 1, "human")])
        with pytest.raises(ValueError, match="have no split 'val'"):
            read_labels(folder, "val", PairLabel)
        with pytest.raises(ValueError, match="have no split 'val'"):
            write_labels(folder, "val", PairLabel, PAIRS)

    def test_what_must_not_be_kept_changes_nothing(self, folder):
        write_labels(folder, "train", PairLabel, PAIRS)
        files = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
        with pytest.raises(ValueError, match="must be of the kind CountLabel. Received: PairLabel"):
            write_labels(folder, "train", CountLabel, PAIRS)
        with pytest.raises(ValueError, match="`count` of image 'train_00001'"):
            write_labels(folder, "train", CountLabel, [CountLabel("train_00001", -1, "human")])
        assert {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()} == files

    def test_a_disk_that_is_full(self, folder, monkeypatch):
        def full(*_):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

        write_labels(folder, "train", PairLabel, PAIRS)
        files = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
        monkeypatch.setattr(tf.io.TFRecordWriter, "write", full)
        with pytest.raises(OSError, match="The labels of .* cannot be written: No space left on device"):
            write_labels(folder, "train", CountLabel, [CountLabel("train_00001", 1, "human")])
        assert {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()} == files


class TestDamage:
    @pytest.mark.parametrize("kind", KINDS.values())
    @pytest.mark.parametrize("content", [None, b"", b"no records at all"])
    def test_a_damaged_file(self, folder, content, kind):
        write_labels(folder, "train", PairLabel, PAIRS)
        (path,) = pathlib.Path(folder).glob("train-labels-*")
        path.unlink() if content is None else path.write_bytes(content)
        message = r"train-labels-.* (cannot be read|holds 0 labels).* build the records again with --overwrite"
        with pytest.raises(ValueError, match=message):
            read_labels(folder, "train", kind)
        # Labels of other kinds may be in it, so nothing takes its place.
        with pytest.raises(ValueError, match=message):
            write_labels(folder, "train", kind, [])
        assert "labels" in read_manifest(folder)["splits"]["train"]

    def test_a_flipped_bit_and_a_cut_file(self, folder, rng):
        for kind in KINDS.values():
            write_labels(folder, "train", kind, [random_label(rng, kind, IDS) for _ in range(3)])
        (path,) = pathlib.Path(folder).glob("train-labels-*")
        content = path.read_bytes()
        for position in rng.integers(0, len(content), 20):
            damaged = bytearray(content)
            damaged[position] ^= 1
            for one in (bytes(damaged), content[:position]):
                path.write_bytes(one)
                with pytest.raises(ValueError, match="train-labels-.* (cannot be read|holds [0-9]+ labels)"):
                    read_labels(folder, "train", CountLabel)

    def test_records_of_something_else(self, folder):
        write_labels(folder, "train", PairLabel, PAIRS)
        (path,) = pathlib.Path(folder).glob("train-labels-*")
        shutil.copy(os.path.join(folder, read_index(folder, "train")[0].shard), path)
        with pytest.raises(ValueError, match="train-labels-.* cannot be read"):
            read_labels(folder, "train", PairLabel)
        later = tf.train.Example(features=tf.train.Features(feature={"kind": schema.bytes_feature(b"mask")}))
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(later.SerializeToString())
        manifest = read_manifest(folder)
        manifest["splits"]["train"]["labels"] |= hash_file(str(path))
        write_manifest(folder, manifest)
        with pytest.raises(ValueError, match="train-labels-.* of the kind 'mask', which this version of tfcount does"):
            read_labels(folder, "train", PairLabel)


class TestPairsOfBefore:
    def test_they_are_read(self, folder):
        before = Records.open(folder, "train").fingerprint()
        write_as_before(folder, "train", PAIRS)
        assert read_labels(folder, "train", PairLabel) == [pair._replace(time="") for pair in PAIRS]
        assert read_labels(folder, "train", CountLabel) == []
        assert Records.open(folder, "train").fingerprint() == before

    @pytest.mark.parametrize("kind", KINDS.values())
    def test_the_next_label_takes_them_along(self, folder, kind, rng):
        path = write_as_before(folder, "train", PAIRS)
        added = [random_label(rng, kind, IDS)]
        said = read_labels(folder, "train", PairLabel)
        write_labels(folder, "train", kind, [*said, *added] if kind is PairLabel else added)
        assert plain(read_labels(folder, "train", kind))[-1:] == plain(added)
        assert read_labels(folder, "train", PairLabel)[:2] == [pair._replace(time="") for pair in PAIRS]
        stated = read_manifest(folder)["splits"]["train"]
        assert "pairs" not in stated and stated["labels"]["records"] == 3 and not path.exists()

    def test_beside_labels_of_today(self, folder):
        """As when the version before went on with the folder."""
        write_labels(folder, "train", CountLabel, [CountLabel("train_00001", 7, "human")])
        write_labels(folder, "train", PairLabel, PAIRS[1:])
        write_as_before(folder, "train", PAIRS[:1])
        assert read_labels(folder, "train", PairLabel) == list(PAIRS)
        write_labels(folder, "train", CountLabel, [])
        assert read_labels(folder, "train", PairLabel) == list(PAIRS)
        assert len(list(pathlib.Path(folder).glob("train-[lp]a*"))) == 1

    def test_they_are_damaged(self, folder):
        write_as_before(folder, "train", PAIRS).unlink()
        with pytest.raises(ValueError, match="train-pairs-.* cannot be read"):
            read_labels(folder, "train", PairLabel)


class TestSeveralAtOnce:
    """Nothing that is said is lost, and nothing that is read is half of it."""

    def add(self, folder, *labels):
        return update_labels(folder, "train", CountLabel, lambda before: [*before, *labels])

    def test_all_that_is_added_is_kept(self, folder):
        ids = [row.id for row in read_index(folder, "train")]
        failures = []

        def add(mine):
            try:
                for name in mine:
                    self.add(folder, CountLabel(name, 1, "human"))
                    read_labels(folder, "train", CountLabel)
            except (OSError, ValueError) as error:
                failures.append(error)

        threads = [threading.Thread(target=add, args=[ids[start : start + 3]]) for start in (0, 3, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures
        assert sorted(label.id for label in read_labels(folder, "train", CountLabel)) == sorted(ids[:9])
        assert len([name for name in os.listdir(folder) if "-labels-" in name]) == 1
        assert lock.NAME not in os.listdir(folder)

    def test_an_error_changes_nothing(self, folder):
        self.add(folder, CountLabel("train_00000", 1, "human"))
        before = contents(pathlib.Path(folder))
        with pytest.raises(ZeroDivisionError):
            update_labels(folder, "train", CountLabel, lambda labels: 1 / 0)
        assert contents(pathlib.Path(folder)) == before

    def test_killed_while_labels_are_added(self, folder):
        """They are those of before, or those of after; the next call removes what is left, and nothing else."""
        one, other = CountLabel("train_00000", 1, "human"), CountLabel("train_00001", 2, "human")
        self.add(folder, one)
        foreign = pathlib.Path(folder, "train-labels-0123456789ab.tfrecord")
        foreign.write_text("mine")
        kills = 0
        for _ in killed_everywhere(lambda: self.add(folder, other)):
            kills += 1
            assert read_labels(folder, "train", CountLabel) in ([one], [one, other])
            remove_abandoned.cache_clear()
            write_labels(folder, "train", CountLabel, [one])
            names = [name for name in os.listdir(folder) if "labels" in name or "writing" in name]
            assert len(names) == 2 and foreign.read_text() == "mine"
        assert kills > 3

    def test_the_fingerprint_of_records_does_not_see_the_lock(self, folder):
        before = Records.open(folder, "train").fingerprint()
        with changing(folder):
            assert Records.open(folder, "train").fingerprint() == before
