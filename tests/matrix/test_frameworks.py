"""Web frameworks and task queues on their real servers: root, route, findings and call sites are right in each."""

import signal
import subprocess
from pathlib import Path

import pytest

from e2e.observed import line_of
from embedded import free_port
from matrix.programs import MODELS
from matrix.serving import get, serving

pytestmark = pytest.mark.slow

BOOTSTRAPPED = ("aiohttp-server", "celery", "django", "fastapi", "flask", "sqlite3", "starlette")
"""The instrumentations of these frameworks that ``opentelemetry-bootstrap -a install`` would install."""

WEB = (
    "sqlalchemy ==2.1.*",
    "aiosqlite",
    "aiohttp",
    "celery",
    "django",
    "fastapi",
    "flask",
    "gevent",
    "greenlet",
    "gunicorn",
    "pyuwsgi",
    "uvicorn",
    "uvicorn-worker",
    *(f"opentelemetry-instrumentation-{name} >=0.63b0" for name in BOOTSTRAPPED),
)
FLASK = f"""{MODELS}
from flask import Flask

app = Flask(__name__)
engine = create_engine(os.environ["DATABASE_URL"])


@app.route("/books/<int:number>")
def books(number):
    with Session(engine) as session:
        return [book.author.name for book in session.execute(select(Book)).scalars()]  # loop
"""

FASTAPI = f"""{MODELS}
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

app = FastAPI()
engine = create_async_engine(os.environ["DATABASE_URL"].replace("sqlite:", "sqlite+aiosqlite:"))


@app.get("/books/{{number}}")
async def books(number: int):
    async with AsyncSession(engine) as session:
        found = (await session.execute(select(Book))).scalars().all()
        names = []
        for book in found:
            session.sync_session.expunge(book)
            author = select(Author).where(Author.id == book.author_id)
            names.append((await session.execute(author)).scalar_one().name)  # loop
        return names
"""

STARLETTE = f"""{MODELS}
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

engine = create_engine(os.environ["DATABASE_URL"])


def books(request):
    with Session(engine) as session:
        return JSONResponse([book.author.name for book in session.execute(select(Book)).scalars()])  # loop


app = Starlette(routes=[Route("/books/{{number:int}}", books)])
"""

AIOHTTP = f"""{MODELS}
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"].replace("sqlite:", "sqlite+aiosqlite:"))


async def books(request):
    async with AsyncSession(engine) as session:
        found = (await session.execute(select(Book))).scalars().all()
        names = []
        for book in found:
            author = select(Author).where(Author.id == book.author_id)
            names.append((await session.execute(author)).scalar_one().name)  # loop
        return web.json_response(names)


application = web.Application()
application.add_routes([web.get("/books/{{number}}", books)])
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""

DJANGO = """
import django
from django.core.wsgi import get_wsgi_application
from django.db import models
from django.http import JsonResponse
from django.urls import path

django.setup()


class Author(models.Model):
    name = models.TextField()

    class Meta:
        app_label = "shop"
        db_table = "authors"
        managed = False


class Book(models.Model):
    title = models.TextField()
    author = models.ForeignKey(Author, models.CASCADE)

    class Meta:
        app_label = "shop"
        db_table = "books"
        managed = False


def books(request, number):
    return JsonResponse([book.author.name for book in Book.objects.all()], safe=False)  # loop


urlpatterns = [path("books/<int:number>", books)]
app = get_wsgi_application()
"""

SETTINGS = """
import os

ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE_URL"][10:]}}
ROOT_URLCONF = "app"
SECRET_KEY = "none"
USE_TZ = True
"""
"""Django's settings, in a module that its instrumentation is told of."""


def gunicorn(*options):
    """How gunicorn is started with these options."""
    return lambda port: ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--log-level", "warning", *options, "app:app"]


def uvicorn(*options):
    """How uvicorn is started."""
    return lambda port: ["-m", "uvicorn", "--port", str(port), "--log-level", "warning", *options, "app:app"]


def uwsgi():
    """How uWSGI is started: the master loads the application, and forks.

    Without ``--py-call-osafterfork`` it forks behind Python's back: OpenTelemetry's reader of metrics stays in the
    master then, and what another thread held stays held.
    """
    run = "import pyuwsgi; pyuwsgi.run()"
    options = ("--master", "--processes", "2", "--enable-threads", "--py-call-osafterfork", "--die-on-term")
    return lambda port: ["-c", run, "--http-socket", f"127.0.0.1:{port}", *options, "--module", "app:app"]


