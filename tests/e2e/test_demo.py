"""The shop under ``opentelemetry-instrument``: what its list of faults promises is what arrives and what is printed."""

import math
import re
import time
from collections import defaultdict
from pathlib import Path

import pytest

import servers
from dbsight.demo.app import served_faults
from dbsight.demo.faults import CONNECTION_FAULTS, FAULTS
from dbsight.demo.store import store_for
from e2e.runner import ON_FASTAPI

ROUNDS = 2
"""Each fault and each twin is requested twice: on a busy machine any query can be slow once, without being so."""

FIXES = {
    ("lazy to-one", "Order.customer"): "select(Order).options(joinedload(Order.customer))",
    ("lazy to-many", "Customer.orders"): "select(Customer).options(selectinload(Customer.orders))",
    ("many-to-many", "Product.categories"): "select(Product).options(selectinload(Product.categories))",
    ("joined inheritance", "CardPayment.last_digits"): (
        "select(Payment).options(selectin_polymorphic(Payment, [CardPayment, InvoicePayment]))"
    ),
    ("joined inheritance", "InvoicePayment.due_on"): (
        "select(Payment).options(selectin_polymorphic(Payment, [CardPayment, InvoicePayment]))"
    ),
    ("deferred column", "Product.description"): "select(Product).options(undefer(Product.description))",
    ("look-up in a loop", None): "SELECT products.id, products.name FROM products WHERE products.id IN (…)",
    ("the same look-up", None): "SELECT products.id, products.name FROM products WHERE products.id IN (…)",
    ("N times M", "Customer.orders"): "select(Customer).options(selectinload(Customer.orders))",
    ("N times M", "Order.lines"): ("select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines))"),
    ("serialiser", "Review.customer"): "select(Review).options(joinedload(Review.customer))",
    ("serialiser", "Customer.addresses"): (
        "select(Review).options(joinedload(Review.customer).selectinload(Customer.addresses))"
    ),
    ("expired by commit", "Order"): "Session(engine, expire_on_commit=False)",
}
"""By fault and relationship; ``tests/integration/test_fixes.py`` applies each to its handler."""

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


class Shop:
    """What arrived from the shop, by request.

    Attributes:
        seen: The run.
        cwd: Where it ran; places below it are told relative to it.
        connection_faults: Those about connections that there are on its database.
    """

    def __init__(self, seen, cwd, url):
        self.seen = seen
        self.cwd = cwd
        self.connection_faults = [fault for fault in served_faults(url, None) if fault in CONNECTION_FAULTS]
        self.roots = sorted((span for span in seen.spans() if span.kind == "SERVER"), key=lambda span: span.start_ns)
        self.below = defaultdict(list)
        for span in seen.queries():
            self.below[span.trace_id].append(span)

    def requests(self, method, path):
        """The root span of each request, in order."""
        roots = [root for root in self.roots if root.name == f"{method} {path}"]
        assert len(roots) == ROUNDS
        return roots

    def groups(self, root):
        """The findings on the root: rule, file, line, function, relationship, count, fix.

        Without long transactions: on a busy machine any is.
        """
        return [told for told in self.all_groups(root) if told[0] != "long_transaction"]

    def all_groups(self, root):
        """The same with long transactions."""
        return sorted(self._told(event) for event in root.events_named("dbsight.finding"))

    def groups_each_time(self, roots):
        """Rules, files, lines and counts of what is found on every one of these roots."""
        return set.intersection(
            *(
                {(rule, file, line, count) for rule, file, line, _, _, count, _ in self.all_groups(root)}
                for root in roots
            )
        )

    def singles(self, root):
        """The findings on the queries below the root, in the same form."""
        spans = self.below[root.trace_id]
        return sorted(self._told(event) for span in spans for event in span.events_named("dbsight.finding"))

    def slow_each_time(self, roots):
        """Files and lines of what was slow below every one of these roots."""
        return set.intersection(*({(file, line) for _, file, line, *_ in self.singles(root)} for root in roots))

    def _told(self, event):
        told = event.attributes
        return (
            told["dbsight.finding.rule"],
            (self.cwd / told["code.file.path"]).resolve(),
            told["code.line.number"],
            told["code.function.name"].rpartition(".")[2],
            told.get("dbsight.orm.relationship", ""),
            told["dbsight.finding.count"],
            told.get("dbsight.finding.suggestion", ""),
        )


