"""How commands start, answer `--help`, tell of errors, and end."""

import importlib
import inspect
import json
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags, logging

from tfcount.banner import import_tensorflow
from tfcount.flagfiles import flagfiles, is_text, read_command_line
from tfcount.flags import RUN

# In the order in which people need them.
NAMES = ("train", "evaluate", "compare", "calibrate", "export", "predict", "select_labels")

FlagValues = flags.FlagValues

# Of all commands; it holds the last file of flags of a command line.
FLAGFILE = "flagfile"


class Output:
    """Where a command writes: what people read, and with `--json` one document for programs.

    Args:
      as_json: whether `document` is written to standard output, and all else to standard error.
    """

    def __init__(self, as_json: bool):
        self.as_json = as_json
        self.stream = sys.stderr if as_json else sys.stdout

    def say(self, text: str) -> None:
        """Writes what people read."""
        self.stream.write(text)

    def document(self, content: Any) -> None:
        """Writes the one JSON document, if it is asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def define_json(values: FlagValues) -> None:
    """Defines `--json`, for commands whose results programs read."""
    text = "Print one JSON document to standard output, and everything else to standard error."
    flags.DEFINE_bool("json", False, text, flag_values=values)


def run(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a command of tfcount and ends the process with its exit code; see `run_module`.

    Args:
      name: one of `NAMES`.
      arguments: of the command line; those of the process if None.
    """
    run_module(f"tfcount.{name}", arguments)


def run_module(path: str, arguments: Sequence[str] | None = None, start: Callable | None = None) -> None:
    """Runs the command that a module is and ends the process with its exit code.

    What a user can mend is told in a line, without a traceback, with exit code 1. SIGTERM, like Ctrl-C, ends it with
    its temporary files removed; training has its own answer to both.

    Args:
      path: of the module, which has `define_flags(values)`, which returns the names of flags by heading or None,
        `REQUIRED`, the flags that must be given, `ARGUMENTS`, what follows them (empty if nothing does), and
        `main(arguments, values)`, which returns the exit code or None.
      arguments: of the command line; those of the process if None.
      start: called with the arguments and the values, once TensorFlow is imported, in place of the main function.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    module = importlib.import_module(path)
    values = FlagValues()
    headings = module.define_flags(values) or {"Flags": list(values)}
    flags.DEFINE_string(FLAGFILE, "", "File of flags.", flag_values=values)
    try:
        line = read_command_line(arguments, values)
        if line.asks == "help":
            sys.stdout.write(_help(path, module, values, headings))
            sys.exit(0)
        if line.asks == "version":
            sys.stdout.write(f"tfcount {_version()}\n")
            sys.exit(0)
        for flag in line.flags:
            if not is_text(flag):
                raise ValueError(f"{_shown(flag)} is not text in UTF-8 without control characters.")
        # The names of files among the arguments may look like flags.
        values([path, *line.flags])
        values[FLAGFILE].value = line.flagfile
        for required in module.REQUIRED:
            if values[required].value in (None, ""):
                raise ValueError(f"--{required} must be given: {_lower(values[required].help)}")
        if line.arguments and not module.ARGUMENTS:
            raise ValueError(
                f"unexpected arguments {_shown(line.arguments)}; flags are written like --{_example(values)}=DIR."
            )
    except (flags.Error, ValueError, OSError) as error:
        fail(error)
        sys.stderr.write(f"Try `python -m {path} --help`.\n")
        sys.exit(1)
    logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(_guarded(start or module.main, line.arguments, values))


def main() -> None:
    """Runs `tfcount COMMAND ...`."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--version"]:
        sys.stdout.write(f"tfcount {_version()}\n")
    elif not arguments or arguments[0] in ("--help", "-h", "help"):
        if arguments[1:] and arguments[1] in NAMES:
            run(arguments[1], ["--help"])
        sys.stdout.write(_overview())
    elif arguments[0] not in NAMES:
        sys.stderr.write(f"Error: tfcount has no command {arguments[0]!r}; it has {', '.join(NAMES)}.\n")
        sys.exit(1)
    else:
        run(arguments[0], arguments[1:])


