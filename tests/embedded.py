"""Programs that live no longer than the tests: started on loopback, stopped with them, removed without a trace."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# The server's life hangs on a pipe from the tests: a line or its end, also when they are killed, stops it.
GUARD = """
exec 3<&0
"$@" >"$directory/log" 2>&1 </dev/null 3<&- &
server=$!
{ read -r _ <&3; : >"$directory/stopped"; kill -s "$stop" "$server"; } 2>/dev/null &
watcher=$!
wait "$server"
code=$?
kill "$watcher" 2>/dev/null
if [ -e "$directory/stopped" ]; then rm -rf "$directory"; fi
exit "$code"
"""


class Unavailable(Exception):  # noqa: N818 - a fact about the machine, not an error of the tests
    """No such server can be had on this machine; the message says what was tried."""


def free_port(highest: int = 65_535) -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= highest:
            return port


def environment() -> dict[str, str]:
    """What a server may know of ours: no PGPORT, MYSQL_HOME or LC_ALL of the developer's reaches it."""
    return {"PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", "LC_ALL": "C", "TZ": "UTC"}


def why_not(ready: Callable[[], object]) -> str:
    """What stopped ``ready``; empty when nothing did."""
    try:
        ready()
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


class Ward:
    """Who the servers run as, and a directory of theirs.

    PostgreSQL refuses to run as root, and MariaDB wants to be asked twice: where the tests are root, as in most
    containers, the servers are ``nobody``.

    Attributes:
        directory: Private, short enough for a unix socket's path, removed by ``remove()``.
    """

    def __init__(self, name: str) -> None:
        import pwd

        self.directory = Path(tempfile.mkdtemp(prefix=f"dbsight-{name}-")).resolve()
        self._who: dict[str, object] = {}
        self._uid = os.geteuid()
        if self._uid == 0:
            nobody = pwd.getpwnam("nobody")
            self._uid = nobody.pw_uid
            self._who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.directory, self._uid, -1)

    def within_reach(self, tree: Path, parts: Sequence[str]) -> Path:
        """``tree`` itself, or a copy of its ``parts`` where the server's user may not go to it.

        A virtual environment below root's home is closed to everybody else, and opening the home is not for us.
        """
        if self._uid == os.geteuid() or all(parent.stat().st_mode & stat.S_IXOTH for parent in (tree, *tree.parents)):
            return tree
        copy = self.directory / "program"
        for part in parts:
            if (tree / part).is_dir():
                shutil.copytree(tree / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
            else:
                copy.mkdir(exist_ok=True)
                shutil.copy2(tree / part, copy / part)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, self._uid, -1, follow_symlinks=False)
        return copy

    def run(self, *command: object, seconds: float = 120) -> None:
        """Run a program that prepares the server.

        Raises:
            Unavailable: It failed; its last words are in the message.
        """
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
                **self._who,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{command[0]} did not run: {error}") from error
        if done.returncode:
            raise Unavailable(f"{command[0]} failed: {(done.stderr or done.stdout)[-500:].strip()}")

    @contextlib.contextmanager
    def serve(
        self, *command: object, ready: Callable[[], object], stop: str = "TERM", seconds: float = 120
    ) -> Iterator[None]:
        """Run a server until the block ends.

        Args:
            command: The server in the foreground.
            ready: Asks it something; raises an Exception as long as it does not answer.
            stop: Name of the signal that ends it.
            seconds: How long it may take to answer.

        Raises:
            Unavailable: It ended or never answered; its last words are in the message.
        """
        guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", *(str(part) for part in command)],
            cwd=self.directory,
            env={**environment(), "directory": str(self.directory), "stop": stop},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the tests, which then stop it in order
            **self._who,
        )
        try:
            self._await(command[0], guard, ready, time.monotonic() + seconds)
            yield
        finally:
            with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                guard.communicate(b"stop\n", timeout=10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard.pid, 9)
            guard.wait(60)

    def _await(
        self, name: object, guard: subprocess.Popen[bytes], ready: Callable[[], object], deadline: float
    ) -> None:
        while reason := why_not(ready):
            if guard.poll() is not None:
                log = (self.directory / "log").read_text(errors="replace")
                raise Unavailable(f"{name} ended at once: {log[-500:].strip()}")
            if time.monotonic() > deadline:
                raise Unavailable(f"{name} did not answer: {reason}")
            time.sleep(0.05)

    def remove(self) -> None:
        """Remove the directory and what is in it."""
        shutil.rmtree(self.directory, ignore_errors=True)
