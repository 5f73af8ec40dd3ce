"""The shop as an ASGI application."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import fastapi
from sqlalchemy import make_url

from dbsight.demo.faults import CACHE_FAULTS, CONNECTION_FAULTS, FAULTS, WORKLOAD_FAULTS
from dbsight.demo.store import asynchronous, is_shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Any

    from redis import Redis
    from sqlalchemy import URL

    from dbsight.demo.fault import Fault, Handler
    from dbsight.demo.store import Store


def create_app(store: Store, cache: Redis | None = None) -> fastapi.FastAPI:
    """Make the application: two routes a fault, and ``/`` that lists them.

    The class is taken from its module here and now, because OpenTelemetry's instrumentation puts another in its place.

    Args:
        store: The database; opened and closed with the application.
        cache: Redis; without it the faults of the cache are left out.
    """

    @asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    app = fastapi.FastAPI(title="shop", lifespan=lifespan)
    served = served_faults(store.url, cache)
    _route(app, (fault for fault in served if fault not in CACHE_FAULTS), store.endpoint)
    if cache is not None:
        _route(app, CACHE_FAULTS, lambda handler: _cached(handler, cache))

    def index() -> list[dict[str, str]]:
        return [
            {"request": f"{fault.method} {fault.path}", "fixed": fault.fixed_path, "fault": fault.explanation}
            for fault in served
        ]

    app.add_api_route("/", index, name="index", response_model=None)
    return app


def served_faults(database_url: str | URL | None, cache: Redis | None) -> tuple[Fault, ...]:
    """Those that there are with this database and this cache, in the order in which they are requested.

    Args:
        database_url: None for the file that ``serve`` makes. A database in memory has but one connection, and an
            asynchronous driver does not block its loop.
        cache: None leaves out its faults.
    """
    url = make_url(database_url or "sqlite:///shop.db")
    faults = FAULTS
    if is_shared(url):
        on_loop = url.get_dialect().is_async
        faults += tuple(
            fault for fault in CONNECTION_FAULTS if not (on_loop and inspect.iscoroutinefunction(fault.handler))
        )
        faults += tuple(
            fault
            for fault in WORKLOAD_FAULTS
            if asynchronous(url) is not None or not inspect.iscoroutinefunction(fault.handler)
        )
    return faults if cache is None else faults + CACHE_FAULTS


def _route(app: fastapi.FastAPI, faults: Iterable[Fault], endpoint: Callable[[Handler], Callable[..., Any]]) -> None:
    for fault in faults:
        for path, handler in ((fault.path, fault.handler), (fault.fixed_path, fault.fixed)):
            app.add_api_route(path, endpoint(handler), methods=[fault.method], name=fault.name, response_model=None)


def _cached(handler: Handler, cache: Redis) -> Callable[[], Any]:
    """The handler as FastAPI wants it, in a thread also where the database is asked on the event loop."""

    def endpoint() -> Any:
        return handler(cache)

    return endpoint
