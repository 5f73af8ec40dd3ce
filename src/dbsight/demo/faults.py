"""Every fault of the shop, and what a report must say about it.

One entry a fault: the application's routes, its tests, its documentation and the program that drives it are made from
this list. A new fault is a handler, its fixed twin, and an entry here.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbsight.demo import cache, cached, connections, handlers, lookups, workload
from dbsight.demo.models import CardPayment, InvoicePayment

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any], Any]
    # Of a Session, or of a Redis client.


@dataclass(frozen=True, slots=True)
class Expected:
    """One finding that a fault must lead to, each time it is requested.

    Attributes:
        rule: Name of the rule.
        function: Where the query is asked for.
        code: What stands on that line; once in the function.
        count: How often the query runs; for a finding about totals, what is counted at each request.
        relationship: The ORM relationship or column behind it, the class alone where a whole object is read again,
            None where the application wrote the query.
        query_class: ``slow`` or ``very_slow`` under the limits of ``make demo``, on a machine that is neither busy nor
            twice as fast as others; None for a finding about a group.
    """

    rule: str
    function: Callable[..., Any]
    code: str
    count: int = 1
    relationship: str | None = None
    query_class: str | None = None

    @property
    def file(self) -> Path:
        """The file that the line stands in, absolute."""
        return Path(inspect.getfile(self.function)).resolve()

    @property
    def line(self) -> int:
        """Line number, from 1.

        Raises:
            LookupError: The code is not on exactly one line of the function.
        """
        lines, first = inspect.getsourcelines(self.function)
        found = [first + offset for offset, line in enumerate(lines) if self.code in line]
        if len(found) != 1:
            raise LookupError(f"{self.code!r} is on {len(found)} lines of {self.function.__qualname__}")
        return found[0]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the shop beside its fixed twin, which answers the same.

    Attributes:
        name: A word or two, for tables and tests.
        path: Where it is requested.
        handler: What answers there.
        fixed: What answers at ``fixed_path``.
        statements: How many statements the handler sends; a batch is one.
        fixed_statements: The same of the fixed twin.
        expected: What the report must say.
        explanation: What is wrong and what the twin does instead, in one sentence.
        method: HTTP method of both.
    """

    name: str
    path: str
    handler: Handler
    fixed: Handler
    statements: int
    fixed_statements: int
    expected: tuple[Expected, ...]
    explanation: str
    method: str = "GET"

    @property
    def fixed_path(self) -> str:
        """Where the fixed twin is requested."""
        return f"{self.path}/fixed"


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="lazy to-one",
        path="/orders",
        handler=handlers.list_orders,
        fixed=handlers.list_orders_fixed,
        statements=201,
        fixed_statements=1,
        expected=(Expected("n_plus_one", handlers.list_orders, "order.customer.name", 200, "Order.customer"),),
        explanation="Each order loads its customer by itself; a join brings them along.",
    ),
    Fault(
        name="lazy to-many",
        path="/customers",
        handler=handlers.list_customers,
        fixed=handlers.list_customers_fixed,
        statements=81,
        fixed_statements=2,
        expected=(Expected("n_plus_one", handlers.list_customers, "customer.orders", 80, "Customer.orders"),),
        explanation="Each customer loads their orders by themselves; one second query loads the orders of all.",
    ),
    Fault(
        name="many-to-many",
        path="/products",
        handler=handlers.list_products,
        fixed=handlers.list_products_fixed,
        statements=61,
        fixed_statements=2,
        expected=(Expected("n_plus_one", handlers.list_products, "product.categories", 60, "Product.categories"),),
        explanation="Each product loads its categories through the association table; one second query loads all.",
    ),
    Fault(
        name="joined inheritance",
        path="/payments",
        handler=handlers.list_payments,
        fixed=handlers.list_payments_fixed,
        statements=61,
        fixed_statements=3,
        expected=(
            Expected("n_plus_one", CardPayment.means, "self.last_digits", 40, "CardPayment.last_digits"),
            Expected("n_plus_one", InvoicePayment.means, "self.due_on", 20, "InvoicePayment.due_on"),
        ),
        explanation="Each payment loads what its own kind keeps in a second table; one more query per kind loads it.",
    ),
    Fault(
        name="deferred column",
        path="/catalogue",
        handler=handlers.list_catalogue,
        fixed=handlers.list_catalogue_fixed,
        statements=41,
        fixed_statements=1,
        expected=(Expected("n_plus_one", handlers.list_catalogue, "product.description", 40, "Product.description"),),
        explanation="The model defers the description and the page reads it of every product; undefer() asks at once.",
    ),
    Fault(
        name="look-up in a loop",
        path="/invoice",
        handler=handlers.show_invoice,
        fixed=handlers.show_invoice_fixed,
        statements=11,
        fixed_statements=2,
        expected=(Expected("n_plus_one", lookups.name_of, "session.execute", 10),),
        explanation="A harmless look-up by key is called once per line; one query takes all keys.",
    ),
    Fault(
        name="the same look-up",
        path="/picking",
        handler=handlers.list_picking,
        fixed=handlers.list_picking_fixed,
        statements=31,
        fixed_statements=2,
        expected=(Expected("n_plus_one", lookups.name_of, "session.execute", 30),),
        explanation="The look-up of /invoice, called in a loop from a second handler.",
    ),
    Fault(
        name="N times M",
        path="/accounts",
        handler=handlers.list_accounts,
        fixed=handlers.list_accounts_fixed,
        statements=111,
        fixed_statements=3,
        expected=(
            Expected("n_plus_one", handlers.list_accounts, "customer.orders", 10, "Customer.orders"),
            Expected("n_plus_one", handlers.list_accounts, "order.lines", 100, "Order.lines"),
        ),
        explanation="Each customer loads their orders, and each order its lines; chained selectinload() needs three.",
    ),
    Fault(
        name="serialiser",
        path="/reviews",
        handler=handlers.list_reviews,
        fixed=handlers.list_reviews_fixed,
        statements=81,
        fixed_statements=2,
        expected=(
            Expected("n_plus_one", handlers.list_reviews, "validate_python", 40, "Review.customer"),
            Expected("n_plus_one", handlers.list_reviews, "validate_python", 40, "Customer.addresses"),
        ),
        explanation="A Pydantic model walks relationships that nobody loaded; the query loads what the model reads.",
    ),
    Fault(
        name="expired by commit",
        path="/labels",
        handler=handlers.print_labels,
        fixed=handlers.print_labels_fixed,
        statements=32,
        fixed_statements=2,
        expected=(Expected("n_plus_one", handlers.print_labels, "order.placed_on", 30, "Order"),),
        explanation="A commit expires what was loaded, so that each order is read again; the answer is made before it.",
        method="POST",
    ),
    Fault(
        name="missing index",
        path="/report",
        handler=handlers.show_report,
        fixed=handlers.show_report_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("slow_query", handlers.show_report, "session.execute", query_class="very_slow"),),
        explanation="A sub-query by a column without an index reads every line once per product; the key has an index.",
    ),
    Fault(
        name="leading wildcard",
        path="/search",
        handler=handlers.search,
        fixed=handlers.search_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("slow_query", handlers.search, "session.execute", query_class="slow"),),
        explanation="A join by LIKE '%…%' compares every line with every product found; the key has an index.",
    ),
    Fault(
        name="offset page",
        path="/archive",
        handler=handlers.show_archive,
        fixed=handlers.show_archive_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("slow_query", handlers.show_archive, "session.execute", query_class="slow"),),
        explanation="OFFSET reads every row before the page and discards it; WHERE after the last row seen does not.",
    ),
)
"""In the order in which they are requested."""

