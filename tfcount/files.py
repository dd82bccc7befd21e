"""Files that are complete or not there."""

import contextlib
import os


def write_file(path: str, content: str | bytes) -> None:
    """Writes a file under a temporary name and moves it into place; makes its folder if need be.

    Args:
      path: of the file.
      content: text, which is encoded as UTF-8, or bytes.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.writing"
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise OSError(error.errno, error.strerror, path) from error
