"""Command-line flags, generated from the dataclasses of `tfcount.config`.

A field of `ExperimentConfig` is a flag of its name (`--seed`), a field of one of its parts has the part's name before
it (`--train_steps`), a field of a method's `Config` the method's name, and an option of a density loss the loss's.

The dataclasses lie beside networks and losses, which take seconds to import. So that `--help` and wrong flags are
answered at once, what the dataclasses say is kept in `flags.json`: `python -m tfcount.flags` writes it anew, and a test
compares both.
"""

import dataclasses
import functools
import inspect
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from tfcount.banner import import_tensorflow
from tfcount.flagfiles import read_flagfile

if TYPE_CHECKING:
    from tfcount.config import ExperimentConfig

TABLE = os.path.join(os.path.dirname(__file__), "flags.json")

_DEFINE: dict[str, Callable] = {
    "bool": flags.DEFINE_bool,
    "int": flags.DEFINE_integer,
    "float": flags.DEFINE_float,
    "str": flags.DEFINE_string,
}
# What 32 bits hold.
_LARGEST = 3.4e38
# What every training needs to be told comes first.
RUN = "The run"
_HEADINGS = {
    "": "What learns, and how",
    "data": "Data and augmentation",
    "density": "From points to targets and losses",
    "encoder": "Encoder",
    "train": "Optimization",
}


class ConfigFlag(NamedTuple):
    """A flag of the config.

    Attributes:
      name: without dashes.
      heading: what it decides; flags of one heading stand together in help texts.
      type: "bool", "int", "float" or "str".
      default: if it is not given.
      help: what it does.
    """

    name: str
    heading: str
    type: str
    default: bool | int | float | str
    help: str


@functools.cache
def config_flags() -> list[ConfigFlag]:
    """Returns the flags of an experiment, those of methods and losses last."""
    with open(TABLE, encoding="utf-8") as file:
        return [ConfigFlag(*row) for row in json.load(file)]


def define(values: flags.FlagValues) -> dict[str, list[str]]:
    """Defines the flags of an experiment.

    Returns:
      The names of the flags under each heading, in the order of help texts.
    """
    headings: dict[str, list[str]] = {RUN: []}
    for name, heading, kind, default, text in config_flags():
        _DEFINE[kind](name, default, text, flag_values=values)
        headings.setdefault(heading, []).append(name)
    return headings


def read(values: flags.FlagValues) -> "ExperimentConfig":
    """Builds the config that the flags say.

    Raises:
      ValueError: if a value is not legal, or a flag belongs to a method that is not chosen.
    """
    from tfcount.config import LOSS_OPTIONS, ExperimentConfig
    from tfcount.methods import METHODS

    for name, _, _ in _fields():
        if name not in values:
            raise ValueError(f"{TABLE} lacks --{name}: write it anew with `python -m tfcount.flags`.")
    parts: dict[str, dict] = {}
    chosen = {"method": values.method, "density_loss": values.density_loss}
    for name, field, part in _fields():
        flag = "method" if part in METHODS else "density_loss" if part in LOSS_OPTIONS else None
        if not flag or part == chosen[flag]:
            parts.setdefault(part, {})[field.name] = values[name].value
        elif values[name].present:
            raise ValueError(f"--{name} is a flag of --{flag}={part}, and --{flag} is {chosen[flag]!r}.")
    top = parts.pop("", {})
    method, loss = METHODS.get(values.method), LOSS_OPTIONS.get(values.density_loss)
    options = method.Config(**parts.pop(values.method, {})) if method else None
    loss_options = loss(**parts.pop(values.density_loss, {})) if loss else None
    types: dict[str, Callable] = {field.name: type(field.default) for field in dataclasses.fields(ExperimentConfig)}
    owners = {name: types[name](**part) for name, part in parts.items()}
    config = ExperimentConfig(**top, options=options, loss_options=loss_options, **owners)
    for name, _, _ in _fields():
        _check(name, values[name].value)
    return config


def _check(name, value):
    """Raises ValueError for a number that no flag may be."""
    # Seeds, which say so themselves, are not signed.
    if isinstance(value, int) and not -(2**31) <= value < 2**31 and name != "seed":
        raise ValueError(f"--{name} must be at least -2 ** 31 and below 2 ** 31. Received: {value}.")
    # An infinite factor keeps all pairs.
    if isinstance(value, float) and not abs(value) < _LARGEST and (name, value) != ("ranking_hard_ratio", math.inf):
        raise ValueError(f"--{name} must be a finite number that 32 bits hold. Received: {value}.")


