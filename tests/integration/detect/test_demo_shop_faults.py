"""Each fault of the demo shop is found where its registry says, on every database alike; its fixed twin is silent."""

import asyncio
import contextlib
from pathlib import Path

import pytest

import servers
from dbsight import semconv
from dbsight.config import Settings
from dbsight.demo.faults import FAULTS
from dbsight.demo.store import store_for

LOOPS = [fault for fault in FAULTS if all(each.rule == "n_plus_one" for each in fault.expected)]
fault_by_name = pytest.mark.parametrize("fault", LOOPS, ids=lambda fault: fault.name)


class Shop:
    """An open shop."""

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()
        self.store = store_for(url)
        self.loop.run_until_complete(self.store.open())

    def request(self, handler):
        """Ask a handler, on the event loop only where the driver is an asynchronous one."""
        answer = self.store.call(handler)
        if asyncio.iscoroutine(answer):
            self.loop.run_until_complete(answer)

    def close(self):
        """Close what was opened."""
        self.loop.run_until_complete(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Faults:
    """What holds on every database; the suggestions are compared with those on SQLite."""

    @pytest.fixture
    def findings(self, shop, make_telemetry):
        """Gives the attributes of what is found when a handler is asked once, however busy the machine is."""
        telemetry = make_telemetry(settings=Settings(long_transaction_threshold=600, watch_reads=True))

        def findings_of(handler):
            telemetry.clear()
            with telemetry.root("GET /"):
                shop.request(handler)
            return [event.attributes for event in telemetry.span("GET /").events_named(semconv.FINDING_EVENT)]

        return findings_of

    @fault_by_name
    def test_detects_each_fault_where_it_is(self, findings, fault):
        """Rule, file, line, number and relationship."""
        found = {
            (
                event[semconv.FINDING_RULE],
                Path(event[semconv.CODE_FILE_PATH]).resolve(),
                event[semconv.CODE_LINE_NUMBER],
                event[semconv.FINDING_COUNT],
                event.get(semconv.ORM_RELATIONSHIP),
            )
            for event in findings(fault.handler)
        }
        assert found == {(each.rule, each.file, each.line, each.count, each.relationship) for each in fault.expected}

    @fault_by_name
    def test_leaves_alone_each_fixed_twin(self, findings, fault):
        """The same answer without the fault."""
        assert findings(fault.fixed) == []

    def test_suggests_the_same_as_on_every_database(self, findings):
        """The names of the application, not of the database."""
        suggestions = {
            fault.name: {event[semconv.FINDING_SUGGESTION] for event in findings(fault.handler)} for fault in LOOPS
        }
        lookup = {"SELECT products.id, products.name FROM products WHERE products.id IN (…)"}
        subclasses = "select(Payment).options(selectin_polymorphic(Payment, [CardPayment, InvoicePayment]))"
        assert suggestions == {
            "lazy to-one": {"select(Order).options(joinedload(Order.customer))"},
            "lazy to-many": {"select(Customer).options(selectinload(Customer.orders))"},
            "many-to-many": {"select(Product).options(selectinload(Product.categories))"},
            "joined inheritance": {subclasses},
            "deferred column": {"select(Product).options(undefer(Product.description))"},
            "look-up in a loop": lookup,
            "the same look-up": lookup,
            "N times M": {
                "select(Customer).options(selectinload(Customer.orders))",
                "select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines))",
            },
            "serialiser": {
                "select(Review).options(joinedload(Review.customer))",
                "select(Review).options(joinedload(Review.customer).selectinload(Customer.addresses))",
            },
            "expired by commit": {"Session(engine, expire_on_commit=False)"},
        }


@pytest.fixture(scope="module", params=["sqlite", "sqlite+aiosqlite"])
def sqlite_shop(request):
    """In memory: one connection for all."""
    with contextlib.closing(Shop(f"{request.param}://")) as shop:
        yield shop


@pytest.fixture(scope="module", params=["postgresql+psycopg", "postgresql+asyncpg"])
def postgresql_shop(request, postgresql_server):
    """On a real server, through a synchronous and an asynchronous driver."""
    with servers.fresh(postgresql_server) as database, contextlib.closing(Shop(database.url(request.param))) as shop:
        yield shop


class TestOnSQLite(Faults):
    """In memory, in threads and on the event loop."""

    @pytest.fixture
    def shop(self, sqlite_shop):
        """The shop to ask."""
        return sqlite_shop


class TestOnPostgreSQL(Faults):
    """Through psycopg and asyncpg."""

    @pytest.fixture
    def shop(self, postgresql_shop):
        """The shop to ask."""
        return postgresql_shop
