"""Django as it is deployed: one span per statement below its request, findings at the view's line, nothing lost.

The batch span processor exports once a minute here: what arrives was flushed as the process reloaded, ended by itself,
or was told to.
"""

import itertools
import json
import os
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import servers
from e2e import runner
from embedded import free_port
from matrix.serving import get, running
from waiting import until

PROJECT = Path(__file__).parent / "deployed"
LATE = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "60000"}
TRANSACTIONS = {"OTEL_DBSIGHT_LONG_TRANSACTION_THRESHOLD": "200ms"}
ORDERS = {'SELECT "deployed_order"': 1, 'SELECT "deployed_customer"': 10}
JOINED = 'Order.objects.select_related("customer")'
IN_BULK = "Customer.objects.in_bulk(keys)  # objects by primary key"
SHORTER = "with transaction.atomic():  # after the slow work, only around the statements"
NOT_ATOMIC = "@transaction.non_atomic_requests  # and transaction.atomic() only around the statements"


def line_of(marker, file="views.py"):
    """The number of the line that ends with a marker."""
    lines = (PROJECT / file).read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.endswith((f"# {marker}", f" - {marker}")))
    return number


def base(**env):
    """The environment of a process of the project, which says itself where its settings are."""
    return {"PYTHONPATH": str(PROJECT.parent), "OTEL_SERVICE_NAME": "site", **LATE, **env}


@pytest.fixture(scope="module")
def on_postgresql(postgresql_server, frameworks, tmp_path_factory):
    """The environment of a project whose database is filled."""
    with servers.fresh(postgresql_server) as at:
        names = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")
        env = base(**dict(zip(names, (at.host, str(at.port), at.user, at.password, at.name), strict=True)))
        fill(frameworks, env, tmp_path_factory.mktemp("filled"))
        yield env


@pytest.fixture
def on_sqlite(frameworks, tmp_path):
    """The same on a file."""
    env = base(SQLITE=str(tmp_path / "site.db"))
    fill(frameworks, env, tmp_path)
    return env


def exporting(receiver):
    """Over HTTP: gRPC does not survive a fork at the moment of an export, whoever uses it."""
    return {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint}


def fill(python, env, cwd):
    """Make tables and rows."""
    runner.run_instrumented(["-m", "deployed.fill"], cwd=cwd, env=env, prefix=(), python=python).check()


@pytest.fixture
def serve(frameworks, receiver, tmp_path):
    """Starts a server, requests pages, ends it by SIGTERM; what it said and what its requests led to."""

    def serve(command, env, *pages):
        port = free_port()
        command = ["opentelemetry-instrument", *(word.replace("PORT", str(port)) for word in command)]
        said = tmp_path / "said.txt"
        options = {"python": frameworks, "cwd": PROJECT.parent, "env": env | exporting(receiver)}
        with running(command, output=said, receiver=receiver, **options):
            answers = [get(f"http://127.0.0.1:{port}/{page}") for page in pages]
        assert not [answer for answer in answers if re.fullmatch(r"5\d\d", answer)]
        return said.read_text()

    return serve


def requests(receiver):
    """By page: the statements below its request, and what was found: rule, line, suggestion."""
    spans = receiver.spans()
    found = {}
    for root in spans:
        if root.kind in {"SERVER", "CONSUMER"}:
            below = [span for span in spans if span.kind == "CLIENT" and span.parent_span_id == root.span_id]
            events = [event.attributes for event in root.events if event.name == "dbsight.finding"]
            findings = [
                (
                    event["dbsight.finding.rule"],
                    f"{Path(event['code.file.path']).name}:{event['code.line.number']}",
                    event["dbsight.finding.suggestion"],
                )
                for event in events
                if event["dbsight.finding.rule"] not in {"slow_query", "blocking_call"}
                # The first request of a process takes so long that ten queries may be a small share of it.
                and (event["dbsight.finding.severity"] != "info" or event["dbsight.finding.count"] >= 10)
            ]
            assert root.attributes.get("dbsight.db.calls", 0) == len(below)
            found.setdefault(root.name, []).append((Counter(span.name for span in below), findings))
    queries = [span for span in spans if span.kind == "CLIENT"]
    assert {span.scope.name for span in queries} <= {"dbsight"}
    assert receiver.points("dbsight.self.errors") == []
    return found


