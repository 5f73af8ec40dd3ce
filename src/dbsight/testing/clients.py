"""The test clients of web frameworks: what one request of a test does is a unit by itself."""

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
    """Watch the test clients that are imported, or will be."""
    if not _patches:
        _patches.when_imported("starlette.testclient", _starlette)
        _patches.when_imported("httpx", _httpx)
        _patches.when_imported("werkzeug.test", _werkzeug)
        _patches.when_imported("django.test.client", _django)


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


def _of_request(_: Any, request: Any) -> Unit | None:
    return begin_unit(f"{request.method} {request.url.path}")


def _of_environ(_: Any, environ: Mapping[str, Any]) -> Unit | None:
    return begin_unit(f"{environ.get('REQUEST_METHOD', 'GET')} {environ.get('PATH_INFO', '/')}")


def _of_scope(_: Any, scope: Mapping[str, Any]) -> Unit | None:
    return begin_unit(f"{scope.get('method', 'GET')} {scope.get('path', '/')}")
