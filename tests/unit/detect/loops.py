"""Builders for the tests of the rules: windows, and the loops that they hold."""

from builders import TRACE_ID, make_operation
from dbsight.config import Settings
from dbsight.detect.rules.n_plus_one import NPlusOne
from dbsight.detect.window import Window
from dbsight.model import CallSite, Database

SHOP = Database("sqlite", "shop.db")
HERE = CallSite("shop.py", 88, "list_orders")
LOADS_CUSTOMER = {"relationship": "Order.customer", "load": "lazy", "to_many": False, "entity": "Customer", "rows": 1}
LOADS_LINES = {"relationship": "Order.lines", "load": "lazy", "to_many": True, "entity": "Line", "rows": 3}
SELECT_CUSTOMER = "SELECT customers.id, customers.name FROM customers WHERE customers.id = ?"
SELECT_LINES = "SELECT lines.id, lines.sku FROM lines WHERE ? = lines.order_id"


def one(text, **fields):
    """One operation in ``shop.py``, on the shop's database."""
    return make_operation(text, **{"call_site": HERE, "database": SHOP, **fields})


def loop(count, text=SELECT_CUSTOMER, *, at=0.01, every=0.004, first=1, **fields):
    """The same query again and again, from one place, one after the other, with a parameter that counts upward."""
    return [
        one(text, **{"at": at + number * every, "duration": 0.003, "parameters": first + number, **fields})
        for number in range(count)
    ]


def make_window(operations, duration=1.0, *, request=True, name="GET /orders"):
    """A window that did these operations and took ``duration`` s, as the rules get it."""
    return Window(name, TRACE_ID, list(operations), duration=duration, request=request)


def judge(operations, duration=1.0, *, request=True, **settings):
    """What ``n_plus_one`` finds in these operations."""
    return list(NPlusOne(Settings(**settings)).complete(make_window(operations, duration, request=request)))


def severities(operations, duration=1.0, **options):
    """The severities of what ``n_plus_one`` finds in these operations."""
    return [finding.severity for finding in judge(operations, duration, **options)]
