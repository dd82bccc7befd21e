"""What the commands of this package share: how they start, and how they tell of errors."""

import functools
import sys
from collections.abc import Callable

import tensorflow as tf
from absl import app


def reporting_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Makes a main function tell what a user can mend in a line, without a traceback, and return 1; 130 for Ctrl-C."""

    @functools.wraps(main)
    def reporting(*arguments, **keywords) -> int:
        try:
            return main(*arguments, **keywords)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"Error: {error}\n")
            return 1
        except KeyboardInterrupt as interrupt:
            sys.stderr.write(f"\n{str(interrupt) or 'Stopped.'}\n")
            return 130

    return reporting


def run(main: Callable[..., int], define_flags: Callable[[], None]) -> None:
    """Defines the flags of a command and runs it."""
    # Only images are decoded or drawn here: the memory of the graphics card is left to those who need it.
    tf.config.set_visible_devices([], "GPU")
    define_flags()
    app.run(main)
