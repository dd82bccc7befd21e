"""Command-line flags, generated from the dataclasses of `tfcount.config`.

A field of `ExperimentConfig` is a flag of its name (`--seed`), a field of one of its parts has the part's name before
it (`--train_steps`), a field of a method's `Config` the method's name, and an option of a density loss the loss's.
"""

import dataclasses
import inspect
import re
import signal
import sys
from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import app, flags, logging

from tfcount.config import CHOICES, LOSS_OPTIONS, ExperimentConfig
from tfcount.methods import METHODS

_DEFINE: dict[type, Callable] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of an experiment."""
    for name, field, part in _fields():
        text = _help(field.name, part)
        if name in CHOICES:
            text += f" One of {', '.join(sorted(CHOICES[name]))}."
        _DEFINE[type(field.default)](name, field.default, text[0].upper() + text[1:], flag_values=values)


def read(values: flags.FlagValues = flags.FLAGS) -> ExperimentConfig:
    """Builds the config that the flags say.

    Raises:
      ValueError: if a value is not legal, or a flag belongs to a method that is not chosen.
    """
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
    return ExperimentConfig(**top, options=options, loss_options=loss_options, **owners)


def to_lines(config: ExperimentConfig) -> list[str]:
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


def from_file(path: str) -> ExperimentConfig:
    """Reads a flagfile into a config."""
    values = flags.FlagValues()
    define(values)
    try:
        values([path, f"--flagfile={path}"])
    except flags.Error as error:
        raise ValueError(f"{path}: {error}") from error
    return read(values)


def run(main: Callable[[Sequence[str]], int | None], takes_arguments: bool = False) -> None:
    """Runs the main function of a command; what a user can mend is told in a line, without a traceback.

    SIGTERM, like Ctrl-C, ends it with its temporary files removed; training has its own answer to both.
    """
    logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def guarded(argv):
        if len(argv) > 1 and not takes_arguments:
            return _fail(f"unexpected arguments {argv[1:]}; flags are written like --model_dir=DIR.")
        try:
            return main(argv)
        except (ValueError, OSError, FloatingPointError) as error:
            return _fail(error)
        except KeyboardInterrupt:
            sys.stderr.write("\nStopped.\n")
            return 128 + signal.SIGINT
        except tf.errors.DataLossError as error:
            return _fail(
                f"a record is damaged ({error.message}). `python -m tfrecords_tools.show DIR --check` tells which."
            )

    app.run(guarded)


def _fail(error):
    sys.stderr.write(f"Error: {error}\n")
    return 1


def _fields():
    """Yields the name of each flag, its field, and the part of the config it belongs to ("" for the top)."""
    for field in dataclasses.fields(ExperimentConfig):
        if dataclasses.is_dataclass(field.default):
            for inner in dataclasses.fields(field.default):
                yield f"{field.name}_{inner.name}", inner, field.name
        elif field.name not in ("options", "loss_options"):
            yield field.name, field, ""
    for name, method in METHODS.items():
        for field in dataclasses.fields(method.Config):
            yield f"{name}_{field.name}", field, name
    for name, options in LOSS_OPTIONS.items():
        for field in dataclasses.fields(options):
            yield f"{name}_{field.name}", field, name


def _help(field, part):
    """Returns what the docstring of the dataclass says of a field."""
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
