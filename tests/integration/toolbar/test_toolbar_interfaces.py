"""The toolbar on the bare interfaces: messages of ASGI and calls of WSGI that no framework makes, but servers allow."""

import asyncio
from types import SimpleNamespace

import pytest
from opentelemetry.trace import SpanKind

from dbsight import scope
from dbsight.toolbar import ASGIToolbar, WSGIToolbar
from toolbars import PAGE

HTML = [(b"content-type", b"text/html")]
START = {"type": "http.response.start", "status": 200, "headers": HTML}


def body(data, *, more=False):
    """A message with a part of the body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def messages_of(app, *, kind="http", before=lambda: None):
    """What a server gets from an application behind the toolbar, and what was raised."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    async def run():
        before()
        try:
            await ASGIToolbar(app, enabled=True, badge=True)({"type": kind, "method": "GET"}, receive, send)
        except Exception as error:
            return error
        assert scope.watch.get() is None
        return None

    error = asyncio.run(run())
    return SimpleNamespace(sent=sent, error=error)


def sending(*messages, error=None):
    """An ASGI application that sends messages, and may raise in the end."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)
        if error is not None:
            raise error

    return app


def page_of(sent):
    """The whole body."""
    return b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_what_is_no_request_is_passed_through(telemetry, kind):
    """The same objects, even."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    async def run():
        given = ({"type": kind}, object(), object())
        await ASGIToolbar(app, enabled=True)(*given)
        assert all(one is other for one, other in zip(seen[0], given, strict=True))

    asyncio.run(run())


def test_a_page_in_parts_gets_a_badge_where_its_length_is_known(telemetry):
    """As behind Starlette's BaseHTTPMiddleware, which ends each body with an empty part."""
    start = {**START, "headers": [*HTML, (b"content-length", str(len(PAGE)).encode())]}
    sent = messages_of(sending(start, body(PAGE[:20], more=True), body(PAGE[20:], more=True), body(b""))).sent
    page = page_of(sent)
    assert b"dbsight-badge" in page
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(page)).encode()
    assert [message["more_body"] for message in sent[1:]] == [True, False]


def test_a_stream_is_not_held_back(telemetry):
    """Each part leaves when it comes."""
    steps = []

    async def app(scope, receive, send):
        await send(START)
        await send(body(b"<body>", more=True))
        steps.append("between")
        await send(body(b"</body>"))

    sent = messages_of(app).sent
    assert [message.get("body") for message in sent] == [None, b"<body>", b"</body>"]
    assert b"server-timing" in dict(sent[0]["headers"])


def test_other_messages_keep_their_place(telemetry):
    """Files by path, trailers and hints are extensions that a server may offer."""
    path = {"type": "http.response.pathsend", "path": "/tmp/page.html"}
    hint = {"type": "http.response.early_hint", "links": []}
    assert [each["type"] for each in messages_of(sending(START, path)).sent] == [START["type"], path["type"]]
    assert messages_of(sending(hint, START, body(PAGE))).sent[0] == hint
    trailing = {**START, "trailers": True}
    assert page_of(messages_of(sending(trailing, body(PAGE))).sent) == PAGE


def test_a_response_that_breaks_off_is_sent_as_far_as_it_came(telemetry):
    """With the application's error."""
    start = {**START, "headers": [*HTML, (b"content-length", b"999")]}
    error = RuntimeError("of the application")
    result = messages_of(sending(start, body(PAGE, more=True), error=error))
    assert result.error is error
    assert page_of(result.sent) == PAGE
    assert dict(result.sent[0]["headers"])[b"content-length"] == b"999"


def test_a_wrong_length_stays_the_server_s_business(telemetry):
    """Neither the page nor its length is changed."""
    start = {**START, "headers": [*HTML, (b"content-length", b"3")]}
    sent = messages_of(sending(start, body(PAGE))).sent
    assert page_of(sent) == PAGE
    assert dict(sent[0]["headers"])[b"content-length"] == b"3"


