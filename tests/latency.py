"""A network in front of a server: what a client sends arrives later, in its order, however much is under way."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Database


@contextlib.contextmanager
def distant(database: Database, delay: float) -> Iterator[Database]:
    """The same database behind a network.

    Args:
        database: A server that listens on TCP or on a local socket.
        delay: s that whatever the client sends is under way; answers come back at once.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]
    threads: list[threading.Thread] = []

    def run(work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        threads.append(thread)
        thread.start()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = _connected(database)
                ends.extend((client, server))
                under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                run(_take, client, under_way, delay)
                run(_bring, server, under_way)
                run(_answer, server, client)

    run(accept)
    try:
        yield replace(database, host="127.0.0.1", port=listener.getsockname()[1])
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in threads:
            thread.join(5)


def _connected(database: Database) -> socket.socket:
    if not database.host.startswith("/"):
        return socket.create_connection((database.host, database.port))
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.connect(f"{database.host}/.s.PGSQL.{database.port}")
    return server


def _take(client: socket.socket, under_way: queue.SimpleQueue, delay: float) -> None:
    data = b"?"
    while data:
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(65536)
        under_way.put((time.perf_counter() + delay, data))


def _bring(server: socket.socket, under_way: queue.SimpleQueue) -> None:
    data = b"?"
    while data:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.perf_counter()))
        with contextlib.suppress(OSError):
            server.sendall(data)
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def _answer(server: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            client.sendall(data)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
