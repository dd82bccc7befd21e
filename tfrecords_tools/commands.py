"""What the commands of this package share: how they start, and how they tell of errors."""

import functools
import importlib
import sys
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfcount import commands


def reporting_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Makes a main function tell what a user can mend in a line, without a traceback, and return 1; 130 for Ctrl-C."""

    @functools.wraps(main)
    def reporting(*arguments, **keywords) -> int:
        try:
            return main(*arguments, **keywords)
        except (ValueError, OSError) as error:
            return commands.fail(error)
        except KeyboardInterrupt as interrupt:
            sys.stderr.write(f"\n{str(interrupt) or 'Stopped.'}\n")
            return 130

    return reporting


def run(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a command of this package and ends the process with its exit code, as those of tfcount.

    Args:
      name: of its module, with `define_flags`, `REQUIRED`, `ARGUMENTS` and `main`, see `tfcount.commands.run_module`.
      arguments: of the command line; those of the process if None.
    """
    path = f"tfrecords_tools.{name}"

    def start(rest, values):
        # Only images are decoded or drawn here: the memory of the graphics card is left to those who need it.
        tf.config.set_visible_devices([], "GPU")
        return importlib.import_module(path).main([path, *rest], values)

    commands.run_module(path, arguments, start)
