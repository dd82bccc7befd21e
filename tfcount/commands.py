"""How commands start, answer `--help`, tell of errors, and end."""

import importlib
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
from tfcount.flags import RUN, FlagValues, flagfiles

# In the order in which people need them.
NAMES = ("train", "evaluate", "compare", "calibrate", "export", "predict", "select_labels")


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
    """Runs a command and ends the process with its exit code.

    What a user can mend is told in a line, without a traceback, with exit code 1. SIGTERM, like Ctrl-C, ends it with
    its temporary files removed; training has its own answer to both.

    Args:
      name: one of `NAMES`; its module has `define_flags(values)`, which returns the names of flags by heading or None,
        `REQUIRED`, the flags that must be given, `ARGUMENTS`, what follows them (empty if nothing does), and
        `main(arguments, values)`, which returns the exit code or None.
      arguments: of the command line; those of the process if None.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    module = importlib.import_module(f"tfcount.{name}")
    values = FlagValues()
    headings = module.define_flags(values) or {"Flags": list(values)}
    # What follows "--" are no flags, but files of such names.
    before_files = set(arguments[: list(arguments).index("--")] if "--" in arguments else arguments)
    if {"--help", "-help", "-h", "--helpshort", "--helpfull"} & before_files:
        sys.stdout.write(_help(name, module, values, headings))
        sys.exit(0)
    if "--version" in before_files:
        sys.stdout.write(f"tfcount {_version()}\n")
        sys.exit(0)
    try:
        rest = values([name, *arguments])[1:]
        for required in module.REQUIRED:
            if values[required].value is None:
                raise flags.Error(f"--{required} must be given: {_lower(values[required].help)}")
        if rest and not module.ARGUMENTS:
            raise flags.Error(f"unexpected arguments {rest}; flags are written like --model_dir=DIR.")
    except (flags.Error, OSError) as error:
        message = str(error).removeprefix("ERROR:: ")  # Of flagfiles, absl says it so.
        sys.stderr.write(f"Error: {message}\nTry `python -m tfcount.{name} --help`.\n")
        sys.exit(1)
    logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(_guarded(module.main, rest, values))


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
            return _fail(ours)
    except (ValueError, OSError, FloatingPointError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return 128 + signal.SIGINT


def _fail(error):
    sys.stderr.write(f"Error: {error}\n")
    return 1


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


def _help(name: str, module, values: FlagValues, headings: Mapping[str, list[str]]) -> str:
    """Returns the help text of a command: what it does, how it is called, and its flags by heading."""
    width = min(shutil.get_terminal_size((100, 20)).columns, 110)
    required = "".join(f" --{flag}=..." for flag in module.REQUIRED)
    lines = [_summary(module), "", f"tfcount {name}{required} [FLAGS] {module.ARGUMENTS}".rstrip()]
    example = re.search(r"`(python -m [^`]+)`", module.__doc__)
    if example:
        lines.append(example[1])
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
        written = f"--{flag.name}=..."
        default = "" if flag.default in (None, "") else f" [{flag.default}]"
    text = textwrap.wrap(flag.help + default, width - 6, break_on_hyphens=False, break_long_words=False)
    return [f"  {written}", *(f"      {line}" for line in text)]


def _lower(text):
    """Returns a sentence as it stands inside of another one."""
    return text[0].lower() + text[1:]
