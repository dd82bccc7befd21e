"""What tests of commands that are killed share: a kill before each change of a folder, and what lies where."""

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

# Each is one step that another process sees as done or not done.
CHANGES = ("rename", "replace", "remove", "unlink", "rmdir", "link", "mkdir", "ftruncate")


class Killed(BaseException):
    """Stands for SIGKILL: nothing on disk changes any more."""


def killed_everywhere(action: Callable[[], object]) -> Iterator[int]:
    """Calls `action` again and again, killed before its first change of the disk, before its second, and so on.

    Gives the number of the change after each kill, and ends when nothing was left to be killed.
    """
    for number in range(1000):
        with pytest.MonkeyPatch.context() as patch:
            steps = iter(range(number))

            def change(*arguments, whole, steps=steps, **keywords):
                if next(steps, None) is None:
                    raise Killed
                return whole(*arguments, **keywords)

            for name in CHANGES:
                whole = getattr(os, name)
                patch.setattr(os, name, lambda *a, whole=whole, change=change, **k: change(*a, whole=whole, **k))
            try:
                action()
            except Killed:
                pass
            else:
                return
        yield number
    raise AssertionError("endless")


def contents(folder: pathlib.Path) -> dict[str, bytes | None]:
    """Returns what every file below a folder holds, and None for every folder."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}
