"""The toolbar for WSGI: Flask and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.safety import guard
from dbsight.toolbar.badge import MAX_BODY
from dbsight.toolbar.watch import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbsight.toolbar.watch import Watch

    Headers = list[tuple[str, str]]


class WSGIToolbar:
    """Tells with each response what its request did to the databases: ``app.wsgi_app = WSGIToolbar(app.wsgi_app)``.

    Args:
        app: A WSGI application.
        enabled: None takes the setting ``toolbar``.
        badge: Whether HTML pages get a badge; None takes the setting ``toolbar``.
    """

    def __init__(self, app: Any, *, enabled: bool | None = None, badge: bool | None = None) -> None:
        self.app = app
        self._enabled = enabled
        self._badge = badge

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer one request."""
        watch = begin(self._enabled, self._badge)
        if watch is None:
            return self.app(environ, start_response)
        response = _Response(watch, environ.get("REQUEST_METHOD", "GET"), start_response)
        try:
            body = self.app(environ, response.start)
        except BaseException:
            watch.over()
            raise
        watch.over(answered=False)
        return response.finish(body)


class _Response:
    """The beginning of a response; held back only until a page with a badge is whole."""

    def __init__(self, watch: Watch, method: str, start_response: Callable[..., Any]) -> None:
        self._watch = watch
        self._method = method
        self._start_response = start_response
        self._returned = False
        self._write_on: Callable[[bytes], Any] | None = None
        self.held: tuple[str, Headers, Any] | None = None

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], Any]:
        """What the application calls in place of the server's ``start_response``."""
        headers = self._extended(headers) or headers
        if not self._returned and self._fits(status, headers):
            self.held = (status, headers, exc_info)
            return self._write
        self.held = None
        return self._begin(status, headers, exc_info)

    def _begin(self, status: str, headers: Headers, exc_info: Any) -> Callable[[bytes], Any]:
        if exc_info is None:
            return self._start_response(status, headers)  # type: ignore[no-any-return]
        return self._start_response(status, headers, exc_info)  # type: ignore[no-any-return]

    def release(self) -> Callable[[bytes], Any] | None:
        """Begin the response at the server, if that was put off."""
        held, self.held = self.held, None
        return None if held is None else self._begin(*held)

    def _write(self, data: bytes) -> Any:
        """PEP 3333's way to send without an iterable: no badge."""
        self._write_on = self.release() or self._write_on
        assert self._write_on is not None
        return self._write_on(data)

    def finish(self, body: Any) -> Any:
        """What the server gets in place of the application's iterable: nearly always that."""
        self._returned = True
        return body if self.held is None else _Page(self, body)

    @guard
    def _extended(self, headers: Headers) -> Headers:
        return [*headers, *self._watch.headers()]

    @guard
    def _fits(self, status: str, headers: Headers) -> bool:
        return self._watch.wants_badge(self._method, int(status[:3]), headers)

    @guard
    def with_badge(self, body: bytes) -> bytes:
        """The page with a badge, and its length in the headers."""
        assert self.held is not None
        status, headers, exc_info = self.held
        expected = _length(headers)
        if expected is not None and expected != len(body):
            return body
        changed = self._watch.with_badge(body, headers)
        if changed is not body:
            length = str(len(changed))
            headers = [(name, length if name.lower() == "content-length" else value) for name, value in headers]
            self.held = (status, headers, exc_info)
        return changed

    def expected(self) -> int | None:
        """Bytes that the page announces; None where it does not."""
        return None if self.held is None else _length(self.held[1])


def _length(headers: Headers) -> int | None:
    return next((int(value) for name, value in headers if name.lower() == "content-length"), None)


class _Page:
    """The application's iterable, put together to one page where it announces its length or has one part."""

    def __init__(self, response: _Response, body: Any) -> None:
        self._response = response
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        expected = self._response.expected()
        parts: list[bytes] = []
        rest = iter(self._body)
        whole = self._single() or expected is not None
        size = 0
        for part in rest:
            parts.append(part)
            size += len(part)
            if not whole or size > MAX_BODY or (expected is not None and size >= expected):
                break
        else:
            rest = iter(())
        if whole and self._response.held is not None and size <= MAX_BODY:
            body = b"".join(parts)
            changed = self._response.with_badge(body) or body
            parts = [changed] if changed is not body else parts
        self._response.release()
        yield from parts
        yield from rest

    def _single(self) -> bool:
        try:
            return len(self._body) == 1
        except TypeError:
            return False

    def close(self) -> None:
        """As PEP 3333 wants it, whether the page was sent or not."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
