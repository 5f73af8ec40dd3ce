"""The shop as an ASGI application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import fastapi

from dbsight.demo.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dbsight.demo.store import Store


def create_app(store: Store) -> fastapi.FastAPI:
    """Make the application: two routes a fault, and ``/`` that lists them.

    The class is taken from its module here and now, because OpenTelemetry's instrumentation puts another in its place.

    Args:
        store: The database; opened and closed with the application.
    """

    @asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    app = fastapi.FastAPI(title="shop", lifespan=lifespan)
    for fault in FAULTS:
        for path, handler in ((fault.path, fault.handler), (fault.fixed_path, fault.fixed)):
            endpoint = store.endpoint(handler)
            app.add_api_route(path, endpoint, methods=[fault.method], name=fault.name, response_model=None)
    app.add_api_route("/", _index, name="index", response_model=None)
    return app


def _index() -> list[dict[str, str]]:
    return [
        {"request": f"{fault.method} {fault.path}", "fixed": fault.fixed_path, "fault": fault.explanation}
        for fault in FAULTS
    ]
