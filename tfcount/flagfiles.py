"""Command lines, and the files of flags that they name."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from absl import flags

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
# The folder that holds `configs/`: a wheel has it inside of the package, a clone beside it.
ROOT = _PACKAGE if os.path.isdir(os.path.join(_PACKAGE, "configs")) else os.path.dirname(_PACKAGE)

_HELP = ("help", "h", "helpshort", "helpfull")


class CommandLine(NamedTuple):
    """What a command line says.

    Attributes:
      flags: `--name=value` or `--name`, those of flagfiles before those that are given, which count.
      arguments: all else.
      flagfile: the last file of flags that it names; "" if there is none.
      asks: "help" or "version", or "" if it asks for neither.
    """

    flags: list[str]
    arguments: list[str]
    flagfile: str = ""
    asks: str = ""


def read_command_line(arguments: Sequence[str], values: flags.FlagValues) -> CommandLine:
    """Takes a command line apart, and reads the flagfiles.

    Args:
      arguments: of the command line, without the name of the command.
      values: knows which flags there are; is left as it is.

    Raises:
      ValueError: if a flag lacks its value, or a flagfile cannot be read.
    """
    found: list[str] = []
    of_files: list[str] = []
    rest: list[str] = []
    flagfile = asks = ""
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            # What follows are no flags, but files of such names.
            rest += waiting
            break
        name, equals, given = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or not name:
            rest.append(argument)
        elif name in _HELP and not equals:
            asks = "help"
        elif name == "version" and not equals:
            asks = asks or "version"
        elif name == "flagfile" or (name in values and not values[name].boolean):
            # Also where it looks like a flag.
            value = given if equals else next(waiting, None)
            if value is None:
                raise ValueError(f"--{name} needs a value: write --{name}=VALUE.")
            if name == "flagfile":
                flagfile = value
                of_files += read_flagfile(value, values)
            else:
                found.append(f"--{name}={value}")
        else:
            found.append(argument)
    return CommandLine(of_files + found, rest, flagfile, asks)


def read_flagfile(path: str, values: flags.FlagValues, nested: bool = True) -> list[str]:
    """Reads the flags of a file, one a line; lines that begin with # or // are comments.

    Args:
      path: of the file.
      values: knows which flags there are; is left as it is.
      nested: whether it may name other flagfiles, whose flags take the place of their line.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no text, a line is no flag, or it names itself.
    """
    return list(_lines(path, values, nested, ()))


def find_flagfile(path: str) -> str:
    """Returns the path of a flagfile, which may be one that comes with tfcount.

    `configs/l2sm_sha.flags`, also inside of flagfiles, is the file of the working directory if there is one, else that
    of tfcount.

    Raises:
      FileNotFoundError: if there is no such file; the message names those that come with tfcount.
    """
    if os.path.exists(path):
        return path
    ours = os.path.join(ROOT, path)
    if os.path.isfile(ours):
        return ours
    # Those of the studies are many.
    listed = [name for name in flagfiles() if os.path.dirname(name) in ("configs", os.path.dirname(path))]
    raise FileNotFoundError(
        f"There is no flagfile {path!r}, neither from here nor among those that come with tfcount: {', '.join(listed)}."
    )


def flagfiles() -> list[str]:
    """Returns the flagfiles that come with tfcount, as `--flagfile` takes them."""
    found = glob.glob("configs/**/*.flags", root_dir=ROOT, recursive=True)
    return sorted(name.replace(os.sep, "/") for name in found)


def _lines(path: str, values: flags.FlagValues, nested: bool, within: tuple[str, ...]) -> Iterator[str]:
    path = find_flagfile(os.path.expanduser(path))
    # A device may have no end, and a pipe nobody who writes.
    if not os.path.isfile(path):
        raise ValueError(f"The flagfile {path!r} is no file.")
    if os.path.realpath(path) in within:
        raise ValueError(f"The flagfile {path!r} names itself, or one that names it.")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"The flagfile {path!r} is not encoded as UTF-8 ({error}).") from error
    for number, line in enumerate(text.split("\n"), 1):
        line, where = line.strip(), f"{path}, line {number}"
        if not line or line.startswith(("#", "//")):
            continue
        name, equals, value = line.lstrip("-").partition("=")
        if not line.startswith("-") or not is_text(line):
            raise ValueError(f"{where}: {_short(line)} is no flag; flags are written like --train_steps=100.")
        if name == "flagfile" and nested:
            yield from _lines(value, values, nested, (*within, os.path.realpath(path)))
        elif name in values or (name.startswith("no") and name[2:] in values and values[name[2:]].boolean):
            if not equals and name in values and not values[name].boolean:
                raise ValueError(f"{where}: --{name} needs a value: write --{name}=VALUE.")
            yield line
        else:
            raise ValueError(f"{where}: Unknown command line flag {_short(name)}.")


def is_text(text: str) -> bool:
    """Returns whether a text has no control characters, and nothing that is not Unicode: bytes that are not UTF-8."""
    return not re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", text)


def _short(text: str) -> str:
    """Returns a text as Python writes it, cut if it is long: it may be anything."""
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
