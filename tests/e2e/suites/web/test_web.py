"""Requests of test clients are looked at one by one."""

import asyncio

import httpx
import pytest
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


@pytest.mark.dbsight(fail_on="n_plus_one")
def test_a_request_with_a_loop_fails(client):
    """Within one request."""
    client.get("/orders")
