"""The shop by itself: each fault is there as often as the registry says, and its fixed twin answers the same."""

import ast
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event, text

import servers
from dbsight import demo
from dbsight.config import Settings
from dbsight.demo import driver, handlers, lookups, models, seed
from dbsight.demo.__main__ import main
from dbsight.demo.app import served_faults
from dbsight.demo.faults import CACHE_FAULTS, FAULTS, Expected
from dbsight.demo.server import serve
from dbsight.demo.store import store_for
from dbsight.report.terminal import render

ROOT = Path(__file__).parent.parent.parent


class Shop:
    """An open store whose statements are written down.

    Each handler is asked once; who asks again hears what it answered and sent then.
    """

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()
        self.store = store_for(url)
        self.loop.run_until_complete(self.store.open())
        self._sent = []
        self._asked = {}
        engine = getattr(self.store.engine, "sync_engine", self.store.engine)
        event.listen(engine, "before_cursor_execute", self._write_down, named=True)

    def _write_down(self, *, statement, parameters, executemany, **_):
        self._sent.append((statement, None if executemany else str(parameters)))

    def answer(self, handler):
        """What a handler answers."""
        return self._ask(handler)[0]

    def statements(self, handler):
        """The texts and parameters that a handler sends, in their order."""
        return self._ask(handler)[1]

    def _ask(self, handler):
        if handler not in self._asked:
            self._sent = []
            answer = self.store.call(handler)
            answer = self.loop.run_until_complete(answer) if asyncio.iscoroutine(answer) else answer
            self._asked[handler] = answer, self._sent
        return self._asked[handler]

    def close(self):
        """Close the store, and the loop that it ran on."""
        self.loop.run_until_complete(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextlib.contextmanager
def opened(url):
    """A shop for the time of the block."""
    shop = Shop(url)
    try:
        yield shop
    finally:
        shop.close()


ARCHIVE = ["SEARCH orders", "SEARCH product_categories", "SEARCH categories", "SEARCH addresses", "SEARCH reviews"]
"""What both pages of the archive join."""

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


class Faults:
    """What holds on every database, with every driver."""

    @each_fault
    def test_a_fault_and_its_twin_answer_the_same(self, shop, fault):
        """Only the way to the answer is wrong, never the answer; and it is not empty."""
        answer = json.dumps(shop.answer(fault.handler))
        assert len(answer) > 100
        assert json.dumps(shop.answer(fault.fixed)) == answer

    @each_fault
    def test_both_send_as_many_statements_as_the_registry_says(self, shop, fault):
        """The counts that reports, tests and documentation speak of are those of the database."""
        sent = len(shop.statements(fault.handler)), len(shop.statements(fault.fixed))
        assert sent == (fault.statements, fault.fixed_statements)

    @each_fault
    def test_only_the_expected_statements_repeat_and_each_time_with_other_parameters(self, shop, fault):
        """What repeats is what the registry expects, no parameters come twice, and nothing repeats in the twin."""
        sent = shop.statements(fault.handler)
        times = Counter(sql for sql, _ in sent).values()
        assert sorted(n for n in times if n > 1) == sorted(e.count for e in fault.expected if e.rule == "n_plus_one")
        assert len(set(sent)) == len(sent)
        assert set(Counter(sql for sql, _ in shop.statements(fault.fixed)).values()) == {1}

    def test_the_seed_is_the_same_everywhere(self, shop):
        """Every table has the rows that the registry counts on."""
        tables = models.Base.metadata.sorted_tables

        def rows(session):
            return {table.name: session.scalar(text(f"SELECT count(*) FROM {table.name}")) for table in tables}

        assert shop.answer(rows) == {
            "customers": seed.CUSTOMERS,
            "addresses": seed.CUSTOMERS + seed.CUSTOMERS // 3,
            "categories": 12,
            "products": seed.PRODUCTS,
            "product_categories": 2 * seed.PRODUCTS,
            "orders": seed.ORDERS,
            "order_lines": seed.ORDER_LINES,
            "payments": seed.PAYMENTS,
            "card_payments": seed.PAYMENTS * 2 // 3,
            "invoice_payments": seed.PAYMENTS // 3,
            "reviews": seed.REVIEWS,
        }


@pytest.fixture(scope="module", params=["sqlite", "sqlite+aiosqlite"])
def sqlite_scheme(request):
    """Of the URL."""
    return request.param


@pytest.fixture(scope="module", params=["file", "memory"])
def sqlite_shop(request, sqlite_scheme, tmp_path_factory):
    """One shop for all its faults: none of them changes what another sees."""
    file = f"/{tmp_path_factory.mktemp('shop') / 'shop.db'}" if request.param == "file" else ""
    with opened(f"{sqlite_scheme}://{file}") as shop:
        yield shop


@pytest.fixture(scope="module", params=["postgresql+psycopg", "postgresql+asyncpg"])
def postgresql_shop(request, postgresql_server):
    """The same on a real PostgreSQL."""
    with servers.fresh(postgresql_server) as database, opened(database.url(request.param)) as shop:
        yield shop


class TestOnSQLite(Faults):
    """In a file and in memory, from threads and on the event loop."""

    @pytest.fixture
    def shop(self, sqlite_shop):
        """The shop to ask."""
        return sqlite_shop


class TestOnPostgreSQL(Faults):
    """Through a synchronous and an asynchronous driver."""

    @pytest.fixture
    def shop(self, postgresql_shop):
        """The shop to ask."""
        return postgresql_shop


def test_every_expected_line_is_one_line_of_a_file():
    """A report can be compared with a file and a line number that follow the code when it moves."""
    places = [(e.file, e.line, e.code) for fault in FAULTS for e in fault.expected]
    assert all(code in file.read_text().splitlines()[line - 1] for file, line, code in places)
    assert {file.name for file, _, _ in places} == {"handlers.py", "lookups.py", "models.py"}


def test_an_expected_line_that_is_not_there_is_an_error():
    """A registry that lost its place says so instead of naming a wrong one."""
    with pytest.raises(LookupError, match=r"'nowhere' is on 0 lines of name_of"):
        _ = Expected("n_plus_one", lookups.name_of, "nowhere").line


def test_every_handler_is_in_the_registry():
    """No fault is served, driven or documented without an entry, and none twice."""
    public = {name for name, member in vars(handlers).items() if getattr(member, "__module__", "") == handlers.__name__}
    public = {name for name in public if not name.startswith("_")}
    entries = [handler.__name__ for fault in FAULTS for handler in (fault.handler, fault.fixed)]
    assert sorted(entries) == sorted(public)
    assert len({fault.path for fault in FAULTS}) == len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(
    ("handler", "plan"),
    [
        (handlers.show_report, ["SCAN products", "CORRELATED SCALAR SUBQUERY", "SCAN order_lines"]),
        (handlers.show_report_fixed, ["SCAN products", "SEARCH order_lines"]),
        (handlers.search, ["SCAN products", "SCAN order_lines"]),
        (handlers.search_fixed, ["SCAN products", "SEARCH order_lines"]),
        (handlers.show_archive, ["SCAN order_lines", *ARCHIVE]),
        (handlers.show_archive_fixed, ["SEARCH order_lines", *ARCHIVE]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_slow_query_reads_every_line_and_its_twin_uses_an_index(handler, plan):
    """The slow handlers are slow by their plan: SQLite reads all order lines once per product."""
    with opened("sqlite://") as shop:
        [(sql, parameters)] = shop.statements(handler)
        values = ast.literal_eval(parameters)
        with shop.store.engine.connect() as connection:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
    steps = [re.match(r"(?:SCAN|SEARCH) \w+|CORRELATED SCALAR SUBQUERY", detail) for *_, detail in rows]
    assert [step[0] for step in steps if step] == plan


@pytest.mark.parametrize("url", [None, "sqlite+aiosqlite://"], ids=["threads", "event loop"])
def test_every_fault_and_twin_answer_over_http(url):
    """Behind uvicorn, from threads and on the event loop, all requests succeed, twice, and twins agree."""
    with serve(url) as address:
        faults = served_faults(url, None)
        visits = list(driver.visit(address, faults, 2))
        index = httpx.get(address, trust_env=False).json()
    assert [seen.fault.name for seen in visits] == 2 * [fault.name for fault in faults]
    assert [seen.fault.name for seen in visits if seen.failed] == []
    assert [entry["request"] for entry in index] == [f"{fault.method} {fault.path}" for fault in faults]


def test_what_handlers_raise_is_seen_by_the_driver(monkeypatch):
    """A fault that broke answers 500, and its visit has failed; the next one is not affected."""
    with serve() as address:
        monkeypatch.setattr(models.CardPayment, "means", None)
        visits = {seen.fault.path: (seen.status, seen.failed) for seen in driver.visit(address, FAULTS)}
    assert {path: answer for path, answer in visits.items() if answer != (200, False)} == {"/payments": (500, True)}


def test_a_second_start_finds_the_shop_as_it_was_left(tmp_path):
    """Tables of an earlier run are used again, with what was changed in them."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    with opened(url) as first:
        first.answer(handlers.print_labels)
    with opened(url) as second:
        printed = second.answer(lambda session: session.scalar(text("SELECT sum(labels_printed) FROM orders")))
    assert printed == 30


def test_tables_of_somebody_else_are_left_alone(tmp_path):
    """A database with another ``orders`` table is refused with a sentence, and nothing in it changes."""
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    store = store_for(url)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER, secret TEXT)")
    with (
        pytest.raises(seed.StrangeTablesError, match=r"has tables named orders that the shop did not make"),
        serve(url),
    ):
        pytest.fail("the shop was opened")
    with store.engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    store.engine.dispose()
    assert names == ["orders"]


def test_the_program_requests_everything_and_says_what_it_took(redis_server):
    """One line a fault on stdout, those of the cache at the end; nothing on stderr, exit code 0."""
    command = [sys.executable, "-m", "dbsight.demo", "--database-url", "sqlite+aiosqlite://"]
    command += ["--redis-url", redis_server.url()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"the shop on http://127\.0\.0\.1:\d+: 200 customers, .*20000 lines", lines[0])
    assert [line[:38].split() for line in lines[3:]] == [
        [fault.method, fault.path, *fault.name.split()] for fault in FAULTS + CACHE_FAULTS
    ]
    assert all(re.fullmatch(r" +200 +[\d.]+ +200 +[\d.]+", line[38:]) for line in lines[3:])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "Could not parse SQLAlchemy URL"),
        ("postgresql+nodriver://localhost/shop", "Can't load plugin: sqlalchemy.dialects:postgresql.nodriver"),
        ("sqlite:////nowhere/at/all/shop.db", "unable to open database file"),
        ("postgresql+asyncpg://127.0.0.1:1/shop", "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_had_is_one_line_on_stderr(url, message, capsys):
    """No traceback for a typo: what was wrong, exit code 2, nothing on stdout."""
    assert main(["--database-url", url]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("the shop did not start: ")
    assert message in err


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_served_shop_ends_in_the_ordinary_way(number):
    """``--serve`` serves until a signal, and then exits with 0, so that reports at exit are written."""
    program = "import atexit, sys; from dbsight.demo.__main__ import main; atexit.register(print, 'at exit'); "
    command = [sys.executable, "-c", program + "sys.exit(main(['--serve', '--database-url', 'sqlite://']))"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        address = process.stdout.readline().split(": ")[0].removeprefix("the shop on ")
        for line in process.stdout:
            if line.startswith("serving until"):
                break
        assert httpx.get(f"{address}/invoice", trust_env=False).status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "at exit\n", "")


def test_the_makefile_sets_the_limits_that_the_package_documents():
    """``make demo`` and the table in the package's docstring name the same settings."""
    documented = re.findall(r"^``(OTEL_\w+)``\s+(\S+)$", demo.__doc__, re.MULTILINE)
    assert len(documented) == 7
    assert re.findall(r"^\s+(OTEL_\w+)=(\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE) == documented


def test_the_report_shows_plan_index_and_proof_of_each_slow_fault(make_telemetry, tmp_path):
    """On SQLite, in a process that asks for plans: what is wrong with the plan, and what mends it."""
    slow = {"/report": handlers.show_report, "/search": handlers.search, "/archive": handlers.show_archive}
    store = store_for(f"sqlite:///{tmp_path / 'shop.db'}")
    store._prepare()
    settings = Settings(slow_query_threshold=0.0, very_slow_query_threshold=99.0, explain="slow", process_metrics=False)
    telemetry = make_telemetry(settings=settings)
    for path, handler in slow.items():
        with telemetry.root(f"GET {path}"):
            store.call(handler)
    telemetry.processor.analyzer.drain()
    telemetry.processor.analyzer.plans.wait(60)
    snapshot = telemetry.processor.analyzer.snapshot()
    store.engine.dispose()
    found = {(each.finding.route, each.finding.rule): each.finding for each in snapshot.findings}
    index = found["GET /report", "missing_index"]
    assert index.suggestion == "CREATE INDEX ix_order_lines_sku ON order_lines (sku)"
    assert index.details["proof"] == "proved"
    assert "leading_wildcard" in found["GET /search", "bad_plan"].title
    assert "reads and discards 79 740 rows" in found["GET /archive", "bad_plan"].description
    assert found["GET /archive", "bad_plan"].suggestion.startswith(".where(key > last_seen)")
    page = render(snapshot, width=120)
    assert page.index("VERY SLOW" if "VERY SLOW" in page else "SLOW") < page.index("MISSING INDEX")
    for line in ("SCAN on order_lines", "proved: the planner uses the index", index.suggestion, "▄ fetch"):
        assert line in page