def n_plus_one(marker, suggestion=JOINED, file="views.py"):
    """The finding of a loop."""
    return [("n_plus_one", f"{file}:{line_of(marker, file)}", suggestion)]


SYNC = {"GET orders": [(ORDERS, n_plus_one("sync"))]}
ASYNC = {
    "GET async": [(ORDERS, n_plus_one("async", IN_BULK))],
    "GET thread": [(ORDERS, n_plus_one("thread"))],
}


@pytest.mark.parametrize("arguments", [[], ["--preload"]], ids=["prefork", "preload"])
def test_gunicorn_serves_views_of_both_kinds(arguments, serve, on_postgresql, receiver):
    """WSGI, two workers: each flushes its own as it ends; gunicorn alone speaks."""
    command = ["gunicorn", "deployed.wsgi", "--workers", "2", "--bind", "127.0.0.1:PORT", *arguments]
    said = serve(command, on_postgresql, "orders", "async", "thread")
    assert requests(receiver) == SYNC | ASYNC
    assert [line for line in said.splitlines() if "[INFO]" not in line] == []


def test_uvicorn_serves_views_of_both_kinds(serve, on_postgresql, receiver):
    """ASGI: the ORM runs in threads, and the line that awaits it is found."""
    command = ["uvicorn", "deployed.asgi:application", "--port", "PORT"]
    said = serve(command, on_postgresql, "orders", "async", "thread", "gathered")
    assert requests(receiver) == SYNC | ASYNC | {"GET gathered": [({'SELECT "deployed_order"': 2}, [])]}
    assert [line for line in said.splitlines() if not line.startswith("INFO:")] == []


def test_uvicorn_serves_wsgi(serve, on_sqlite, receiver):
    """Each request runs in a thread of a pool; upstream ends its span before what it streams is asked for."""
    command = ["uvicorn", "deployed.wsgi:application", "--interface", "wsgi", "--port", "PORT"]
    said = serve(command, on_sqlite, "orders", "async", "thread", "streamed")
    assert requests(receiver) == SYNC | ASYNC | {"GET streamed": [({'SELECT "deployed_order"': 1}, [])]}
    (window,) = receiver.spans("dbsight.window")
    (event,) = [each for each in window.events if each.attributes["dbsight.finding.rule"] == "n_plus_one"]
    assert window.attributes["dbsight.db.calls"] == 10
    assert event.attributes["code.line.number"] == line_of("streamed")
    assert event.attributes["dbsight.finding.suggestion"] == JOINED
    assert "Traceback" not in said


def test_the_development_server_ends_by_sigterm(serve, on_sqlite, receiver):
    """Without its reloader, with DEBUG and a middleware that asks before the view."""
    command = ["python", "deployed/manage.py", "runserver", "--noreload", "127.0.0.1:PORT"]
    said = serve(command, on_sqlite | {"DEBUG": "1", "MIDDLEWARE": "1"}, "orders")
    ((queries, findings),) = requests(receiver)["GET orders"]
    assert (queries, findings) == (ORDERS | {'SELECT "deployed_customer"': 11}, n_plus_one("sync"))
    assert "dbsight" not in said
    assert "Traceback" not in said


def test_the_development_server_reloads(frameworks, on_sqlite, receiver, tmp_path):
    """The child that serves is replaced when a file changes: the spans of both arrive, those of the parent are none."""
    shutil.copytree(PROJECT, tmp_path / "deployed", ignore=shutil.ignore_patterns("__pycache__"))
    port = free_port()
    command = ["opentelemetry-instrument", "python", "deployed/manage.py", "runserver", f"127.0.0.1:{port}"]
    env = on_sqlite | exporting(receiver) | {"PYTHONPATH": str(tmp_path), "DEBUG": "1"}
    said = tmp_path / "said.txt"
    options = {"python": frameworks, "cwd": tmp_path, "output": said, "receiver": receiver, "env": env}
    with running(command, **options) as process:
        get(f"http://127.0.0.1:{port}/orders")
        changes = itertools.count(int(time.time()) + 10)

        def reloads():
            """Change a file: the reloader must have seen it before, which nothing tells."""
            later = next(changes)
            os.utime(tmp_path / "deployed" / "urls.py", (later, later))
            time.sleep(0.3)
            return said.read_text().count("Watching for file changes") == 2

        until(reloads)  # the old child has ended
        get(f"http://127.0.0.1:{port}/quick")
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        process.wait(40)
        receiver.wait_for(lambda arrived: "GET quick" in requests(arrived), 30)
    assert requests(receiver) == SYNC | {"GET quick": [({'SELECT "deployed_order"': 1}, [])]}
    assert "Traceback" not in said.read_text()


