"""The examples with frameworks: their own command lines, on real servers, give what their first lines promise."""

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector import conversion
from embedded import Unavailable, free_port
from matrix.serving import get, running

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDERS = [f"book {number} for customer {number}" for number in range(1, 26)]


@dataclass(frozen=True)
class Page:
    """An example that serves a page.

    Attributes:
        promise: The file whose first lines say how it is started, and what is seen then.
        source: The file with the loop.
        loop: What stands in the line that asks once for each order.
        server: Fixture of its database.
        root: Name of the span of the faulty page.
        query: Name of the spans of the queries that are repeated.
        calls: Queries of the faulty page, and of the fixed one.
        suggestion: What is to be written instead; empty where no ORM says.
        scheme: Of the URL of its database; that of the system by default.
    """

    promise: str
    source: str
    loop: str
    server: str
    root: str
    query: str
    calls: tuple[int, int]
    suggestion: str
    scheme: str = ""


JOINED = "select(Order).options(joinedload(Order.customer))"
REPEATED = re.compile(r'FROM "?\w*customer')
IN_THE_LOOP = "order.customer.name"
PAGES = {
    "flask": Page(
        *("flask_pymysql.py", "flask_pymysql.py", IN_THE_LOOP, "mariadb"),
        *("GET /orders", "SELECT customers", (26, 1), JOINED),
    ),
    "fastapi": Page(
        *("fastapi_asyncpg.py", "fastapi_asyncpg.py", "fetchval(", "postgresql"),
        *("GET /orders", "SELECT customers", (26, 2), ""),
    ),
    "django": Page(
        *("django_psycopg/__init__.py", "django_psycopg/site.py", IN_THE_LOOP, "postgresql"),
        *("GET orders", 'SELECT "shop_customer"', (26, 1), 'Order.objects.select_related("customer")'),
    ),
    "async session": Page(
        *("fastapi_async_session.py", "fastapi_async_session.py", "session.get_one(", "postgresql"),
        *("GET /orders", "SELECT customers", (26, 1), "", "postgresql+asyncpg"),
    ),
    "sqlmodel": Page(
        *("fastapi_sqlmodel.py", "fastapi_sqlmodel.py", IN_THE_LOOP, "postgresql"),
        *("GET /orders", "SELECT customers", (26, 1), JOINED, "postgresql+psycopg"),
    ),
    "gunicorn": Page(
        *("gunicorn_prefork.py", "flask_pymysql.py", IN_THE_LOOP, "mariadb"),
        *("GET /orders", "SELECT customers", (26, 1), JOINED),
    ),
}


def promised(file):
    """The docstring of an example."""
    return (EXAMPLES / file).read_text().split('"""')[1]