def _guarded(command: Callable, arguments: list[str], values: FlagValues) -> int | None:
    """Runs the main function of a command; tells what a user can mend in a line."""
    try:
        # It takes seconds, in which people may change their minds.
        import_tensorflow()
        import tensorflow as tf

        from tfcount import errors

        try:
            return command(arguments, values)
        except tf.errors.OpError as error:
            ours = errors.translate(error)
            if ours is None:
                raise
            return fail(ours)
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        return fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return 128 + signal.SIGINT


def fail(error: Exception) -> int:
    """Tells of an error in a line; returns 1."""
    # Errors of TensorFlow, Keras and HDF5 may have many lines.
    text = re.sub(r"\s*\n\s*", " ", str(error).strip()) or type(error).__name__
    sys.stderr.write(f"Error: {text}\n")
    return 1


def _shown(value):
    """Returns a value as Python writes it, cut if it is long."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _example(values):
    return next((name for name in ("model_dir", "input", "output") if name in values), "flag")


def _version():
    import tfcount

    return tfcount.__version__


def _overview():
    lines = ["Crowd counting with the labels people can afford.", "", "tfcount COMMAND [FLAGS]", ""]
    for name in NAMES:
        summary = _summary(importlib.import_module(f"tfcount.{name}"))
        lines.append(f"  {name:<15}{summary}")
    lines += ["", "`tfcount COMMAND --help` tells the flags of a command, `tfcount --version` the version."]
    lines += ["`python -m tfcount.COMMAND` is the same. Records are made by `python -m tfrecords_tools.build`."]
    return "\n".join(lines) + "\n"


def _summary(module):
    """Returns the first sentence of a command's docstring, without the example behind it."""
    return re.split(r"[:.] `|\n", module.__doc__)[0].rstrip(":.") + "."


def _help(path: str, module, values: FlagValues, headings: Mapping[str, list[str]]) -> str:
    """Returns the help text of a command: what it does, how it is called, and its flags by heading."""
    package, _, name = path.rpartition(".")
    call = f"tfcount {name}" if package == "tfcount" else f"python -m {path}"
    width = min(shutil.get_terminal_size((100, 20)).columns, 110)
    required = "".join(f" --{flag}=..." for flag in module.REQUIRED)
    lines = [_summary(module), "", f"{call}{required} [FLAGS] {module.ARGUMENTS}".rstrip()]
    example = re.search(r"`(python -m [^`]+)`", module.__doc__)
    if example:
        lines.append(example[1])
    # What else it says, its examples among it.
    more = inspect.cleandoc(module.__doc__).partition("\n\n")[2]
    if more:
        lines += ["", *more.splitlines()]
    for heading, names in headings.items():
        lines += ["", f"{heading}:"]
        for flag in names:
            lines += _flag_lines(values[flag], width)
    lines += ["", "--flagfile=FILE reads flags from a file, one a line; those that are given besides count."]
    # The flagfiles that come with tfcount are those of training.
    if RUN in headings:
        text = f"tfcount brings these, found from every folder: {', '.join(flagfiles())}."
        lines += textwrap.wrap(text, width, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _flag_lines(flag, width):
    if flag.boolean:
        written, default = f"--[no]{flag.name}", "" if flag.default is None else f" [{str(flag.default).lower()}]"
    else:
        choices = getattr(flag.parser, "enum_values", None)
        written = f"--{flag.name}=<{'|'.join(choices)}>" if choices else f"--{flag.name}=..."
        default = "" if flag.default in (None, "") else f" [{flag.default}]"
    text = [
        line
        for paragraph in (flag.help + default).splitlines()
        for line in textwrap.wrap(paragraph, width - 6, break_on_hyphens=False, break_long_words=False)
    ]
    return [f"  {written}", *(f"      {line}" for line in text)]


def _lower(text):
    """Returns a sentence as it stands inside of another one."""
    return text[0].lower() + text[1:]
