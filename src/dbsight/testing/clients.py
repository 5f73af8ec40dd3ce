"""Requests of a test: what each does is a unit by itself, whether a test client or a live server handles it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.instrument.wrap import Patches
from dbsight.testing.watch import begin_unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from dbsight.testing.watch import Unit

_patches = Patches()


def install() -> None:
    """Watch the test clients and the applications that are imported, or will be."""
    if not _patches:
        _patches.when_imported("starlette.testclient", _starlette)
        _patches.when_imported("httpx", _httpx)
        _patches.when_imported("werkzeug.test", _werkzeug)
        _patches.when_imported("django.test.client", _django)
        # Live servers, in threads: of pytest-django, Flask, uvicorn.
        _patches.when_imported("django.core.handlers.wsgi", _django_wsgi)
        _patches.when_imported("django.core.handlers.asgi", _django_asgi)
        _patches.when_imported("flask.app", _flask)
        _patches.when_imported("starlette.applications", _starlette_application)


def _starlette(module: ModuleType) -> None:
    _patches.wrap(module._TestClientTransport, "handle_request", begin=_of_request)


def _httpx(module: ModuleType) -> None:
    _patches.wrap(module.ASGITransport, "handle_async_request", begin=_of_request)
    _patches.wrap(module.WSGITransport, "handle_request", begin=_of_request)


def _werkzeug(module: ModuleType) -> None:
    _patches.wrap(module.Client, "run_wsgi_app", begin=_of_environ)


def _django(module: ModuleType) -> None:
    _patches.wrap(module.ClientHandler, "__call__", begin=_of_environ)
    _patches.wrap(module.AsyncClientHandler, "__call__", begin=_of_scope)


def _django_wsgi(module: ModuleType) -> None:
    _patches.wrap(module.WSGIHandler, "__call__", begin=_of_environ)


def _django_asgi(module: ModuleType) -> None:
    _patches.wrap(module.ASGIHandler, "__call__", begin=_of_scope)


def _flask(module: ModuleType) -> None:
    _patches.wrap(module.Flask, "__call__", begin=_of_environ)


def _starlette_application(module: ModuleType) -> None:
    _patches.wrap(module.Starlette, "__call__", begin=_of_scope)


def _of_request(_: Any, request: Any) -> Unit | None:
    return begin_unit(f"{request.method} {request.url.path}")


def _of_environ(_: Any, environ: Mapping[str, Any], *__: Any) -> Unit | None:
    return begin_unit(f"{environ.get('REQUEST_METHOD', 'GET')} {environ.get('PATH_INFO', '/')}")


def _of_scope(_: Any, scope: Mapping[str, Any], *__: Any) -> Unit | None:
    if scope.get("type", "http") != "http":
        return None  # the lifespan of an application, a websocket
    return begin_unit(f"{scope.get('method', 'GET')} {scope.get('path', '/')}")
