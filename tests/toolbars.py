"""One application in each framework, behind the toolbar: what a test sends is the same, and what it gets, too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from dbsight.toolbar import ASGIToolbar, DjangoToolbar, WSGIToolbar

PAGE = b"<!doctype html><html><body><h1>Orders</h1></body></html>\n"


@dataclass
class Reply:
    """What an application answers, and what arrives.

    Attributes:
        body: Bytes; a list of bytes is streamed.
    """

    body: Any = PAGE
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/html; charset=utf-8"})

    def header(self, name):
        """The value of a header, None where there is none."""
        return next((value for known, value in self.headers.items() if known.lower() == name.lower()), None)


def starlette(view, method, around, **toolbar):
    """Starlette in process, by httpx."""
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    async def endpoint(request):
        reply = view()
        if isinstance(reply.body, list):
            return StreamingResponse(iter(reply.body), reply.status, reply.headers)
        return Response(reply.body, reply.status, reply.headers)

    app: Any = Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])])
    app.add_middleware(ASGIToolbar, **toolbar)

    async def spanned(scope, receive, send):
        with around():
            await app(scope, receive, send)

    async def ask():
        client = httpx.AsyncClient(transport=httpx.ASGITransport(spanned), base_url="http://shop")
        async with client, client.stream(method, "/") as answer:
            body = b"".join([part async for part in answer.aiter_raw()])
            return Reply(body, answer.status_code, dict(answer.headers))

    return asyncio.run(ask())


def flask(view, method, around, **toolbar):
    """Flask by werkzeug's client, validated against PEP 3333; its span begins inside, as Flask's instrumentor's."""
    from wsgiref.validate import validator

    import flask
    from werkzeug.test import Client

    app = flask.Flask("shop")
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.before_request
    def begin():
        flask.g.span = around()
        flask.g.span.__enter__()

    @app.teardown_request
    def end(error):
        flask.g.span.__exit__(None, None, None)

    @app.route("/", methods=["GET", "POST"])
    def endpoint():
        reply = view()
        body = iter(reply.body) if isinstance(reply.body, list) else reply.body
        return flask.Response(body, reply.status, reply.headers)

    app.wsgi_app = validator(WSGIToolbar(validator(app.wsgi_app), **toolbar))
    answer = Client(app).open("/", method=method)
    body = b"".join(answer.response)
    answer.close()
    headers = {name: ", ".join(answer.headers.getlist(name)) for name, _ in answer.headers}
    return Reply(body, answer.status_code, headers)


def django(view, method, around, **toolbar):
    """Django's middleware around a view, with a synchronous handler."""
    request, make, toolbar_class = _django(method, **toolbar)
    with around():
        return _received(toolbar_class(lambda request: make(view()))(request))


def django_async(view, method, around, **toolbar):
    """The same with an asynchronous handler."""
    request, make, toolbar_class = _django(method, **toolbar)

    async def endpoint(request):
        return make(view())

    async def ask():
        with around():
            return await toolbar_class(endpoint)(request)

    return _received(asyncio.run(ask()))


def _django(method, **toolbar):
    from django.conf import settings
    from django.http import HttpResponse, StreamingHttpResponse
    from django.test import RequestFactory

    if not settings.configured:
        import django

        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()

    def make(reply):
        kind = StreamingHttpResponse if isinstance(reply.body, list) else HttpResponse
        return kind(reply.body, status=reply.status, headers=reply.headers)

    return RequestFactory().generic(method, "/"), make, type("Toolbar", (DjangoToolbar,), toolbar)


def _received(response):
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return Reply(body, response.status_code, dict(response.items()))


ADAPTERS = {"starlette": starlette, "flask": flask, "django": django, "django_async": django_async}