SERVERS = {
    "flask, gunicorn": (FLASK, gunicorn("--workers", "2"), "GET /books/<int:number>"),
    "flask, gunicorn preloaded": (FLASK, gunicorn("--workers", "2", "--preload"), "GET /books/<int:number>"),
    "flask, gunicorn threads": (
        FLASK,
        gunicorn("--worker-class", "gthread", "--threads", "4"),
        "GET /books/<int:number>",
    ),
    "flask, uwsgi": (FLASK, uwsgi(), "GET /books/<int:number>"),
    "flask, gunicorn gevent": (FLASK, gunicorn("--worker-class", "gevent"), "GET /books/<int:number>"),
    "fastapi, uvicorn": (FASTAPI, uvicorn(), "GET /books/{number}"),
    "fastapi, uvicorn workers": (FASTAPI, uvicorn("--workers", "2"), "GET /books/{number}"),
    "fastapi, gunicorn uvicorn workers": (
        FASTAPI,
        gunicorn("--workers", "2", "--worker-class", "uvicorn_worker.UvicornWorker"),
        "GET /books/{number}",
    ),
    "starlette, uvicorn": (STARLETTE, uvicorn(), "GET /books/{number:int}"),
    "django, gunicorn": (DJANGO, gunicorn("--workers", "2"), "GET books/<int:number>"),
    "aiohttp": (AIOHTTP, lambda port: ["app.py", str(port)], "GET /books/{number}"),
}
"""Program, how it is started at a port, and the name of its route."""


def pairs_of(receiver):
    """Each root with its queries."""
    spans = receiver.spans()
    queries = {}
    for span in spans:
        if "db.query.summary" in span.attributes and span.kind == "CLIENT":
            queries.setdefault(span.trace_id, []).append(span)
    return [
        (root, sorted(queries.get(root.trace_id, ()), key=lambda span: span.start_ns))
        for root in spans
        if root.kind == "SERVER"
    ]


@pytest.mark.parametrize("server", SERVERS)
def test_requests_are_judged_each_by_itself(server, python_of, receiver, sqlite_url, tmp_path):
    """Six requests, two at a time where there are two workers: route, N+1, its line in the view, nothing twice."""
    program, command, route = SERVERS[server]
    (tmp_path / "app.py").write_text(program.lstrip("\n"))
    port = free_port()
    env = {"DATABASE_URL": sqlite_url, "OTEL_SERVICE_NAME": "web"}
    if "uwsgi" in server:  # gRPC does not survive a fork that it is not told of
        env |= {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint}
    if program is DJANGO:
        (tmp_path / "settings.py").write_text(SETTINGS)
        env["DJANGO_SETTINGS_MODULE"] = "settings"
    with serving(command(port), python=python_of(*WEB), cwd=tmp_path, receiver=receiver, env=env):
        answers = [get(f"http://127.0.0.1:{port}/books/{number}") for number in range(6)]
        assert len(set(answers)) == 1
        assert "author 5" in answers[0]
        receiver.wait_for(lambda arrived: len([span for span in arrived.spans() if span.kind == "SERVER"]) == 6, 60)
        receiver.wait_for(
            lambda arrived: sum(point.count for point in durations(arrived)) == 6 * loop_of(program),
            60,
        )
    output = (tmp_path / "output.txt").read_text()
    assert "dbsight:" not in output
    # OpenTelemetry's own threads do not survive that gevent replaces threads below them.
    assert "gevent" in server or "Traceback" not in output
    assert "src/dbsight" not in output
    pairs = pairs_of(receiver)
    assert [root.name for root, _ in pairs] == [route] * 6
    for root, queries in pairs:
        assert [span.attributes["db.query.summary"].replace('"', "") for span in queries] == [
            "SELECT books",
            *["SELECT authors"] * (loop_of(program) - 1),
        ]
        assert {span.attributes["code.line.number"] for span in queries[1:]} == {line_of(program, "loop")}
        assert {span.attributes["code.file.path"] for span in queries} == {"app.py"}
        assert root.attributes["dbsight.db.calls"] == loop_of(program)
        assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
        (event,) = root.events_named("dbsight.finding")
        assert event.attributes["code.line.number"] == line_of(program, "loop")
    assert len([span for span in receiver.spans() if "db.query.summary" in span.attributes]) == 6 * loop_of(program)


SLOW = """
import time

from django.db import connection
from django.db.backends.signals import connection_created


def sleeper(sender, connection, **_):
    connection.connection.create_function("compute", 1, lambda seconds: time.sleep(seconds) or seconds)


connection_created.connect(sleeper)


def slow(request, number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT compute(%s) AS computed, name FROM authors WHERE id = %s", [0.4, number])  # slow
        return JsonResponse(cursor.fetchall(), safe=False)


urlpatterns.append(path("slow/<int:number>", slow))
"""