CONNECTION_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="connection leak",
        path="/export",
        handler=connections.export_orders,
        fixed=connections.export_orders_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("connection_leak", connections.export_orders, "engine.connect()"),),
        explanation="A connection is taken from the pool and never given back; a with block gives it back.",
    ),
    Fault(
        name="pool exhaustion",
        path="/sold",
        handler=connections.list_sold,
        fixed=connections.list_sold_fixed,
        statements=2,
        fixed_statements=2,
        expected=(Expected("pool_wait", connections._pieces, "session.execute"),),
        explanation="Who holds the only connection of a pool waits in vain for another; one after the other is enough.",
    ),
    Fault(
        name="long transaction",
        path="/parcels",
        handler=connections.send_parcels,
        fixed=connections.send_parcels_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("long_transaction", connections.send_parcels, "session.execute"),),
        explanation="Orders stay locked while another service is asked; asked before, it keeps nobody waiting.",
        method="POST",
    ),
    Fault(
        name="blocking call",
        path="/turnover",
        handler=connections.show_turnover,
        fixed=connections.show_turnover_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("blocking_call", connections.show_turnover, "session.execute"),),
        explanation="A synchronous driver in async def stops the event loop for everybody; in a thread it does not.",
    ),
)
"""The same of connections, where several reach the database; what blocks a loop where the driver is synchronous."""

