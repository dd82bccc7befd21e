"""Follows a how-to page literally, in a copy of the project.

A page says what to do in three ways, each before a fenced block: "Write `PATH`:" makes a file, "In `PATH`, after
`LINE`:" inserts below a line, and a block without a language holds commands. Nothing else is done.
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parent.parent.parent
_STEP = re.compile(
    r"(?:Write `(?P<file>[^`]+)`:|In `(?P<changed>[^`]+)`, after `(?P<line>[^`]+)`:)?\s*"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<block>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


def copy_project(folder: pathlib.Path) -> None:
    """Copies what pages change and run."""
    for name in ("tfcount", "tfrecords_tools", "tests", "setup.cfg", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def follow(page: pathlib.Path, folder: pathlib.Path, replaced: dict[str, str]) -> list[str]:
    """Does what a page says in a copy of the project, with some words of its commands replaced.

    Returns:
      The commands that were run.
    """
    commands = []
    for step in _STEP.finditer(page.read_text()):
        block = textwrap.dedent(step["block"])
        if step["file"]:
            path = folder / step["file"]
            assert not path.exists(), f"{page.name} writes {step['file']}, which is there"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
        elif step["changed"]:
            path = folder / step["changed"]
            lines = path.read_text().splitlines(keepends=True)
            number = lines.index(f"{step['line']}\n") + 1
            indented = textwrap.indent(block, " " * (len(step["line"]) - len(step["line"].lstrip())))
            path.write_text("".join([*lines[:number], block if block[0] == " " else indented, *lines[number:]]))
        else:
            assert not step["language"], f"{page.name} has a block that says nothing of where it belongs: {block}"
            for line in block.splitlines():
                words = [replaced.get(word, word) for word in shlex.split(line)]
                assert words[0] == "python", line
                result = subprocess.run(
                    [sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False
                )
                assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
                commands.append(line)
    return commands