def commands_of(file):
    """The command lines in it that begin with ``opentelemetry-instrument``, without their comments."""
    lines = re.findall(r"^ +(opentelemetry-instrument .*)$", promised(file), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def line_of(file, text):
    """The number of the first line that has a text in it."""
    return next(n for n, line in enumerate((EXAMPLES / file).read_text().splitlines(), 1) if text in line)


def environment_of(database, scheme=""):
    """What the example's ``export`` lines set, for a database of the tests."""
    scheme = scheme or {"mariadb": "mysql+pymysql"}.get(database.system, database.system)
    return {
        "DATABASE_URL": database.url(scheme),
        "DJANGO_SETTINGS_MODULE": "django_psycopg.settings",
        "OTEL_SERVICE_NAME": "shop",
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "PGDATABASE": database.name,
    }


@pytest.fixture(scope="module")
def in_datadog():
    """What Datadog makes of the spans that arrived, by its own conversion; no spans where that cannot be built."""
    try:
        conversion.ensure()
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        return lambda requests: []
    return conversion.converted


def shown_in_datadog(spans, rule, told):
    """Check what an example's first lines, in one line, say of Datadog against the spans there with findings."""
    found = [span for span in spans if rule in json.loads(span["meta"].get("dbsight.findings.rules", "[]"))]
    for span in found:
        searched = f"@dbsight.findings.rules:*{rule}*"
        assert f'In Datadog: service {span["service"]}, resource "{span["resource"]}", {searched}' in told
    assert bool(found) is bool(spans)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_served_as_promised(name, frameworks, receiver, in_datadog, request, tmp_path):
    """Both pages say the same; the faulty one has one N+1, in its line, and the fixed one nothing."""
    page = PAGES[name]
    (command,) = commands_of(page.promise)
    port = free_port()
    command = [word.replace("8000", str(port)) for word in command]
    env = environment_of(request.getfixturevalue(page.server), page.scheme)
    with running(command, python=frameworks, cwd=EXAMPLES, output=tmp_path / "output.txt", receiver=receiver, env=env):
        bodies = [json.loads(get(f"http://127.0.0.1:{port}{path}")) for path in ("/orders", "/orders/fixed")]
        assert bodies == [ORDERS, ORDERS]
        faulty, fixed = receiver.wait_for(served, 30)
        queries = receiver.wait_for(lambda arrived: repeated(arrived, faulty, page), 30)
    assert faulty.name == page.root
    assert [root.attributes["dbsight.db.calls"] for root in (faulty, fixed)] == [*page.calls]
    assert [rules_of(root) for root in (faulty, fixed)] == [["n_plus_one"], []]
    (event,) = faulty.events
    assert {
        "rule": event.attributes["dbsight.finding.rule"],
        "count": event.attributes["dbsight.finding.count"],
        "file": Path(event.attributes["code.file.path"]).name,
        "line": event.attributes["code.line.number"],
    } == {
        "rule": "n_plus_one",
        "count": 25,
        "file": Path(page.source).name,
        "line": line_of(page.source, page.loop),
    }
    assert {span.kind for span in queries} == {"CLIENT"}
    told = " ".join(promised(page.promise).split())
    assert f'operation "{page.root}"' in told
    spans = in_datadog(receiver.trace_requests())
    shown_in_datadog(spans, "n_plus_one", told)
    assert {span["type"] for span in spans if REPEATED.search(span["resource"])} <= {"sql"}
    if page.suggestion:
        assert event.attributes["dbsight.finding.suggestion"] == page.suggestion


def rules_of(root):
    """What was found below a root but for slow queries, which a busy machine makes."""
    return [rule for rule in root.attributes.get("dbsight.findings.rules", ()) if rule != "slow_query"]


def served(receiver):
    """The roots of both pages, once they are there."""
    roots = sorted((span for span in receiver.spans() if span.kind == "SERVER"), key=lambda span: span.start_ns)
    return roots if len(roots) == 2 else None


def repeated(receiver, root, page):
    """The spans of the queries that a page repeats, once all of them arrived."""
    spans = [
        span
        for span in receiver.spans(page.query)
        if span.trace_id == root.trace_id
        and REPEATED.search(span.attributes.get("db.query.text") or span.attributes.get("db.statement", ""))
    ]
    return spans if len(spans) == 25 else None


def test_a_pool_is_waited_for_as_promised(frameworks, observe, postgresql):
    """Held during other work, two connections are too few for eight; given back before, they are enough."""
    seen = {}
    for command in commands_of("psycopg_pool_alone.py"):
        arguments = command[2:]
        seen[arguments[-1]] = observe(arguments, cwd=EXAMPLES, python=frameworks, env=environment_of(postgresql))
        seen[arguments[-1]].run.check()
    faulty, fixed = seen["psycopg_pool_alone.py"], seen["--fixed"]
    assert faulty.run.stdout == fixed.run.stdout == f"{[100 + number for number in range(8)]}\n"
    (finding,) = [log.attributes for log in faulty.logs("dbsight.finding")]
    assert finding["dbsight.finding.rule"] == "pool_wait"
    holding = f"psycopg_pool_alone.py:{line_of('psycopg_pool_alone.py', 'held until')}: return the connection earlier"
    assert holding in finding["dbsight.finding.description"]
    # On a busy machine even the fixed one waits a little.
    assert all(holding not in log.attributes["dbsight.finding.description"] for log in fixed.logs("dbsight.finding"))
    assert longest_wait(faulty) > 0.5
    assert longest_wait(fixed) < longest_wait(faulty) / 2


def longest_wait(seen):
    """S that a query waited for a connection at most."""
    return max((span.attributes.get("dbsight.pool.wait", 0.0) for span in seen.spans("SELECT")), default=0.0)


def test_a_task_is_judged_as_promised(frameworks, receiver, in_datadog, redis_server, tmp_path):
    """Two carts are asked for key by key, in their loop; the third is not, and the worker's own waiting is nothing."""
    env = {"REDIS_URL": redis_server.url(), "OTEL_SERVICE_NAME": "shop"}
    worker, sender = commands_of("celery_redis.py")
    options = {"python": frameworks, "cwd": EXAMPLES, "receiver": receiver, "env": env}
    with running(worker, output=tmp_path / "worker.txt", **options):
        with running(sender, output=tmp_path / "sender.txt", **options) as process:
            process.wait(60)
        tasks = receiver.wait_for(all_tasks, 60)
        asked = receiver.wait_for(lambda arrived: asked_below(arrived, tasks[0]), 60)
    assert [(task.name, task.attributes["dbsight.db.calls"], rules_of(task)) for task in tasks] == [
        ("run/celery_redis.total", 25, ["redis_chatter"]),
        ("run/celery_redis.total", 25, ["redis_chatter"]),
        ("run/celery_redis.total_fixed", 1, []),
    ]
    for task in tasks[:2]:
        (event,) = task.events
        assert event.attributes["dbsight.finding.count"] == 25
        assert event.attributes["code.line.number"] == line_of("celery_redis.py", "shelf.get(")
        assert "mget" in event.attributes["dbsight.finding.suggestion"].lower()
    assert {span.kind for span in asked} == {"CLIENT"}
    told = " ".join(promised("celery_redis.py").split())
    assert 'operation "run/celery_redis.total"' in told
    assert '25 times "GET price:{}"' in told
    spans = in_datadog(receiver.trace_requests())
    shown_in_datadog(spans, "redis_chatter", told)
    assert {span["type"] for span in spans if span["resource"].startswith("GET price:")} <= {"redis"}


def all_tasks(receiver):
    """The roots of three tasks by name, once they are there."""
    tasks = [span for span in receiver.spans() if span.kind == "CONSUMER"]
    return sorted(tasks, key=lambda span: (span.name, span.start_ns)) if len(tasks) == 3 else None


def asked_below(receiver, task):
    """The commands of a task's loop, once all of them arrived."""
    spans = [span for span in receiver.spans("GET price:{}") if span.parent_span_id == task.span_id]
    return spans if len(spans) == 25 else None
