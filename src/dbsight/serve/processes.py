"""The files by which a user finds the processes that serve: one each, with its port and its token.

They lie in a directory that its user alone can read, below ``XDG_RUNTIME_DIR`` or the directory for temporary files. A
directory of that name that belongs to somebody else, or that others can read, is not used.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from dbsight import config
from dbsight.model.deferred import pattern, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROTOCOL: Final = 1
"""Version of the endpoint's paths and answers: incremented if a field changes its meaning or is removed."""

_OWNER_ONLY = 0o700
_OTHERS = 0o077
_FILE: Final = pattern(r"(\d+)-(\d+)-\d+\.json")
"""Port in the settings, process id, port."""


@record(frozen=True)
class Process:
    """A process that serves.

    Attributes:
        asked: The port in its settings; processes of one service share it. 0 is any free port.
        port: The port that it serves at: the first free one from there.
        pid: Its process id.
        token: Required with each request.
        protocol: ``PROTOCOL`` of its dbsight; 0 where it is too old to have one.
        started: s since the epoch; when it began to serve.
    """

    asked: int
    port: int
    pid: int
    token: str
    protocol: int = 0
    started: float = 0.0

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


def processes(asked: int | None = None) -> Sequence[Process]:
    """The living processes of this user that serve, in the order of their ports.

    Args:
        asked: Only those with this port in ``OTEL_DBSIGHT_SERVE``; None for all.
    """
    found: dict[int, Process] = {}
    for directory in _directories():
        if not _is_private(directory):
            continue
        for path in _files(directory):
            name = _FILE.fullmatch(path.name)
            if name is None or (asked is not None and int(name[1]) != asked):
                continue
            if not _is_alive(int(name[2])):
                _remove(path)  # it was killed
                continue
            process = _read(path)
            # The port of a process that was killed may be another one's by now: the latest has it.
            if process is not None and (process.port not in found or found[process.port].started < process.started):
                found[process.port] = process
    return [found[port] for port in sorted(found)]


def _files(directory: Path) -> Sequence[Path]:
    try:
        return list(directory.iterdir())
    except OSError:  # it was removed just now
        return ()


def _read(path: Path) -> Process | None:
    """The process of a file; a newer version may have written fields that this one does not know."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return Process(**{each.name: written[each.name] for each in fields(Process) if each.name in written})
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
