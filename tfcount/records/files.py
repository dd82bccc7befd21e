"""Files that are complete or not there."""

import contextlib
import os
from collections.abc import Iterator


def write_file(path: str, content: str | bytes) -> None:
    """Writes a file under a temporary name and moves it into place; makes its folder if need be.

    Args:
      path: of the file.
      content: text, which is encoded as UTF-8, or bytes.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        with replacing(path, f"{path}.writing") as temporary, open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


@contextlib.contextmanager
def replacing(path: str, temporary: str) -> Iterator[str]:
    """Moves what is written inside under a temporary name into place, or removes it where writing fails or is stopped.

    Args:
      path: of the file.
      temporary: what it is called until it is complete, in the same folder.
    """
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        # Also where a signal ends the command.
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
