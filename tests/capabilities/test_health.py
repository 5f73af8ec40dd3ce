"""Health checks of databases: by function, as a metric, and at an endpoint."""

import asyncio
import contextlib
import json
import socket
import wsgiref.validate
from wsgiref.util import setup_testing_defaults

import pytest
import redis
import redis.asyncio
from click.testing import CliRunner
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import dbsight
from dbsight import health
from dbsight.cli.main import main

DOWN = "postgresql+{}://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def measured(monkeypatch):
    """The status of each component, as a metric."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(health, "get_meter_provider", lambda: provider)
    monkeypatch.setattr(health, "_latest", {})

    def read():
        data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0]
        assert data.name == "dbsight.health.status"
        return {point.attributes["component"]: point.value for point in data.data.data_points}

    return read


def test_a_database_that_answers_is_healthy_and_one_that_is_away_is_not(measured):
    """Engine, session and connection; the message of an error is not shown, its class is."""
    up, down = create_engine("sqlite://"), create_engine(DOWN.format("psycopg"))
    assert dbsight.health_check(up, "shop").healthy
    with Session(up) as session, up.connect() as connection:
        assert dbsight.health_check(session)
        assert dbsight.health_check(connection)
    result = dbsight.health_check(down, "archive")
    assert (result.healthy, result.component, result.error) == (False, "archive", "OperationalError")
    assert result.duration > 0
    assert measured() == {"shop": 1, "database": 1, "archive": 0}
    assert dbsight.health_check(up, "archive")
    assert measured()["archive"] == 1
    with pytest.raises(TypeError, match="object"):
        dbsight.health_check(object())


def test_an_asynchronous_target_is_awaited(measured, redis_server):
    """Engine, session and Redis client."""

    async def main():
        engine = create_async_engine("sqlite+aiosqlite://")
        client = redis.asyncio.Redis.from_url(redis_server.url())
        async with AsyncSession(engine) as session:
            results = [await dbsight.health_check(target) for target in (engine, session, client)]
        await client.aclose()
        await engine.dispose()
        down = create_async_engine(DOWN.format("asyncpg"))
        return [*results, await dbsight.health_check(down)]

    assert [each.healthy for each in asyncio.run(main())] == [True, True, True, False]


def test_a_redis_server_is_pinged(measured, redis_server):
    """And one that is away is not healthy."""
    with contextlib.closing(redis.Redis.from_url(redis_server.url())) as client:
        assert dbsight.health_check(client, "cache")
    with contextlib.closing(redis.Redis(port=1)) as client:
        assert dbsight.health_check(client, "cache").error == "ConnectionError"
    assert measured() == {"cache": 0}


def test_checks_are_no_queries_of_the_statistics(measured, sqlalchemy):
    """A ping counts as nothing."""
    dbsight.create_performance_monitor()
    assert dbsight.health_check(create_engine("sqlite://"))
    assert dbsight.stats().total == 0


def test_the_endpoint_answers_200_while_every_component_answers(measured):
    """Else 503; the JSON says which one does not."""
    up, down = create_engine("sqlite://"), create_engine(DOWN.format("psycopg"))

    async def ask(application):
        sent = []

        async def send(message):
            sent.append(message)

        await application({"type": "http"}, None, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    status, answer = asyncio.run(ask(dbsight.Healthz(shop=up)))
    assert (status, answer["status"]) == (200, "ok")
    status, answer = asyncio.run(ask(dbsight.Healthz(shop=up, archive=down)))
    assert (status, answer["status"]) == (503, "failed")
    assert answer["checks"]["shop"]["healthy"]
    assert answer["checks"]["archive"]["error"] == "OperationalError"
    assert "127.0.0.1" not in json.dumps(answer)


def test_the_wsgi_endpoint_gives_the_same(measured):
    """Checked by the validator of the standard library; an asynchronous engine is refused at once."""
    application = wsgiref.validate.validator(dbsight.WSGIHealthz(shop=create_engine("sqlite://")))
    environ, started = {}, []
    setup_testing_defaults(environ)
    body = application(environ, lambda status, headers: started.append((status, headers)))
    assert json.loads(b"".join(body))["status"] == "ok"
    body.close()
    assert started[0][0] == "200 OK"
    with pytest.raises(TypeError, match="asynchronous"):
        dbsight.WSGIHealthz(shop=create_async_engine("sqlite+aiosqlite://"))


def test_a_check_that_hangs_is_given_up(measured, monkeypatch):
    """After the timeout of the endpoint."""

    class Hanging:
        async def ping(self):
            await asyncio.sleep(60)

    (result,) = asyncio.run(dbsight.Healthz(timeout=0.05, cache=Hanging()).check())
    assert (result.healthy, result.error) == (False, "TimeoutError")


@pytest.mark.parametrize("application", [dbsight.Healthz, dbsight.WSGIHealthz])
def test_an_endpoint_that_could_not_check_fails_at_the_start(application):
    """And not at each request."""
    with pytest.raises(ValueError, match="nothing to check"):
        application()
    with pytest.raises(TypeError, match="cannot check str"):
        application(shop="sqlite://")


def test_the_command_asks_each_database_and_its_exit_code_tells(redis_server, tmp_path):
    """Without URLs those of the environment; passwords are not shown; a host that does not answer is given up."""

    def call(*arguments, **environ):
        done = CliRunner().invoke(main, ["health", *arguments], env={"DATABASE_URL": "", "REDIS_URL": "", **environ})
        return done.exit_code, done.output

    url = f"sqlite:///{tmp_path}/shop.db"
    code, output = call(DATABASE_URL=url, REDIS_URL=redis_server.url())
    assert code == 0
    first, second = output.splitlines()
    assert first.startswith(f"✔ {url}  answered in ")
    assert second.startswith("✔ redis ")
    code, output = call(url, DOWN.format("psycopg").replace("nobody", "nobody:SECRET"))
    assert code == 1
    assert output.splitlines()[1] == (
        "✘ postgresql+psycopg://nobody:***@127.0.0.1:1/nothing  did not answer: OperationalError"
    )
    code, output = call("--json", "sqlite+aiosqlite://", DOWN.format("asyncpg"))
    assert code == 1
    assert [each["healthy"] for each in json.loads(output)] == [True, False]
    assert call()[0] == 2
    code, output = call("nosuch://user:SECRET@host")
    assert code == 2
    assert "SECRET" not in output
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, output = call(f"redis://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.05")
    assert code == 1
    assert output.endswith("did not answer: TimeoutError\n")
