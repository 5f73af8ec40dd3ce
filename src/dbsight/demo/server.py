"""The shop behind real HTTP: uvicorn on loopback, in a thread of this process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvicorn

from dbsight.demo.app import create_app
from dbsight.demo.store import store_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from dbsight.demo.store import Store

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """A server that says when it accepts requests."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready.set()


class _Thread(threading.Thread):
    """Opens the store and serves it on one event loop; keeps the error when it cannot."""

    def __init__(self, store: Store, cache: Redis | None, listening: socket.socket) -> None:
        super().__init__(name="shop", daemon=True)
        self.ready = threading.Event()
        self.error: BaseException | None = None
        # The store is opened here rather than by the lifespan, where uvicorn would turn its error into an exit.
        config = uvicorn.Config(create_app(store, cache), lifespan="off", log_config=None, log_level="warning")
        self._server = _Server(config, self.ready)
        self._store = store
        self._listening = listening

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self.error = error
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        await self._store.open()
        try:
            await self._server.serve(sockets=[self._listening])
        finally:
            await self._store.close()

    def stop(self) -> None:
        self._server.should_exit = True
        self.join()


@contextmanager
def serve(database_url: str | None = None, *, port: int = 0, cache: Redis | None = None) -> Iterator[str]:
    """Serve the shop while the block runs.

    Args:
        database_url: Any SQLAlchemy URL; a SQLite file in a temporary directory by default. Tables are created where
            they are missing and never dropped.
        port: On loopback; any free one by default.
        cache: Redis; without it the faults of the cache are left out.

    Yields:
        The address, ``http://127.0.0.1:40123``.

    Raises:
        StrangeTablesError: The database has tables of the same names that the shop did not make.
        SQLAlchemyError: The database cannot be reached, or the URL is none.
        ModuleNotFoundError: The driver is not installed.
        OSError: The port is taken.
    """
    with TemporaryDirectory(prefix="shop-") as directory, _listen(port) as listening:
        store = store_for(database_url or f"sqlite:///{Path(directory) / 'shop.db'}")
        thread = _Thread(store, cache, listening)
        thread.start()
        thread.ready.wait()
        if thread.error is not None:
            thread.join()
            raise thread.error
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            thread.stop()


def _listen(port: int) -> socket.socket:
    # asyncio sends small packets at once only where the protocol is named; without, each answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
    except BaseException:
        listening.close()
        raise
    return listening
