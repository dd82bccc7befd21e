"""Every flag of every command with every kind of nonsense: a line that names it, no traceback, and nobody waits."""

import errno
import importlib
import os
import shutil
import signal

import cv2
import numpy as np
import pytest

from tfcount import commands, comparison, flags, runs, training
from tfcount.labeling import simulation
from tfrecords_tools import commands as tools

STOP = "everything is understood"
# What stands besides the flag in question.
BASES = {
    "tfcount.train": ["--data_dir={crowds}", "--model_dir=new"],
    "tfcount.evaluate": ["--model_dir={run}", "--output=new"],
    "tfcount.compare": ["results/one", "results/other"],
    "tfcount.export": ["--model_dir={run}", "--output=new"],
    "tfcount.predict": ["--savedmodel={run}", "picture.png"],
    "tfcount.calibrate": ["--model_dir={run}", "--data_dir={crowds}"],
    "tfcount.select_labels": ["--data_dir={crowds}", "--output=new.csv", "--model_dir={run}", "--strategy=anchors"],
    "tfrecords_tools.build": ["--dataset=folder", "--input=pictures", "--output=new"],
    "tfrecords_tools.show": ["{crowds}", "--id=train_00000", "--out=new.png"],
    "tfrecords_tools.synthesize": [
        "--output=new",
        "--train_images=1",
        "--test_images=0",
        "--height=64",
        "--width=64",
        "--max_people=5",
    ],
}
HUGE = str(10**22)
# By kind of flag: what it may be given, and whether it must be refused by its name.
ILLEGAL = {
    "int": ["", "nan", "1e400", "x", "0.5", "\udcff", "1\n2", "9" * 5000],
    "float": ["", "nan", "1e400", "-1e400", "x", "\udcff", "1,5"],
    "bool": ["", "maybe", "2", HUGE, "\udcff"],
    "str": ["\udcff", "a\0b"],
    "string enum": ["", "maybe", HUGE, "\udcff"],
}
DOUBTFUL = {"int": ["-1", "0", HUGE, f"-{HUGE}"], "float": ["-1", "0", HUGE, "1e-300", "1e300"], "str": ["", "x"]}
PATHS = ["missing", "folder", "file", "device", "pipe", "binary", "file/below", "x" * 300, "loop", "folder/"]
READ_FOLDERS = {"data_dir", "model_dir", "savedmodel", "input"}
# Whatever else is the name of something that is written.
NEW_FOLDERS = {"train --model_dir", *(f"{name} --output" for name in ("evaluate", "export", "predict"))}
NEW_FILES = {"compare --output", "select_labels --output", "show --out"}


def kinds(path):
    """Returns the flags of a command with their kinds."""
    if path == "tfcount.train":
        return {flag.name: flag.type for flag in flags.config_flags()} | {"model_dir": "str", "resume": "bool"}
    values = commands.FlagValues()
    importlib.import_module(path).define_flags(values)
    return {name: {"string": "str"}.get(values[name].flag_type(), values[name].flag_type()) for name in values}


CASES = [(path, name, kind) for path in BASES for name, kind in kinds(path).items()]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with something of every kind."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("folder")
    os.makedirs("pictures")
    # A link, so that nothing can be written in place of the device.
    os.symlink("/dev/zero", "device")
    os.symlink("loop", "loop")
    os.mkfifo("pipe")
    (tmp_path / "file").write_text("text")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name in ("one", "other"):
        os.makedirs(f"results/{name}")
        (tmp_path / "results" / name / "predictions.csv").write_text("image_id,ground_truth,predicted\na,1,2\n")
    cv2.imwrite("picture.png", np.zeros((8, 8, 3), np.uint8))
    shutil.copy("picture.png", "pictures")
    (tmp_path / "pictures" / "points.csv").write_text("image,x,y\npicture.png,1,2\n")


@pytest.fixture
def ask(place, run, crowds, monkeypatch, capsys):
    """Runs a command up to where it begins to do what takes long; returns its exit code and what it says."""

    def stop(*arguments, **keywords):
        raise ValueError(STOP)

    def overdue(number, frame):
        raise AssertionError("the command waits")

    def stop_with_a_run(self):
        self.config()
        stop()

    for name in ("load", "load_counter"):
        monkeypatch.setattr(runs.Run, name, stop_with_a_run)
    monkeypatch.setattr(training, "train", stop)
    monkeypatch.setattr(comparison, "summarize", stop)
    monkeypatch.setattr(simulation, "simulate", stop)
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM)]
    signal.signal(signal.SIGALRM, overdue)

    def asked(path, *arguments):
        package, _, name = path.partition(".")
        signal.alarm(60)
        with pytest.raises(SystemExit) as ended:
            (commands if package == "tfcount" else tools).run(name, arguments)
        signal.alarm(0)
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    yield asked
    signal.alarm(0)
    for number, handler in handlers:
        signal.signal(number, handler)


