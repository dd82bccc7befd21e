"""Whatever the user has in and around an output stays as it is."""

import os
import pathlib
import shutil

import pytest

from tests.killing import Killed, contents, killed_everywhere
from tests.tfrecords_tools.writing.crowds import Crowd, crowds, write
from tests.tfrecords_tools.writing.test_publish import labels_of, write_labels_of_all_kinds
from tfcount.records import files, lock, temporary
from tfcount.records.folder import MANIFEST, read_index, read_manifest
from tfrecords_tools.writing import dataset, owned

SHARD = "train-00000-of-00001.tfrecord"


def left_over(tmp_path):
    """A call that was stopped: `out.partial` with one finished shard, of `train`."""
    with pytest.raises(ValueError, match="is damaged"):
        write(tmp_path / "out", {"train": crowds(4), "z": crowds(1, trouble="damaged")})
    assert {SHARD, temporary.MARKER} <= {*os.listdir(tmp_path / "out.partial")}


@pytest.mark.parametrize("name", ["thesis.txt", SHARD, f"{SHARD}.finished.json", MANIFEST, "replaced/notes.txt"])
@pytest.mark.parametrize("folder", ["out.partial", "out"])
def test_a_folder_of_the_user_that_has_the_name(tmp_path, folder, name):
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True)
    path.write_text('{"format_version": 1, "splits": {}, "mine": 1}' if folder == "out.partial" else "mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=rf"{folder} .*"):
        write(tmp_path / "out", {"train": crowds(1)}, overwrite=name != MANIFEST)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["thesis.txt", "other-00000-of-00001.tfrecord", "replaced", "train-labels-0123456789ab.tfrecord", "runs/best.h5"],
)
@pytest.mark.parametrize("folder", ["out.partial", "out"])
def test_a_file_of_the_user_among_ours(tmp_path, folder, name):
    if folder == "out":
        write(tmp_path / "out", {"train": crowds(1)})
    else:
        left_over(tmp_path)
        if name.startswith("other"):
            pytest.skip("a shard of a split that there was before")
    path = tmp_path / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=rf"{folder} also holds '{name.split('/')[0]}'.* Move it away"):
        write(tmp_path / "out", {"train": crowds(2)}, overwrite=True)
    assert contents(tmp_path) == before
    path.unlink()
    if path.parent != tmp_path / folder:
        path.parent.rmdir()
    assert write(tmp_path / "out", {"train": crowds(2)}, overwrite=True)["splits"]["train"]["images"] == 2
    assert os.listdir(tmp_path) == ["out"]


def test_what_comes_while_records_are_built(tmp_path):
    """Neither what comes into the output is deleted, nor what comes into the folder that takes its place."""
    out = tmp_path / "out"
    write(out, {"train": crowds(1)})
    before = contents(out)

    class Slow(Crowd):
        def load(self):
            (out / "thesis.txt").write_text("mine")
            (tmp_path / "out.partial" / "notes.txt").write_text("mine too")
            return super().load()

    with pytest.raises(FileExistsError, match=r"out also holds 'thesis.txt', which --overwrite would delete"):
        write(out, {"train": [Slow("a", 1)]}, overwrite=True)
    assert contents(out) == {**before, "thesis.txt": b"mine"}
    assert (tmp_path / "out.partial" / "notes.txt").read_text() == "mine too"


def test_records_that_come_while_others_are_built(tmp_path):
    out = tmp_path / "out"

    class Slow(Crowd):
        def load(self):
            write(tmp_path / "other", {"train": crowds(3)})
            os.rename(tmp_path / "other", out)
            return super().load()

    with pytest.raises(FileExistsError, match=r"out exists already. Give --overwrite"):
        write(out, {"train": [Slow("a", 1)]})
    assert read_manifest(str(out))["splits"]["train"]["images"] == 3


