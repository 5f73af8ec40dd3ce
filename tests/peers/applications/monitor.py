"""What a Redis server was sent, as the server says itself."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Database

UNCOUNTED = frozenset({"auth", "client", "hello", "select", "multi", "exec", "unwatch"})
"""What a client says when it connects, and what a pipeline puts around its commands; servers do not show all of it."""


class Monitor:
    """The commands that clients sent to a server, in the order in which it ran them.

    What scripts run within the server is left out, and so is what is ``UNCOUNTED``.
    """

    def __init__(self, server: Database) -> None:
        self._server = server
        self._socket = socket.create_connection((server.host, server.port), timeout=60)
        self._lines = self._socket.makefile("r", encoding="utf-8", errors="replace")
        self._socket.sendall(b"MONITOR\r\n")
        assert self._lines.readline().startswith("+OK")
        self._end = f"end-{uuid.uuid4()}"
        self._seen: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._lines:
            if self._end in line:
                return
            self._seen.append(line)

    def commands(self) -> list[str]:
        """The names of all commands up to now, in lower case; nothing is noted after it."""
        with socket.create_connection((self._server.host, self._server.port), timeout=60) as asking:
            asking.sendall(f"PING {self._end}\r\n".encode())
            asking.recv(100)
        self._reader.join(60)
        names = []
        for line in self._seen:
            _, _, rest = line.partition(" [")
            client, _, command = rest.partition("] ")
            name = command.split('"')[1].lower() if '"' in command else ""
            if not client.endswith(" lua") and name not in UNCOUNTED:
                names.append(name)
        return names

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


@contextlib.contextmanager
def monitored(server: Database) -> Iterator[Monitor]:
    """A ``Monitor`` for the time of a block."""
    monitor = Monitor(server)
    try:
        yield monitor
    finally:
        monitor.close()