def refused(path, name, kind, value):
    """Returns whether a value must be refused by the name of the flag."""
    place = f"{path.partition('.')[2]} --{name}"
    if value in ILLEGAL[kind]:
        return True
    if kind == "int":
        return value in (HUGE, f"-{HUGE}") and place != "synthesize --seed"
    if kind == "float":
        return value == "1e300" and path == "tfcount.train"
    # Of a train flag without a value the folder is named by the flagfile.
    if place in NEW_FOLDERS and place != "train --model_dir":
        return value in ("", "file", "device", "pipe", "binary", "file/below", "loop")
    return place in NEW_FILES and value in ("", "folder", "device", "pipe", "file/below", "folder/")


@pytest.mark.parametrize(("path", "name", "kind"), CASES, ids=[f"{path}--{name}" for path, name, _ in CASES])
def test_any_value_is_answered(ask, path, name, kind, run, crowds):
    base = [argument.format(run=run, crowds=crowds) for argument in BASES[path]]
    values = ILLEGAL[kind] + DOUBTFUL.get(kind, []) + (PATHS if kind == "str" else [])
    for value in values:
        code, _, said = ask(path, *base, f"--{name}={value}")
        for written in ("new", "new.csv", "new.png"):
            shutil.rmtree(written) if os.path.isdir(written) else os.path.lexists(written) and os.remove(written)
        lines = said.rstrip("\n").split("\n")
        where = f"--{name}={value[:40]!r}: {said[:500]}"
        assert "Traceback" not in said and len(lines) <= 3, where
        if code:
            assert code == 1 and sum("Error: " in line for line in lines) == 1, where
            shown = value.encode("ascii", "backslashreplace").decode()
            named = f"--{name}" in said or (shown[:40] or "''") in said
            assert STOP in said or named, where
        assert not (name in READ_FOLDERS and path != "tfcount.train" and (not code or STOP in said)), where
        if refused(path, name, kind, value):
            assert code == 1 and f"--{name}" in said, where


def test_a_folder_that_nobody_may_write_to(ask, run, crowds, monkeypatch):
    """The superuser may, and runs tests: what the system would tell others."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for path, name in (("evaluate", "output"), ("export", "output"), ("predict", "output"), ("train", "model_dir")):
        base = [argument.format(run=run, crowds=crowds) for argument in BASES[f"tfcount.{path}"]]
        code, _, said = ask(f"tfcount.{path}", *base, f"--{name}=folder/new")
        assert code == 1 and f"Error: --{name}=folder/new: " in said and "(permission denied)" in said


@pytest.mark.parametrize("path", BASES)
def test_help_and_what_looks_like_it(ask, path):
    for argument in ("--help", "-h", "--helpfull"):
        code, out, said = ask(path, argument)
        assert code == 0 and not said and "Traceback" not in out
        call = path.replace(".", " ") if path.startswith("tfcount.") else f"python -m {path}"
        assert f"\n{call}" in out and "\n  --" in out and "those that are given besides count.\n" in out
    name = next(name for name, kind in kinds(path).items() if kind == "str")
    # As a value it is a value.
    code, out, said = ask(path, f"--{name}", "-h", "--no_such_flag=1")
    assert code == 1 and not out and "Unknown command line flag 'no_such_flag'" in said
    code, out, said = ask(path, f"--{name}")
    assert code == 1 and said.startswith(f"Error: --{name} needs a value: write --{name}=VALUE.\n")


def test_a_run_is_named_by_its_own_flagfile(ask, tmp_path, monkeypatch, crowds):
    """Not by that of the script that calls the command."""
    monkeypatch.setattr("sys.argv", ["script.py", "--flagfile=of/the/script.flags"])
    (tmp_path / "mine.flags").write_text(f"--data_dir={crowds}\n")
    named = []
    monkeypatch.setattr(training, "train", lambda config, training, held_out, run, resume: named.append(run.folder))
    assert ask("tfcount.train", "--flagfile=mine.flags")[0] in (0, None)
    assert named == [os.path.join("runs", "mine")]
    code, _, said = ask("tfcount.train", f"--data_dir={crowds}")
    assert code == 1 and said.startswith("Error: --model_dir must name a folder for the run")


def test_crops_that_memory_does_not_hold(ask, crowds):
    arguments = [f"--data_dir={crowds}", "--model_dir=new", "--data_crop=8192", "--train_batch_size=1000000"]
    code, _, said = ask("tfcount.train", *arguments)
    assert code == 1 and "Error: --data_crop=8192 and --train_batch_size=1000000: the crops of a step alone" in said


def test_an_evaluation_that_cannot_be_written_is_printed(ask, run, monkeypatch):
    """It took long; the disk may be full by then."""
    from tfcount import evaluation
    from tfcount.drawing import evaluation_figure, evaluation_table
    from tfcount.records import files

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(runs.Run, "load", lambda self: None)
    monkeypatch.setattr(evaluation, "evaluate_split", lambda *arguments: ([], {"mae": 1.0}))
    monkeypatch.setattr(evaluation, "largest_errors", lambda *arguments: {})
    monkeypatch.setattr(evaluation_figure, "draw_evaluation", lambda *arguments: b"")
    monkeypatch.setattr(evaluation_table, "format_evaluation", lambda summary: f"MAE {summary['mae']}\n")
    monkeypatch.setattr(files, "write_file", full)
    code, out, said = ask("tfcount.evaluate", f"--model_dir={run}", "--output=new")
    assert code == 1 and out == "MAE 1.0\n" and "Error: [Errno 28] No space left on device: 'new/" in said
