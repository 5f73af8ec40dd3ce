"""The toolbar for Django, with synchronous and asynchronous handlers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dbsight.safety import guard
from dbsight.toolbar.badge import MAX_BODY
from dbsight.toolbar.watch import SERVER_TIMING, begin

if TYPE_CHECKING:
    from dbsight.toolbar.watch import Watch


class DjangoToolbar:
    """Tells with each response what its request did to the databases: ``"dbsight.toolbar.DjangoToolbar"``.

    In ``MIDDLEWARE`` it comes after what compresses responses. A subclass can set ``enabled`` and ``badge``.

    Args:
        get_response: What answers the request, a function or a coroutine function.

    Attributes:
        enabled: None takes the setting ``toolbar``.
        badge: Whether HTML pages get a badge; None takes the setting ``toolbar``.
    """

    sync_capable = True
    async_capable = True
    enabled: bool | None = None
    badge: bool | None = None

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        self._asynchronous = asyncio.iscoroutinefunction(get_response) or _is_marked(get_response)
        if self._asynchronous:
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Answer one request."""
        if self._asynchronous:
            return self._answer(request)
        watch = begin(self.enabled, self.badge)
        if watch is None:
            return self.get_response(request)
        try:
            response = self.get_response(request)
            _complete(watch, request, response)
        finally:
            watch.over()
        return response

    async def _answer(self, request: Any) -> Any:
        watch = begin(self.enabled, self.badge)
        if watch is None:
            return await self.get_response(request)
        try:
            response = await self.get_response(request)
            _complete(watch, request, response)
        finally:
            watch.over()
        return response


def _is_marked(function: Any) -> bool:
    """Whether asgiref marked it as a coroutine function: it does so with middlewares, which are objects."""
    from asgiref.sync import iscoroutinefunction

    return bool(iscoroutinefunction(function))


@guard
def _complete(watch: Watch, request: Any, response: Any) -> None:
    """Add headers and badge to a response."""
    for name, value in watch.headers():
        known = response.get(name) if name == SERVER_TIMING else None
        response[name] = f"{known}, {value}" if known else value
    headers = list(response.items())
    if getattr(response, "streaming", True) or not watch.wants_badge(request.method, response.status_code, headers):
        return
    body = response.content
    changed = watch.with_badge(body, headers) if len(body) <= MAX_BODY else body
    if changed is not body:
        response.content = changed
        if response.has_header("Content-Length"):
            response["Content-Length"] = str(len(changed))
