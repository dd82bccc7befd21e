"""What commands answer before they do anything: help texts, versions, and what is wrong with flags."""

import subprocess
import sys

import pytest

from tests.test_commands import ROOT, command
from tfcount import commands

MODULES = [f"tfcount.{name}" for name in commands.NAMES]


@pytest.mark.parametrize(
    "module, arguments, message",
    [
        ("tfcount.train", ["--data_dir=no/such", "--model_dir=x"], "Error: No records in 'no/such'"),
        ("tfcount.train", ["--data_dir=x", "--model_dir=x", "extra"], "Error: unexpected arguments ['extra']"),
        ("tfcount.train", ["--model_dir=x", "--train_steps=-1"], "Error: --train_steps must be at least 1"),
        ("tfcount.train", ["--model_dir=x", "--train_stepz=1"], "Unknown command line flag 'train_stepz'"),
        ("tfcount.evaluate", ["--model_dir=no/such"], "Error: 'no/such' holds no run"),
        ("tfcount.export", ["--model_dir=no/such", "--output=x"], "Error: 'no/such' holds no run"),
        ("tfcount.predict", ["--savedmodel=no/such", "README.md"], "Error: 'no/such' holds neither a run"),
        ("tfcount.predict", ["--savedmodel=x"], "Error: which pictures?"),
        ("tfcount.predict", ["--savedmodel=x", "no/such"], "Error: 'no/such' does not exist"),
        ("tfcount.predict", ["--savedmodel=x", "configs"], "Error: 'configs' holds no image"),
        ("tfcount.predict", ["--savedmodel=x", "--", "-h", "--version"], "Error: '-h' does not exist"),
    ],
)
def test_wrong_arguments(module, arguments, message):
    assert message in command(module, *arguments, code=1).stderr


@pytest.mark.parametrize("module", MODULES)
def test_help(module):
    result = command(module, "--help")
    assert f"python -m {module}" in result.stdout
    assert "--" in result.stdout and "tensorflow" not in result.stderr.lower()


def test_flags_are_grouped_and_those_of_methods_come_last():
    text = command("tfcount.train", "--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "The run:" and headings[1] == "What learns, and how:"
    last = [heading for heading in headings if "Only with --method=" in heading]
    assert last and headings[-len(last) :] == last
    assert (
        text.index("--data_dir") < text.index("--model_dir") < text.index("--method") < text.index("--l2sm_divisions")
    )
    assert all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_overview(arguments):
    text = command("tfcount", *arguments).stdout
    assert all(f"\n  {name} " in text for name in commands.NAMES)


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"]])
def test_version(arguments):
    assert command("tfcount", *arguments).stdout.startswith("tfcount ")


def test_the_same_commands():
    assert command("tfcount", "help", "train").stdout == command("tfcount.train", "--help").stdout
    assert command("tfcount", "train", "--help").stdout == command("tfcount.train", "--help").stdout
    errors = command("tfcount", "evaluate", "--model_dir=no/such", code=1).stderr
    assert errors == command("tfcount.evaluate", "--model_dir=no/such", code=1).stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["trian"], "Error: tfcount has no command 'trian'; it has train, evaluate,"),
        (["evaluate"], "Error: --model_dir must be given: folder of the run."),
        (["export", "--model_dir=x"], "Error: --output must be given: folder of the versions"),
        (["train", "--flagfile=no/such"], "Error: There is no flagfile 'no/such', neither from here"),
        (["select_labels", "--data_dir=x", "--number=0"], "--number=0"),
    ],
)
def test_flags_that_cannot_be_read(arguments, message):
    result = command("tfcount", *arguments, code=1)
    assert message in result.stderr and not result.stdout


def test_they_answer_without_tensorflow():
    """Which takes seconds to import: with it out of reach, help and wrong flags are answered all the same."""
    program = (
        "import sys; sys.modules['tensorflow'] = None; from tfcount.commands import run; run('train', sys.argv[1:])"
    )
    for argument, code in (("--help", 0), ("--version", 0), ("--train_stepz=1", 1)):
        result = subprocess.run([sys.executable, "-c", program, argument], cwd=ROOT, capture_output=True, check=False)
        assert result.returncode == code and b"Traceback" not in result.stderr


def test_ctrl_c_while_tensorflow_is_imported():
    """That takes most of the time of a short command; it ends with a line, too."""
    program = """
import os, signal, sys
from tfcount import commands

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Slow())
signal.signal(signal.SIGINT, signal.default_int_handler)
commands.run("evaluate", ["--model_dir=x"])
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 130 and result.stderr == "\nStopped.\n"
