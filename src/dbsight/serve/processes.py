"""The files by which a user finds the processes that serve: one each, with its port and its token.

They lie in a directory that its user alone can read, below ``XDG_RUNTIME_DIR`` or the directory for temporary files. A
directory of that name that belongs to somebody else, or that others can read, is not used.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import trace

from dbsight import config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OWNER_ONLY = 0o700
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Process:
    """A process that serves.

    Attributes:
        asked: The port that its settings name; processes of one service share it.
        port: The port that it serves at: the first free one from there.
        pid: Its process id.
        token: What it wants to see with each request.
    """

    asked: int
    port: int
    pid: int
    token: str

    @property
    def url(self) -> str:
        """Where it serves, without the token."""
        return f"http://127.0.0.1:{self.port}"


def service_name() -> str:
    """``service.name`` of this process's resource, empty when there is none."""
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    return str(resource.attributes.get("service.name", "")) if resource is not None else ""


def _directories() -> Iterator[Path]:
    run = config.environment().get("XDG_RUNTIME_DIR", "")
    if run:
        yield Path(run) / "dbsight"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"dbsight-{user}"


def _is_private(directory: Path) -> bool:
    if not hasattr(os, "getuid"):
        return directory.is_dir()
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & _OTHERS


def announce(process: Process) -> Path | None:
    """Write the file of a process; None where no directory is fit for it."""
    for directory in _directories():
        try:
            directory.mkdir(mode=_OWNER_ONLY, exist_ok=True)
            if not _is_private(directory):
                continue
            path = directory / f"{process.asked}-{process.pid}-{process.port}.json"
            path.unlink(missing_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(process), file)
        except OSError:
            continue
        return path
    return None


def processes(asked: int) -> Sequence[Process]:
    """The processes of this user that were told to serve at a port, by their ports; those that are gone are left out.

    Args:
        asked: As in ``OTEL_DBSIGHT_SERVE``.
    """
    found: dict[int, Process] = {}
    for directory in _directories():
        if not _is_private(directory):
            continue
        for path in directory.glob(f"{asked}-*.json"):
            process = _read(path)
            if process is None or not _is_alive(process.pid):
                _remove(path)  # it was killed
            else:
                found[process.port] = process
    return [found[port] for port in sorted(found)]


def _read(path: Path) -> Process | None:
    try:
        return Process(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # somebody else's business


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # there, signal 0 would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