WORKLOAD_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="unbounded fetch",
        path="/ledger",
        handler=workload.show_ledger,
        fixed=workload.show_ledger_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("unbounded_fetch", workload.show_ledger, "session.execute"),),
        explanation="All 20 000 rows are kept in memory at once; streamed, a thousand are.",
    ),
    Fault(
        name="serial awaits",
        path="/dashboard",
        handler=workload.show_dashboard,
        fixed=workload.show_dashboard_fixed,
        statements=4,
        fixed_statements=4,
        expected=(Expected("serial_awaits", workload._number, "connection.scalar", 4),),
        explanation="Four independent queries are awaited one after the other; gathered, they take as long as one.",
    ),
    Fault(
        name="retry storm",
        path="/register",
        handler=workload.register_customer,
        fixed=workload.register_customer_fixed,
        statements=13,
        fixed_statements=2,
        expected=(Expected("retry_storm", workload.register_customer, "insert(Customer)", 12),),
        explanation="An insert that cannot succeed is tried again without a pause; its twin looks first.",
        method="POST",
    ),
    Fault(
        name="client-side filter",
        path="/mine",
        handler=workload.list_first_orders,
        fixed=workload.list_first_orders_fixed,
        statements=1,
        fixed_statements=1,
        expected=(Expected("client_side_filter", workload.list_first_orders, "session.scalars"),),
        explanation="All orders are loaded to find those of one customer; a condition in the query finds them.",
    ),
    Fault(
        name="over-eager join",
        path="/menu",
        handler=workload.list_names,
        fixed=workload.list_names_fixed,
        statements=1,
        fixed_statements=1,
        expected=(
            Expected("unused_eager_load", workload.list_names, "session.scalars", relationship="Customer.orders"),
        ),
        explanation="A join loads orders and lines that the page never reads; without it, 60 rows are enough.",
    ),
)
"""Faults of how much is asked for, and when; where several connections reach the database."""

CACHE_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="round trips",
        path="/cart",
        handler=cached.show_cart,
        fixed=cached.show_cart_fixed,
        statements=cache.CART,
        fixed_statements=1,
        expected=(Expected("redis_chatter", cached.show_cart, "cache.get", cache.CART),),
        explanation="Each price is a round trip to Redis; MGET takes all keys at once.",
    ),
    Fault(
        name="low hit ratio",
        path="/teasers",
        handler=cached.list_teasers,
        fixed=cached.list_teasers_fixed,
        statements=2,
        fixed_statements=1,
        expected=(Expected("cache_miss", cached.list_teasers, "cache.mget", cache.TEASERS),),
        explanation="What is the same for everybody is cached for each visitor and never found; cached once, it is.",
    ),
    Fault(
        name="held lock",
        path="/checkout",
        handler=cached.check_out,
        fixed=cached.check_out_fixed,
        statements=2,
        fixed_statements=3,
        expected=(Expected("lock_leak", cached.check_out, "lock.acquire"),),
        explanation="The lock of a basket is taken and forgotten; a with block gives it back.",
        method="POST",
    ),
)
"""The same of the cache, where there is Redis; their statements are commands and pipelines."""
