"""Crowd counting with the labels people can afford, on TensorFlow and Keras.

>>> import tfcount
>>> tfcount.load("runs/resnet50_sha").count("picture.jpg")
"""

import os
import re
import sys
import tempfile

# What TensorFlow 2.21 writes when it is imported, before its log level can be set: which CPU it found, that there is
# no graphics card. Eight lines in front of the output of every command.
_BANNER = re.compile(r"WARNING: All log messages before absl|[IE]\d{4} .*(port|cud\w+|cpu_feature_guard)\.cc|To enable")


def _import_tensorflow():
    """Imports TensorFlow without its banner; everything else that is written meanwhile is shown afterwards."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # Looks for graphics cards, and says so if there is none.
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines():
                if not _BANNER.match(line):
                    sys.stderr.write(f"{line}\n")


if "tensorflow" not in sys.modules:
    _import_tensorflow()


def __getattr__(name):
    """Imports `load` when it is first used: readers of records need no networks."""
    if name == "load":
        from tfcount.serving import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