def test_django_runs_its_tests_as_before(frameworks, on_sqlite, observe):
    """Same output; the requests of the tests are judged, making the test database is not a finding."""
    command = ["deployed/manage.py", "test", "deployed"]
    options = {"cwd": PROJECT.parent, "python": frameworks, "env": on_sqlite | TRANSACTIONS | {"IDLE": "1"}}
    bare = observe(command, receiver=None, prefix=(), **options).run.check()
    seen = observe(command, **options)
    run = seen.run.check()
    timeless = [re.sub(r"in [\d.]+s", "in s", text) for text in (run.stderr, bare.stderr)]
    assert timeless[0] == timeless[1]
    assert run.stdout == bare.stdout
    assert requests(seen)["GET orders"] == SYNC["GET orders"] * 3
    windows = [span for span in seen.spans("dbsight.window") if "dbsight.findings.rules" in span.attributes]
    assert [span.attributes["dbsight.findings.rules"] for span in windows] == []


def test_a_task_of_celery_is_a_unit_of_work(frameworks, on_postgresql, receiver, redis_process, tmp_path):
    """A prefork worker with Django's fix-up: its child ends without exit handlers, and flushes all the same."""
    with servers.fresh(redis_process) as broker:
        env = on_postgresql | exporting(receiver) | {"BROKER_URL": broker.url()}
        command = ["opentelemetry-instrument", "celery", "--app", "deployed.tasks", "worker", "-c", "1", "-l", "INFO"]
        said = tmp_path / "said.txt"
        options = {"python": frameworks, "cwd": PROJECT.parent, "env": env}
        with running(command, output=said, receiver=receiver, **options):
            until(lambda: "celery@" in said.read_text())
            send = "from deployed import tasks; tasks.total.delay()"
            runner.run_instrumented(["-c", send], receiver=receiver, **options).check()
            until(lambda: "succeeded" in said.read_text())
    tasks = requests(receiver)
    assert tasks == {"run/deployed.tasks.total": [(ORDERS, n_plus_one("task", file="tasks.py"))]}
    assert "Traceback" not in said.read_text()


def test_transactions_are_found_where_they_were_opened(serve, on_postgresql, receiver):
    """At ``atomic()`` and not at the first statement; savepoints are part of it, ``on_commit`` comes after it."""
    pages = ("idle", "decorated", "class", "afterwards", "undone")
    serve(["gunicorn", "deployed.wsgi", "--bind", "127.0.0.1:PORT"], on_postgresql | TRANSACTIONS, *pages)
    found = requests(receiver)
    assert {name: [findings for _, findings in each] for name, each in found.items()} == {
        "GET idle": [[("long_transaction", f"views.py:{line_of('atomic')}", SHORTER)]],
        "GET decorated": [[("long_transaction", f"views.py:{line_of('decorated')}", SHORTER)]],
        "GET class": [[]],
        "GET afterwards": [[]],
        "GET undone": [[]],
    }
    assert connections(receiver)[:3] == (5, 5, 0)  # one for each request
    assert found["GET undone"][0][0] == {
        'UPDATE "deployed_order"': 2,
        'INSERT "deployed_order"': 1,
        "SAVEPOINT": 1,
        "ROLLBACK TO SAVEPOINT": 1,
        "RELEASE SAVEPOINT": 1,
    }


def test_a_request_that_is_a_transaction_is_found_at_its_view(serve, on_sqlite, receiver):
    """``ATOMIC_REQUESTS``, a function and a class; what follows the commit is no part of it."""
    env = on_sqlite | TRANSACTIONS | {"ATOMIC": "1"}
    serve(["gunicorn", "deployed.wsgi", "--bind", "127.0.0.1:PORT"], env, "class", "plain", "afterwards")
    found = {name: [findings for _, findings in each] for name, each in requests(receiver).items()}
    assert found == {
        "GET class": [[("long_transaction", f"views.py:{line_of('class')}", NOT_ATOMIC)]],
        "GET plain": [[("long_transaction", f"views.py:{line_of('plain')}", NOT_ATOMIC)]],
        "GET afterwards": [[]],
    }