def to_lines(config: "ExperimentConfig") -> list[str]:
    """Returns the flags, one a line, that differ from their defaults: a flagfile that gives an equal config."""
    lines = []
    for name, field, part in _fields():
        owners = {"": config, config.method: config.options, config.density.loss: config.loss_options}
        owner = owners.get(part, getattr(config, part, None))
        if owner is None:
            continue
        value = getattr(owner, field.name)
        if value != field.default:
            lines.append(f"--{name}={str(value).lower() if isinstance(value, bool) else value}")
    return lines


def from_file(path: str, nested: bool = True) -> "ExperimentConfig":
    """Reads a flagfile into a config.

    Args:
      path: of the file.
      nested: whether it may name other flagfiles.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a line is no flag, or its value is not legal.
    """
    values = flags.FlagValues()
    define(values)
    lines = read_flagfile(path, values, nested)
    try:
        values([path, *lines])
        return read(values)
    except (flags.Error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def from_dataclasses() -> Iterator[ConfigFlag]:
    """Yields what `config_flags` returns, as the dataclasses say it."""
    from tfcount.config import CHOICES, LOSS_OPTIONS
    from tfcount.methods import METHODS

    for name, field, part in _fields():
        text = _help(field.name, part)
        if name in CHOICES:
            text += f" One of {', '.join(sorted(CHOICES[name]))}."
        if part in METHODS:
            heading = f"Only with --method={part}"
        elif part in LOSS_OPTIONS:
            heading = f"Only with --density_loss={part}"
        else:
            heading = RUN if name == "data_dir" else _HEADINGS[part]
        yield ConfigFlag(name, heading, type(field.default).__name__, field.default, text[0].upper() + text[1:])


def _fields():
    """Yields the name of each flag, its field, and the part of the config it belongs to ("" for the top)."""
    from tfcount.config import LOSS_OPTIONS, ExperimentConfig
    from tfcount.methods import METHODS

    for field in dataclasses.fields(ExperimentConfig):
        if not dataclasses.is_dataclass(field.default) and field.name not in ("options", "loss_options"):
            yield field.name, field, ""
    for field in dataclasses.fields(ExperimentConfig):
        if dataclasses.is_dataclass(field.default):
            for inner in dataclasses.fields(field.default):
                yield f"{field.name}_{inner.name}", inner, field.name
    for name, options in LOSS_OPTIONS.items():
        for field in dataclasses.fields(options):
            yield f"{name}_{field.name}", field, name
    for name, method in METHODS.items():
        for field in dataclasses.fields(method.Config):
            yield f"{name}_{field.name}", field, name


def _help(field, part):
    """Returns what the docstring of the dataclass says of a field."""
    from tfcount.config import LOSS_OPTIONS, ExperimentConfig
    from tfcount.methods import METHODS

    if part in METHODS:
        owner = METHODS[part].Config
    elif part in LOSS_OPTIONS:
        owner = LOSS_OPTIONS[part]
    else:
        owner = type(getattr(ExperimentConfig, part)) if part else ExperimentConfig
    # A loss is described by the arguments of its constructor.
    described = re.split(r"^(?:Attributes|Args):", inspect.cleandoc(owner.__doc__ or ""), flags=re.MULTILINE)[-1]
    found = re.search(rf"^  {field}: (.*?)(?=^  \w+: |^\S|\Z)", described, re.DOTALL | re.MULTILINE)
    if not found:
        raise TypeError(f"The docstring of {owner.__name__} does not describe {field!r}.")
    return " ".join(found[1].split())


def write_table() -> None:
    """Writes `flags.json` anew."""
    from tfcount.records.files import write_file

    rows = [json.dumps(flag, ensure_ascii=False) for flag in from_dataclasses()]
    write_file(TABLE, "[\n" + ",\n".join(rows) + "\n]\n")
    sys.stdout.write(f"Written: {TABLE} ({len(rows)} flags)\n")


if __name__ == "__main__":
    import_tensorflow()
    write_table()
