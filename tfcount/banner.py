"""Commands import TensorFlow without the lines that it writes about the machine."""

import os
import re
import sys
import tempfile

# What TensorFlow 2.21 writes when it is imported, before its log level can be set: which CPU it found, that there is
# no graphics card. Eight lines in front of the output of every command.
_BANNER = re.compile(r"WARNING: All log messages before absl|[IE]\d{4} .*(port|cud\w+|cpu_feature_guard)\.cc|To enable")


def import_tensorflow() -> None:
    """Imports TensorFlow without its banner; everything else that is written meanwhile is shown afterwards.

    For commands alone: it redirects standard error of the whole process for as long as the import takes.
    """
    if "tensorflow" in sys.modules:
        return
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