def test_two_toolbars_are_one(telemetry):
    """A mounted application may have its own."""
    inner = ASGIToolbar(sending(START, body(PAGE)), enabled=True, badge=True)
    sent = messages_of(inner).sent
    assert [name for name, _ in sent[0]["headers"]].count(b"server-timing") == 1
    assert page_of(sent).count(b"<style>") == 1


def test_the_span_may_begin_inside(telemetry):
    """In a task of its own, even, as inside of Starlette's BaseHTTPMiddleware."""

    async def app(scope, receive, send):
        async def answer():
            with telemetry.tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
                await send(START)

        await asyncio.create_task(answer())
        await send(body(PAGE))

    sent = messages_of(app).sent
    assert dict(sent[0]["headers"])[b"server-timing"].startswith(b"db;dur=")


def test_a_longer_unit_of_work_is_not_taken_for_the_request(telemetry):
    """A program that makes a request of itself within a span: its figures are not the request's."""
    with telemetry.tracer.start_as_current_span("a test"):
        sent = messages_of(sending(START, body(PAGE))).sent
    assert sent == [START, body(PAGE)]


def test_nothing_is_added_where_dbsight_does_not_run():
    """No processor, no engine, no headers."""
    assert messages_of(sending(START, body(PAGE))).sent == [START, body(PAGE)]


# -- WSGI -------------------------------------------------------------------------------------------------------------


class Parts:
    """An iterable of a WSGI application that wants to be closed."""

    def __init__(self, *parts):
        self.parts = parts
        self.closed = 0

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        """Count it."""
        self.closed += 1


def call(app):
    """What a server gets: status, headers by lower-case name, body; and how often it was begun."""
    begun, written = [], []

    def start_response(status, headers, exc_info=None):
        begun.append((status, headers))
        return written.append

    answer = WSGIToolbar(app, enabled=True, badge=True)({"REQUEST_METHOD": "GET"}, start_response)
    data = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    status, headers = begun[-1]
    return SimpleNamespace(
        answer=answer,
        status=status,
        headers={name.lower(): value for name, value in headers},
        body=b"".join(written) + data,
        begun=len(begun),
    )


def test_a_page_with_a_length_is_put_together_and_closed(telemetry):
    """Once."""
    parts = Parts(PAGE[:10], PAGE[10:])

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
        return parts

    got = call(app)
    assert b"dbsight-badge" in got.body
    assert got.headers["content-length"] == str(len(got.body))
    assert (got.begun, parts.closed) == (1, 1)


def test_the_iterable_of_another_answer_is_the_application_s(telemetry):
    """Servers look for their own file wrapper."""
    parts = Parts(b"{}")

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return parts

    got = call(app)
    assert got.answer is parts
    assert "server-timing" in got.headers


def test_an_application_may_write(telemetry):
    """PEP 3333's old way, before and beside an iterable."""

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/html")])
        write(b"<body>")
        write(b"1")
        return [b"</body>"]

    got = call(app)
    assert got.body == b"<body>1</body>"
    assert "server-timing" in got.headers


def test_an_application_may_be_a_generator(telemetry):
    """Its response begins while the server iterates."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        yield PAGE

    got = call(app)
    assert got.body == PAGE
    assert "server-timing" in got.headers


def test_a_response_may_begin_again_with_an_error(telemetry):
    """Before anything was sent: what counts is the second."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        error = ValueError()
        start_response("500 Oh", [("Content-Type", "text/html")], (ValueError, error, None))
        return [PAGE]

    got = call(app)
    assert got.status == "500 Oh"
    assert b"dbsight-badge" in got.body
    assert got.begun == 1


def test_an_error_before_and_after_the_beginning_is_the_application_s(telemetry):
    """And the next request of the thread is watched."""

    def before(environ, start_response):
        raise KeyError("before")

    def after(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "999")])

        def parts():
            yield b"<body>"
            raise KeyError("after")

        return parts()

    for app in (before, after):
        with pytest.raises(KeyError):
            call(app)
        assert scope.watch.get() is None