def test_djangos_queries_have_fingerprints_and_classes(python_of, receiver, sqlite_url, tmp_path):
    """On the spans of its driver's instrumentation: the same query is one fingerprint, and a slow one says so."""
    (tmp_path / "app.py").write_text((DJANGO + SLOW).lstrip("\n"))
    (tmp_path / "settings.py").write_text(SETTINGS)
    port = free_port()
    env = {"DATABASE_URL": sqlite_url, "DJANGO_SETTINGS_MODULE": "settings", "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": "0.3"}
    with serving(gunicorn()(port), python=python_of(*WEB), cwd=tmp_path, receiver=receiver, env=env):
        for page in ("books/1", "slow/1", "slow/2"):
            get(f"http://127.0.0.1:{port}/{page}")
        receiver.wait_for(lambda arrived: len([span for span in arrived.spans() if span.kind == "SERVER"]) == 3, 40)
    pairs = sorted(pairs_of(receiver), key=lambda pair: pair[0].start_ns)
    (_, listed), *slow = pairs
    books, *authors = (span.attributes["dbsight.query.fingerprint"] for span in listed)
    assert (len(authors), len(set(authors)), books in authors) == (10, 1, False)
    assert [root.name for root, _ in slow] == ["GET slow/<int:number>"] * 2
    for root, queries in slow:
        (query,) = queries
        assert "0.4" not in str(query.attributes)
        assert query.attributes["dbsight.query.class"] in {"slow", "very_slow"}
        assert query.attributes["code.line.number"] == line_of(DJANGO + SLOW, "slow")
        (event,) = query.events_named("dbsight.finding")
        assert event.attributes["dbsight.finding.rule"] == "slow_query"
        assert root.attributes["dbsight.findings.rules"] == ["slow_query"]
    assert len({query.attributes["dbsight.query.fingerprint"] for _, (query,) in slow}) == 1


def test_bootstrap_would_install_the_same(python_of):
    """It names the instrumentation of each framework here."""
    command = [Path(python_of(*WEB)).with_name("opentelemetry-bootstrap"), "-a", "requirements"]
    wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {f"opentelemetry-instrumentation-{name}" for name in BOOTSTRAPPED} <= {
        line.partition("==")[0] for line in wanted
    }


def loop_of(program):
    """How many queries a request makes: five authors by the session's identity map, or ten without it."""
    return 6 if "create_engine(os" in program and "AsyncSession" not in program else 11


def durations(receiver):
    """The newest points of all processes."""
    newest = {}
    for metric in receiver.metrics("db.client.operation.duration"):
        for point in metric.points:
            key = (point.start_ns, repr(sorted(point.attributes.items())))
            newest[key] = point
    return newest.values()


CELERY = f"""{MODELS}
from pathlib import Path

from celery import Celery

queue = Path(os.environ["QUEUE"])
app = Celery("app")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{"data_folder_in": str(queue), "data_folder_out": str(queue)}},
    worker_hijack_root_logger=False,
)
engine = create_engine(os.environ["DATABASE_URL"])


@app.task
def books(number):
    with Session(engine) as session:
        return [book.author.name for book in session.execute(select(Book)).scalars()]  # loop


if __name__ == "__main__":
    for number in range(4):
        books.delay(number)
"""


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_tasks_of_celery_are_judged_each_by_itself(pool, python_of, observe, receiver, sqlite_url, tmp_path):
    """Four tasks on a worker: each a root of its own in the trace of whoever asked for it."""
    (tmp_path / "app.py").write_text(CELERY.lstrip("\n"))
    (tmp_path / "queue").mkdir()
    python = python_of(*WEB)
    env = {"DATABASE_URL": sqlite_url, "QUEUE": str(tmp_path / "queue")}
    observe(["app.py"], python=python, cwd=tmp_path, env=env).run.check()
    asked = {span.trace_id for span in receiver.spans() if span.kind == "PRODUCER"}
    assert len(asked) == 4
    command = ["-m", "celery", "-A", "app", "worker", "--pool", pool, "--concurrency", "2", "--loglevel", "ERROR"]
    with serving(command, python=python, cwd=tmp_path, receiver=receiver, env=env, stop=signal.SIGTERM):
        receiver.wait_for(lambda arrived: len([span for span in arrived.spans() if span.kind == "CONSUMER"]) == 4, 40)
    tasks = [span for span in receiver.spans() if span.kind == "CONSUMER"]
    assert {span.trace_id for span in tasks} == asked
    for task in tasks:
        queries = [span for span in receiver.spans() if span.parent_span_id == task.span_id]
        assert [span.name for span in sorted(queries, key=lambda span: span.start_ns)] == [
            "SELECT books",
            *["SELECT authors"] * 5,
        ]
        assert {span.attributes["code.line.number"] for span in queries} == {line_of(CELERY, "loop")}
        assert task.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert "dbsight:" not in (tmp_path / "output.txt").read_text()
