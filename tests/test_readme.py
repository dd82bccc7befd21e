"""The commands of README, docs, studies and flagfiles can be given as they stand, and links lead somewhere."""

import importlib
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from absl import flags as absl_flags

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted(ROOT.glob("docs/**/*.md")) if not {"_build", "generated"} & set(path.parts)),
    *sorted(ROOT.glob("results/studies/*/README.md")),
]
# The how-to pages name files and flags that their readers make; `docs/test_how_to` does what they say.
TEXTS = [
    *(page for page in PAGES if page.parent.name != "how_to"),
    ROOT / "Makefile",
    *sorted(ROOT.glob("configs/**/*.flags")),
]
PLAIN_KERAS = ROOT / "docs" / "tutorials" / "plain_keras.md"
COMMANDS = sorted(
    {
        match[1].strip()
        for path in TEXTS
        for match in re.finditer(r"(python -m (?:tfcount|tfrecords_tools)\.[^\n`#|;]*)", path.read_text())
    }
)


def known_flags(module):
    values = absl_flags.FlagValues()
    importlib.import_module(module).define_flags(values)
    return set(values)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command):
    words = shlex.split(command.replace("\\", " "))
    module = words[2]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(page):
    """That headings are there is seen by `make docs`, which also draws what lies under `generated`."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for path in re.findall(r"\]\((?!http|#)([^)#]+)[^)]*\)", text):
        assert path.startswith("generated/") or (page.parent / path).exists(), path


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_are_there(page):
    folders = "benchmarks|configs|docs|results|tests|tfcount|tfrecords_tools"
    for path in re.findall(rf"(?<![\w/])(?:{folders})/[\w/]+\.\w+", page.read_text()):
        assert path.startswith("docs/_build") or (ROOT / path).exists(), path


def test_the_script_of_plain_keras(tmp_path):
    """The loss in a script that uses nothing else of tfcount, and counts as many people as it says."""
    scripts = re.findall(r"^```python\n(.*?)^```", PLAIN_KERAS.read_text(), re.DOTALL | re.MULTILINE)
    script = next(script for script in scripts if "tfcount.losses" in script)
    assert sum(bool(line.strip()) for line in script.splitlines()) <= 18
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    counts = [float(count) for count in re.findall(r"\d+\.\d*", result.stdout.splitlines()[-1])]
    # What the counter was given, and what the page says that comes out.
    assert [float(people) for people in re.search(r"# about (.*)", script)[1].split(", ")] == [2, 5, 10, 20]
    assert counts == pytest.approx([2, 5, 10, 20], rel=0.2, abs=1), result.stdout