def test_files_beside_the_output_stay(tmp_path):
    for name in ("out.replaced", "out.writing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    (tmp_path / "out.lock").write_text("mine")
    before = contents(tmp_path)
    for overwrite in (False, True):
        write(tmp_path / "out", {"train": crowds(2)}, overwrite=overwrite)
    after = contents(tmp_path)
    assert {name: content for name, content in after.items() if name.split("/")[0] != "out"} == before


def test_a_link_to_records(tmp_path):
    """What it leads to is replaced, on its own disk; the link stays."""
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk" / "records", {"train": crowds(1)})
    os.symlink(tmp_path / "disk" / "records", tmp_path / "out")
    write(tmp_path / "out", {"train": crowds(2)}, overwrite=True)
    assert (tmp_path / "out").is_symlink() and len(read_index(str(tmp_path / "out"), "train")) == 2
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"] and os.listdir(tmp_path / "disk") == ["records"]


def test_two_builds_at_once(tmp_path):
    """The second ends, and names the first, which does not notice."""
    out, told = tmp_path / "out", []

    class Slow(Crowd):
        def load(self):
            if not told:
                with pytest.raises(BlockingIOError) as refused:
                    write(out, {"train": crowds(3)})
                told.append(str(refused.value))
            return super().load()

    write(out, {"train": [Slow("a", 1), *crowds(2)]})
    assert f"held by process {os.getpid()} on " in told[0] and f"building records in '{out}' since" in told[0]
    assert len(read_index(str(out), "train")) == 3 and os.listdir(tmp_path) == ["out"]


@pytest.fixture(scope="module")
def of_before_and_after(tmp_path_factory):
    """Records of two images and of three, without labels, and what they hold."""
    folder = tmp_path_factory.mktemp("records")
    return [contents(write_and_return(folder / str(number), number)) for number in (2, 3)]


def write_and_return(folder, number, **options):
    write(folder, {"train": crowds(number)}, **options)
    return folder


def place(folder, files_of):
    folder.mkdir()
    for name, content in files_of.items():
        (folder / name).write_bytes(content)


def test_killed_while_records_are_replaced(tmp_path, of_before_and_after, monkeypatch):
    """Before every change of the disk: the records of before are there and whole, or the new ones."""
    work, (before, after) = tmp_path / "work", of_before_and_after
    out = work / "out"

    def start():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (work / "thesis.txt").write_text("mine")
        place(out, before)
        files.remove_abandoned.cache_clear()

    start()
    kills = away = 0
    for _ in killed_everywhere(lambda: write(out, {"train": crowds(3)}, overwrite=True)):
        kills += 1
        # Between two moves nothing has the name; the next call puts it back before all else.
        away += not out.exists()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(dataset, "plan_shards", lambda splits: 1 / 0)
            write(out, {"train": crowds(3)}, overwrite=True)
        found = contents(out)
        assert found.items() >= before.items() or found.items() >= after.items()
        write(out, {"train": crowds(3)}, overwrite=True)
        assert contents(work) == {"thesis.txt": b"mine", "out": None} | {f"out/{name}": after[name] for name in after}
        start()
    assert kills > 20 and away == 1


def test_killed_between_the_two_moves(tmp_path, of_before_and_after, monkeypatch):
    """Labels of every kind are those of before, though the records that hold them had lost their name."""
    out = tmp_path / "out"
    place(out, of_before_and_after[0])
    write_labels_of_all_kinds(str(out), "train", "img 0", "img 1")
    labels, rename = labels_of(str(out), "train"), os.rename

    def killed(source, target):
        if str(source).endswith(".partial"):
            raise Killed
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "rename", killed)
        write(out, {"train": crowds(3)}, overwrite=True)
    assert not out.exists()
    with pytest.raises(FileExistsError, match="out exists already. Give --overwrite"):
        write(out, {"train": crowds(3)})
    assert labels_of(str(out), "train") == labels
    write(out, {"train": crowds(3)}, overwrite=True)
    assert labels_of(str(out), "train") == labels and not owned.others(str(out))
    assert os.listdir(tmp_path) == ["out"]


def test_the_lock_of_a_killed_build_is_told(tmp_path, capsys):
    holder = '{"host": "zeus", "process": 7, "since": "2026-07-01T12:00:00Z", "doing": "building records in \'out\'"}'
    pathlib.Path(f"{tmp_path}/out.{lock.NAME}").write_text(holder)
    write(tmp_path / "out", {"train": crowds(1)})
    assert "left by process 7 on zeus, building records in 'out' since 2026-07" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["out"]
