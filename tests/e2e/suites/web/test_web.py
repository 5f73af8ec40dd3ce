"""Requests of test clients are looked at one by one."""

import asyncio
import threading
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import django.conf
import httpx
import pytest
import uvicorn
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

import shop

engine = shop.filled()
app = FastAPI()


@app.get("/orders")
def orders():
    """The fault, in a thread of the pool."""
    with Session(engine) as session:
        return shop.names(session)


@app.get("/customers/{number}")
async def customer(number: int):
    """One query a request."""
    with Session(engine) as session:
        return session.get(shop.Customer, number).name


@pytest.fixture(scope="module")
def client():
    """Its loop runs in a thread that was started before the tests."""
    with TestClient(app) as client:
        yield client


@pytest.mark.dbsight(fail_on="info")
def test_ten_requests_are_no_loop(client):
    """One query each."""
    for number in range(1, 11):
        assert client.get(f"/customers/{number}").status_code == 200


@pytest.mark.dbsight(fail_on="info")
def test_ten_requests_are_no_loop_without_a_thread():
    """The same over ASGI."""

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            for number in range(1, 11):
                assert (await client.get(f"/customers/{number}")).status_code == 200

    asyncio.run(ask())


@pytest.fixture(scope="module")
def live():
    """A server in a thread; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.mark.dbsight(fail_on="info")
def test_ten_requests_to_a_live_server_are_no_loop(live, dbsight):
    """Sent over the network."""
    for number in range(1, 11):
        assert httpx.get(f"{live}/customers/{number}").status_code == 200
    assert dbsight.count() == 10


@pytest.mark.dbsight(fail_on="n_plus_one")
def test_a_request_with_a_loop_to_a_live_server_fails(live):
    """Within one request."""
    httpx.get(f"{live}/orders")


@pytest.mark.dbsight(fail_on="info")
def test_ten_requests_to_a_live_wsgi_server_are_no_loop():
    """In Django, without a database of its own: the handler of its live server."""
    django.conf.settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x")
    django.setup()
    server = make_server("127.0.0.1", 0, WSGIHandler(), handler_class=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        for number in range(1, 11):
            answer = httpx.get(f"http://127.0.0.1:{server.server_port}/customers/{number}")
            assert answer.text == f"customer {number}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class QuietHandler(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, *_):
        """Nothing."""


def view(_, number):
    """One query a request."""
    with Session(engine) as session:
        return HttpResponse(session.get(shop.Customer, number).name)


urlpatterns = [path("customers/<int:number>", view)]


@pytest.mark.dbsight(fail_on="n_plus_one")
def test_a_request_with_a_loop_fails(client):
    """Within one request."""
    client.get("/orders")
