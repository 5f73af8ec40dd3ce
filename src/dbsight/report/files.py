"""Files that readers never see incomplete: written beside the target, and renamed."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable


def replace_file(path: str | os.PathLike[str], write: Callable[[TextIO], object]) -> Path:
    """Write a file in UTF-8 and put it in the place of the old one.

    Args:
        path: The file; it is replaced atomically, or left unchanged.
        write: Called with the open file.

    Raises:
        OSError: The directory does not exist, is not writable, or is full.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        # A lone surrogate, as in a file name that is not UTF-8, becomes an escape sequence.
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            write(file)
        os.replace(name, target)  # noqa: PTH105 - atomic on every system, and the name is a string here
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - as above
        raise
    return target
