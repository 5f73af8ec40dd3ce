"""The shop as an ASGI application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import fastapi

from dbsight.demo.faults import CACHE_FAULTS, FAULTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import Any

    from redis import Redis

    from dbsight.demo.faults import Fault, Handler
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
    _route(app, FAULTS, store.endpoint)
    if cache is not None:
        _route(app, CACHE_FAULTS, lambda handler: _cached(handler, cache))
    served = served_faults(cache)

    def index() -> list[dict[str, str]]:
        return [
            {"request": f"{fault.method} {fault.path}", "fixed": fault.fixed_path, "fault": fault.explanation}
            for fault in served
        ]

    app.add_api_route("/", index, name="index", response_model=None)
    return app


def served_faults(cache: Redis | None) -> tuple[Fault, ...]:
    """Those that there are with this cache, in the order in which they are requested."""
    return FAULTS if cache is None else FAULTS + CACHE_FAULTS


def _route(app: fastapi.FastAPI, faults: Iterable[Fault], endpoint: Callable[[Handler], Callable[..., Any]]) -> None:
    for fault in faults:
        for path, handler in ((fault.path, fault.handler), (fault.fixed_path, fault.fixed)):
            app.add_api_route(path, endpoint(handler), methods=[fault.method], name=fault.name, response_model=None)


def _cached(handler: Handler, cache: Redis) -> Callable[[], Any]:
    """The handler as FastAPI wants it, in a thread also where the database is asked on the event loop."""

    def endpoint() -> Any:
        return handler(cache)

    return endpoint
