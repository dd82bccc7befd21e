"""The commands of the README can be given as they stand."""

import importlib
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from absl import flags as absl_flags

from tfcount import flags, select_labels
from tfrecords_tools import build, show, synthesize

ROOT = pathlib.Path(__file__).parent.parent
TEXTS = [ROOT / "README.md", ROOT / "Makefile", *sorted(ROOT.glob("configs/**/*.flags"))]
COMMANDS = sorted(
    {
        match[1].strip()
        for path in TEXTS
        for match in re.finditer(r"(python -m (?:tfcount|tfrecords_tools)\.[^\n`#|;]*)", path.read_text())
    }
)
DEFINED_IN_MAIN = {
    "tfcount.train": {"model_dir", "resume"},
    "tfcount.evaluate": {"model_dir", "data_dir", "split", "localization", "output"},
    "tfcount.export": {"model_dir", "output"},
    "tfcount.predict": {"savedmodel", "output"},
    "tfcount.compare": {"output"},
}


def known_flags(module):
    if module in DEFINED_IN_MAIN:
        values = absl_flags.FlagValues()
        if module == "tfcount.train":
            flags.define(values)
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        for name in DEFINED_IN_MAIN[module]:
            assert f'"{name}",' in source
        return set(values) | DEFINED_IN_MAIN[module]
    values = absl_flags.FlagValues()
    {one.__name__: one for one in (build, show, synthesize, select_labels)}[module].define_flags(values)
    return set(values)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command):
    words = shlex.split(command.replace("\\", " "))
    module = words[2]
    importlib.import_module(module)
    for word in words[3:]:
        if not word.startswith("--") or word == "--help":
            continue
        name, _, value = word[2:].partition("=")
        if name == "flagfile":
            assert (ROOT / value).exists() or "..." in value
        else:
            assert name in known_flags(module) or name.removeprefix("no") in known_flags(module), command


def test_there_are_commands():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()))
def test_links(path):
    assert (ROOT / path).exists()


def test_the_script_of_plain_keras(tmp_path):
    """The loss in a script that uses nothing else of tfcount."""
    scripts = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    script = next(script for script in scripts if "UnbalancedOTLoss" in script)
    assert sum(bool(line.strip()) for line in script.splitlines()) <= 15
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert len(re.findall(r"\d+\.\d+", result.stdout.splitlines()[-1])) >= 1