def connections(receiver):
    """Of the pools: how many connections were made, requests that had one, connections that are open at the end."""
    made = receiver.points("db.client.connection.create_time")
    used = receiver.points("db.client.connection.use_time")
    kept = [
        point
        for point in receiver.points("db.client.connection.count")
        if point.attributes["db.client.connection.state"] == "idle"
    ]
    names = {point.attributes["db.client.connection.pool.name"] for point in (*made, *used, *kept)}
    return sum(point.count for point in made), sum(point.count for point in used), kept[-1].value, names


@pytest.mark.parametrize(
    ("env", "made", "kept"),
    [({"MAX_AGE": "60", "HEALTH": "1"}, 1, 1), ({"POOL": "1", "HEALTH": "1"}, None, None)],
    ids=["persistent", "pool"],
)
def test_connections_are_counted_as_those_of_pools(env, made, kept, serve, on_postgresql, receiver):
    """One that is kept, and Django's own pool: made and used are told by the metrics of pools."""
    serve(["gunicorn", "deployed.wsgi", "--bind", "127.0.0.1:PORT"], on_postgresql | env, *["quick"] * 4)
    created, used, idle, names = connections(receiver)
    assert (used, len(names)) == (4, 1)
    assert names == {f"{on_postgresql['PGHOST']}:{on_postgresql['PGPORT']}/{on_postgresql['PGDATABASE']}"}
    if made is None:
        assert 1 <= created <= 3
        assert receiver.points("db.client.connection.max")[-1].value == 3
    else:
        assert (created, idle) == (made, kept)
    checks = 3 if "MAX_AGE" in env else 0
    queries = [queries for queries, _ in requests(receiver)["GET quick"]]
    assert sum(each["SELECT"] for each in queries) == checks  # Django's own, of a connection that it kept


SERVED = """
import sys
from wsgiref.util import setup_testing_defaults

import gunicorn  # serves it, for what a checklist knows

from deployed.wsgi import application


def request(page):
    environ = {"PATH_INFO": f"/{page}"}
    setup_testing_defaults(environ)
    answer = application(environ, lambda *_: None)
    list(answer)
    answer.close()


for _ in range(25):
    request("quick")
request(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("env", "page", "marks", "said"),
    [
        (
            {"DEBUG": "1", "ATOMIC": "1"},
            "long",
            "✘✘✘",
            ["CONN_MAX_AGE is 0, 26 connections for 26 uses", "views.py:", "DEBUG is on under gunicorn"],
        ),
        ({"MAX_AGE": "60"}, "quick", "✔✔✔", ["connections are kept: 1 connection for 26 uses outside pools"]),
    ],
    ids=["wrong", "right"],
)
def test_doctor_looks_at_djangos_settings(env, page, marks, said, frameworks, on_postgresql, tmp_path):
    """And at what they led to: connections that were opened, the request that was a transaction for a second."""
    (tmp_path / "served.py").write_text(SERVED)
    command = ["-c", "from dbsight.cli.main import main; main()", "doctor", "--json", "--", "python", "served.py", page]
    run = runner.run_instrumented(command, cwd=tmp_path, env=on_postgresql | env, prefix=(), python=frameworks)
    lines = [each for each in json.loads(run.stdout) if each["check"].startswith("django-")]
    assert "".join(each["mark"] for each in lines) == marks
    assert [text for text, each in zip(said, lines, strict=False) if text not in each["text"]] == []


def test_django_can_be_left_to_its_driver(serve, on_sqlite, receiver):
    """``dbsight_django`` disabled: statements have spans, without relation; upstream's requests are there."""
    env = on_sqlite | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "dbsight_django"}
    serve(["gunicorn", "deployed.wsgi", "--bind", "127.0.0.1:PORT"], env, "orders")
    ((queries, findings),) = requests(receiver)["GET orders"]
    assert {**queries} == ORDERS | {name: count for name, count in queries.items() if name not in ORDERS}
    assert [rule for rule, _, _ in findings] == ["n_plus_one"]
    assert not [span for span in receiver.spans() if "dbsight.orm.relationship" in span.attributes]
    assert receiver.points("db.client.connection.create_time") == []
