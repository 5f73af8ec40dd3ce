"""A file of lines that several threads and processes append to, and that is rotated by its size.

Each write is one ``write(2)`` with ``O_APPEND``, so that lines of several processes do not mix on a local file system.
Before it, a process looks whether the path still names the file that it has open: another process, or logrotate, may
have rotated it. Who rotates holds ``flock`` on the file, so that two do not do it at once. A process that was about to
write meanwhile writes the end of the file that is now ``.1``: nothing is lost.

Windows has no ``flock`` and does not rename a file that another process has open: there, several processes that share
a file go on writing to it beyond its size.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from dbsight.safety import dropped, logger

if TYPE_CHECKING:
    from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PAUSE: Final = 30.0
"""s without another attempt after one that failed."""
_MODE: Final = 0o640
_MAX_WAITING: Final = 1000
DROPPED: Final = "lines of the query log"


class RotatingFile:
    """Appends lines; opened at the first. What goes wrong is one warning, and what was to be written is counted.

    Args:
        path: Of the file. What is no regular file, such as ``/dev/stdout`` or a named pipe, is never rotated.
        size: Bytes from which on it is rotated.
        kept: How many older files are kept: ``path.1`` is the youngest.
    """

    def __init__(self, path: str, size: int, kept: int) -> None:
        self.path = path
        self._size = size
        self._kept = kept
        self._file: int | None = None
        self._regular = False
        self._cut = False  # the last line was written in part
        self._warned = False
        self._retry_at = 0.0
        self._waiting: deque[tuple[bytes, int]] = deque()
        # Re-entrant: a finalizer may run a query while this thread is writing; then what it leaves is written next.
        self._lock = threading.RLock()
        self._writing = False

    def write(self, data: bytes, lines: int) -> None:
        """Append whole lines. Raises nothing that the operating system raises.

        Args:
            data: Ends with a line feed.
            lines: How many they are.
        """
        if len(self._waiting) >= _MAX_WAITING:  # the disk stands still
            dropped(DROPPED, lines)
            return
        self._waiting.append((data, lines))
        with self._lock:
            if self._writing:
                return
            self._writing = True
            try:
                while self._waiting:
                    self._append(*self._waiting.popleft())
            finally:
                self._writing = False

    def _append(self, data: bytes, lines: int) -> None:
        if self._retry_at and monotonic() < self._retry_at:
            dropped(DROPPED, lines)
            return
        written = 0
        try:
            file = self._current(len(data))
            if self._cut:
                data = b"\n" + data
            while written < len(data):  # a full disk takes the beginning, and then raises
                written += os.write(file, data[written:])
            self._cut = False
            self._retry_at = 0.0
        except (OSError, ValueError) as error:  # ValueError: a path with a null byte
            dropped(DROPPED, data[written:].count(b"\n") if written else lines)
            if written:
                self._cut = data[written - 1 : written] != b"\n"
            self._failed(getattr(error, "strerror", None) or type(error).__name__)

    def _failed(self, reason: str) -> None:
        self._retry_at = monotonic() + _PAUSE
        self.close()
        if not self._warned:
            self._warned = True
            logger.warning(
                "dbsight: the query log %s cannot be written (%s); it is tried again every %d s",
                self.path,
                reason,
                _PAUSE,
            )

    def _current(self, length: int) -> int:
        """The open file, after a rotation where there is no room for so many bytes more."""
        file = self._file if self._file is not None else self._open()
        if not self._regular:
            return file
        size = self._size_of(file)
        if size is None:  # another process rotated it, or somebody removed it
            file = self._reopened()
            size = self._size_of(file) or 0
        if size and size + length > self._size:
            self._rotate(file)
            file = self._reopened()
        return file

    def _open(self) -> int:
        # A named pipe that nobody reads must not block the application: without O_NONBLOCK, opening it waits.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        file = os.open(self.path, flags, _MODE)
        self._file = file
        self._regular = stat.S_ISREG(os.fstat(file).st_mode)
        if not self._regular and hasattr(os, "O_NONBLOCK"):
            os.set_blocking(file, True)
        return file

    def _reopened(self) -> int:
        self.close()
        return self._open()

    def _size_of(self, file: int) -> int | None:
        """Size of the file that the path names, None if it is not the one that is open."""
        try:
            named = os.stat(self.path)  # noqa: PTH116 - once for every batch, and pathlib takes twice as long
        except FileNotFoundError:
            return None
        opened = os.fstat(file)
        return named.st_size if (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev) else None

    def _rotate(self, file: int) -> None:
        """Rename the files, unless another process did meanwhile."""
        if fcntl is None:
            self.close()
            with suppress(PermissionError):  # another process has it open
                self._rename()
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if self._size_of(file) is not None:
                self._rename()
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _rename(self) -> None:
        if not self._kept:
            os.truncate(self.path, 0)
            return
        for number in range(self._kept - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")  # noqa: PTH105 - names, not paths
        os.replace(self.path, f"{self.path}.1")  # noqa: PTH105 - as above

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)

    def after_fork(self) -> None:
        """In a forked child: pending lines belong to the parent, and the open file would share the parent's locks."""
        self._lock = threading.RLock()
        self._writing = False
        self._waiting.clear()
        self.close()