def in_seconds(told):
    """A time as people read it, ``1.24 ms``, in s."""
    number, unit = told.rsplit(" ", 1)
    return float(number.replace(" ", "")) * {"min": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]


def expected_groups(fault):
    """What must stand on the root of each request of a fault."""
    return sorted(
        (
            each.rule,
            each.file,
            each.line,
            each.function.__name__,
            each.relationship or "",
            each.count,
            FIXES[fault.name, each.relationship],
        )
        for each in fault.expected
        if each.rule == "n_plus_one"
    )


def expected_singles(fault):
    """Where a slow query must be found; how slow it is depends on the machine."""
    return sorted((each.file, each.line) for each in fault.expected if each.rule == "slow_query")


def slow_from(url):
    """A slow limit between the slow queries and their twins, in s, as fast as this machine is when it is let."""
    # SQLite runs in this thread, whose own time other programs do not count for.
    own = url.startswith("sqlite")
    clock = time.thread_time if own else time.perf_counter
    store = store_for(url)
    store._prepare()

    def seconds(handler):
        times = []
        for _ in range(4):
            began = clock()
            store.call(handler)
            times.append(clock() - began)
        return min(times)

    pairs = [(fault.handler, fault.fixed) for fault in FAULTS if expected_singles(fault)]
    fastest = min(seconds(faulty) for faulty, _ in pairs)
    slowest = max(seconds(fixed) for _, fixed in pairs)
    store.engine.dispose()
    # A busy machine makes the twins slower, and what was measured by the clock may have been: the same factor to both
    # sides. The thread's own time is what a query takes at least.
    return round(fastest / 2 if own else math.sqrt(fastest * slowest), 3)


def run_shop(observe, cwd, limit, url=None):
    """Run the demo and request everything in it."""
    program = ["-m", "dbsight.demo", "--rounds", str(ROUNDS), *(["--database-url", url] if url else [])]
    env = {
        **ON_FASTAPI,
        "OTEL_DBSIGHT_PRESET": "development",
        "OTEL_DBSIGHT_REPORT": "terminal",
        "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": str(limit),
        "OTEL_DBSIGHT_CONNECTION_LEAK_AFTER": "1",
        "OTEL_DBSIGHT_LONG_TRANSACTION_THRESHOLD": "0.5",
        "OTEL_DBSIGHT_BLOCKED_LOOP_THRESHOLD": "0.001",
    }
    seen = observe(program, cwd=cwd, env=env, timeout=120)
    seen.run.check()
    return Shop(seen, cwd, url)


