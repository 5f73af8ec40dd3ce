"""The toolbar for ASGI: FastAPI, Starlette and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.safety import guard
from dbsight.toolbar.badge import MAX_BODY
from dbsight.toolbar.watch import begin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from dbsight.toolbar.watch import Watch

    Message = MutableMapping[str, Any]
    Send = Callable[[Message], Awaitable[None]]


class ASGIToolbar:
    """Tells with each HTTP response what its request did to the databases: ``app.add_middleware(ASGIToolbar)``.

    Everything else, as websockets and the lifespan, is passed through.

    Args:
        app: An ASGI application.
        enabled: None takes the setting ``toolbar``.
        badge: Whether HTML pages get a badge; None takes the setting ``toolbar``.
    """

    def __init__(self, app: Any, *, enabled: bool | None = None, badge: bool | None = None) -> None:
        self.app = app
        self._enabled = enabled
        self._badge = badge

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or whatever it is."""
        watch = begin(self._enabled, self._badge) if scope["type"] == "http" else None
        if watch is None:
            await self.app(scope, receive, send)
            return
        response = _Response(watch, scope.get("method", "GET"), send)
        try:
            await self.app(scope, receive, response.send)
        except Exception:
            await response.release()
            raise
        finally:
            watch.over()
        await response.release()


class _Response:
    """What the application sends, on its way to the server; held back only until a page with a badge is whole."""

    def __init__(self, watch: Watch, method: str, send: Send) -> None:
        self._watch = watch
        self._method = method
        self._send = send
        self._held: list[Message] = []
        self._headers: list[tuple[str, str]] = []

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            message = self._started(message) or message
            if self._hold(message):
                self._held = [message]
                return
        elif self._held:
            self._held.append(message)
            if self._waits(message):
                return
            await self.release()
            return
        await self._send(message)

    async def release(self) -> None:
        """Send what is held, with the badge if the page is whole."""
        held, self._held = self._held, []
        for message in self._with_badge(held) or held:
            await self._send(message)

    @guard
    def _started(self, message: Message) -> Message:
        added = [(name.lower().encode(), value.encode()) for name, value in self._watch.headers()]
        return {**message, "headers": [*message.get("headers", ()), *added]} if added else message

    @guard
    def _hold(self, message: Message) -> bool:
        self._headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())
        ]
        return not message.get("trailers") and self._watch.wants_badge(self._method, message["status"], self._headers)

    def _expected(self) -> int | None:
        return next((int(value) for name, value in self._headers if name.lower() == "content-length"), None)

    def _body(self, held: list[Message]) -> bytes:
        return b"".join([each.get("body", b"") for each in held[1:]])

    @guard
    def _waits(self, message: Message) -> bool:
        """Whether the page is not whole yet, and worth waiting for: its length is known."""
        if message["type"] != "http.response.body" or not message.get("more_body"):
            return False
        expected = self._expected()
        size = sum([len(each.get("body", b"")) for each in self._held[1:]])
        return expected is not None and size < expected and size <= MAX_BODY

    @guard
    def _with_badge(self, held: list[Message]) -> list[Message]:
        if len(held) < 2 or any(each["type"] != "http.response.body" for each in held[1:]):
            return held
        more, expected, body = held[-1].get("more_body", False), self._expected(), self._body(held)
        if len(body) != expected if expected is not None else more:
            return held
        changed = self._watch.with_badge(body, self._headers)
        if changed is body:
            return held
        start, length = held[0], str(len(changed)).encode()
        headers = [(name, length if name.lower() == b"content-length" else value) for name, value in start["headers"]]
        return [{**start, "headers": headers}, {**held[-1], "body": changed, "more_body": more}]