class Faults:
    """What holds on every database, with every driver."""

    @each_fault
    def test_an_n_plus_one_is_named_with_place_relationship_count_and_fix(self, shop, fault):
        """Each one that the list promises, each time, and none beside it."""
        for root in shop.requests(fault.method, fault.path):
            assert shop.groups(root) == expected_groups(fault)

    @each_fault
    def test_a_slow_query_is_named_with_its_place(self, shop, fault):
        """On its own span, each time; nothing else is slow each time."""
        roots = shop.requests(fault.method, fault.path)
        assert sorted(shop.slow_each_time(roots)) == expected_singles(fault)
        assert {rule for root in roots for rule, *_ in shop.singles(root)} <= {"slow_query"}

    @each_fault
    def test_the_fixed_twin_is_silent(self, shop, fault):
        """No finding on its root, and nothing that is slow each time."""
        roots = shop.requests(fault.method, fault.fixed_path)
        assert [shop.groups(root) for root in roots] == [[]] * ROUNDS
        assert shop.slow_each_time(roots) == set()

    @each_fault
    def test_every_statement_is_a_span_of_its_request(self, shop, fault):
        """As many as the list of faults says; the root counts the same."""
        for path, statements in ((fault.path, fault.statements), (fault.fixed_path, fault.fixed_statements)):
            for root in shop.requests(fault.method, path):
                queries = [span for span in shop.below[root.trace_id] if "savepoint" not in span.name.lower()]
                assert len(queries) == root.attributes["dbsight.db.calls"] == statements

    def test_faults_of_connections_are_on_their_roots_with_their_lines(self, shop):
        """Each time, and never on the twin; every statement is a span of its request all the same."""
        for fault in shop.connection_faults:
            roots = shop.requests(fault.method, fault.path)
            expected = {(each.rule, each.file, each.line, each.count) for each in fault.expected}
            assert shop.groups_each_time(roots) == {each for each in expected if each[0] != "connection_leak"}
            assert shop.groups_each_time(shop.requests(fault.method, fault.fixed_path)) == set()
            assert {root.attributes["dbsight.db.calls"] for root in roots} == {fault.statements}

    def test_opening_the_shop_is_no_finding(self, shop):
        """Tables and rows are made in batches; how long that takes depends on the machine."""
        others = [
            span for span in shop.seen.spans() if span.kind != "SERVER" and span.trace_id not in self.traces(shop)
        ]
        events = [event for span in others if span.kind != "CLIENT" for event in span.events]
        assert {event.attributes.get("dbsight.finding.rule") for event in events} <= {"long_transaction"}

    @staticmethod
    def traces(shop):
        """The traces of all requests."""
        return {root.trace_id for root in shop.roots}

    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if expected_singles(fault)], ids=lambda one: one.name)
    def test_a_slow_query_tells_where_its_time_went(self, shop, fault):
        """Waiting, executing and fetching add up to its duration."""
        for root in shop.requests(fault.method, fault.path):
            (span,) = shop.below[root.trace_id]
            (event,) = span.events_named("dbsight.finding")
            times = r"Waited (.+?)(?:, connected .+)?, executed (.+), fetched (.+) \(limit (.+)\)"
            pattern = rf"{times}; ([\d ]+) rows? returned\."
            *times, rows = re.fullmatch(pattern, event.attributes["dbsight.finding.description"]).groups()
            waited, executed, fetched, limit = map(in_seconds, times)
            whole = event.attributes["dbsight.finding.current_value"]
            assert waited + executed + fetched == pytest.approx(whole, rel=0.02)
            threshold = event.attributes["dbsight.finding.threshold"]
            assert limit == pytest.approx(threshold, rel=0.02)
            assert threshold == span.attributes["dbsight.query.threshold"]
            assert int(rows.replace(" ", "")) == span.attributes["db.response.returned_rows"]
            assert span.attributes["dbsight.query.class"] in {"slow", "very_slow"}
            assert span.status == "UNSET"

    def test_the_report_names_the_same(self, shop):
        """Each place, relationship or statement, and fix stands on standard error."""
        report = shop.seen.run.stderr
        for fault in [*FAULTS, *shop.connection_faults]:
            for each in fault.expected:
                place = f"{each.file}:{each.line} in "
                assert re.search(rf"{re.escape(place)}(\w+\.)?{each.function.__name__}\b", report)
                if each.rule == "n_plus_one":
                    # A longer chain of options of the same request contains it.
                    assert f"fix  {FIXES[fault.name, each.relationship].rstrip(')')}" in report
                    assert each.relationship is None or each.relationship in report


@pytest.fixture(scope="module")
def sqlite_limit():
    """On SQLite."""
    return slow_from("sqlite://")


@pytest.fixture(scope="module", params=["file", "memory"])
def sqlite_shop(request, observe, sqlite_limit, tmp_path_factory):
    """On SQLite, in a temporary file as ``make demo`` has it, and in memory."""
    url = {"file": None, "memory": "sqlite://"}[request.param]
    return run_shop(observe, tmp_path_factory.mktemp("shop"), sqlite_limit, url)


@pytest.fixture(scope="module", params=["postgresql+psycopg", "postgresql+asyncpg"])
def postgresql_shop(request, observe, postgresql_server, tmp_path_factory):
    """On PostgreSQL, from threads and on the event loop."""
    with servers.fresh(postgresql_server) as database:
        limit = slow_from(database.url("postgresql+psycopg"))
        url = database.url(request.param)
        return run_shop(observe, tmp_path_factory.mktemp("shop"), limit, url)


class TestOnSQLite(Faults):
    """Without any server."""

    @pytest.fixture
    def shop(self, sqlite_shop):
        """The run."""
        return sqlite_shop


class TestOnPostgreSQL(Faults):
    """Through a synchronous and an asynchronous driver."""

    @pytest.fixture
    def shop(self, postgresql_shop):
        """The run."""
        return postgresql_shop


def test_every_n_plus_one_has_its_fix_in_the_table():
    """A new fault brings its fix along."""
    expected = {
        (fault.name, one.relationship) for fault in FAULTS for one in fault.expected if one.rule == "n_plus_one"
    }
    assert expected == FIXES.keys()
    assert all(Path(one.file).is_absolute() for fault in FAULTS for one in fault.expected)
