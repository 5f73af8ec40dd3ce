"""What stands in the shop when it opens: the same rows every time, made by arithmetic.

Steps that share no factor with the number they wrap at spread the references: any 200 orders in a row have 200
customers, any 600 order lines in a row 600 products. So the counts in ``faults.FAULTS`` are exact.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect

from dbsight.demo.models import (
    Address,
    Base,
    CardPayment,
    Category,
    Customer,
    InvoicePayment,
    Order,
    OrderLine,
    Payment,
    Product,
    Review,
    product_categories,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Table

CUSTOMERS = 200
PRODUCTS = 600
ORDERS = 2_000
LINES_PER_ORDER = 10
ORDER_LINES = ORDERS * LINES_PER_ORDER
PAYMENTS = 300
REVIEWS = 300

_BATCH = 1_000
"""Rows an INSERT: one of them takes milliseconds on any database, so that opening the shop is no slow query."""

_FIRST_DAY = date(2026, 1, 1)
_FIRST_NAMES = ("Ada", "Edgar", "Barbara", "Niklaus", "Frances", "Alan", "Grace", "Edsger", "Radia", "Donald")
_LAST_NAMES = ("Archer", "Baker", "Cooper", "Draper", "Fletcher", "Glover", "Mason", "Porter", "Sawyer", "Turner")
_STREETS = ("Mill Lane", "Station Road", "High Street", "Park Avenue")
_CITIES = ("Aarhus", "Bergen", "Cork", "Delft", "Espoo")
_COLOURS = ("blue", "green", "grey", "red", "white")
_THINGS = (
    *("kettle", "teapot", "mug", "saucer", "plate", "bowl", "tray", "spoon", "whisk", "ladle"),
    *("pan", "pot", "lid", "grater", "sieve", "funnel", "scale", "timer", "apron", "towel"),
    *("basket", "jar", "bottle", "flask", "candle", "lamp", "vase", "clock", "mirror", "stool"),
)
_CATEGORIES = (
    *("kitchen", "table", "baking", "tea", "coffee", "storage"),
    *("textiles", "lighting", "gifts", "garden", "outlet", "new"),
)
_RATINGS = ("Fell apart.", "Not for me.", "Does its work.", "Good, and quick to arrive.", "Would buy it again.")


class StrangeTablesError(Exception):
    """The database has tables with the shop's names that are not the shop's."""


def prepare(connection: Connection) -> None:
    """Create and fill the shop's tables, or find them as an earlier run left them. Nothing is ever dropped.

    Raises:
        StrangeTablesError: Tables with the same names, but other columns, are there already.
    """
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    ours = {table.name: {column.name for column in table.columns} for table in Base.metadata.sorted_tables}
    found = sorted(there & ours.keys())
    if not found:
        Base.metadata.create_all(connection, checkfirst=False)
        for table, rows in _rows():
            for start in range(0, len(rows), _BATCH):
                connection.execute(table.insert(), rows[start : start + _BATCH])
        return
    strange = sorted(ours.keys() - there)
    strange += [name for name in found if {column["name"] for column in inspector.get_columns(name)} != ours[name]]
    if strange:
        raise StrangeTablesError(
            f"the database has tables named {', '.join(found)} that the shop did not make "
            f"(it misses {', '.join(strange)} as it would make them): give it an empty database"
        )


def _rows() -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """Each table with its rows, what is referred to first."""
    for rows in (_customers, _addresses, _categories, _products, _product_categories, _orders, _order_lines):
        yield rows()
    yield from _payments()
    yield _reviews()


def _table(model: type[Base]) -> Table:
    return Base.metadata.tables[model.__tablename__]


def _sku(product: int) -> str:
    return f"SKU-{product:05}"


def _name(product: int) -> str:
    number, thing = divmod(product, len(_THINGS))
    return f"{_COLOURS[number % len(_COLOURS)]} {_THINGS[thing]} no. {number + 1}"


def _price(product: int) -> int:
    return 199 + product * 37 % 9_800


def _product_of(line: int) -> int:
    return line * 7 % PRODUCTS + 1


def _customers() -> tuple[Table, list[dict[str, Any]]]:
    rows = []
    for number in range(1, CUSTOMERS + 1):
        first, last = _FIRST_NAMES[number % 10], _LAST_NAMES[number // 10 % 10]
        email = f"{first}.{last}.{number}@shop.example".lower()
        rows.append({"id": number, "name": f"{first} {last}", "email": email})
    return _table(Customer), rows


def _addresses() -> tuple[Table, list[dict[str, Any]]]:
    owners = [*range(1, CUSTOMERS + 1), *range(3, CUSTOMERS + 1, 3)]
    rows = [
        {
            "id": number,
            "customer_id": owner,
            "street": f"{_STREETS[number % len(_STREETS)]} {number % 90 + 1}",
            "city": _CITIES[number % len(_CITIES)],
        }
        for number, owner in enumerate(owners, 1)
    ]
    return _table(Address), rows


def _categories() -> tuple[Table, list[dict[str, Any]]]:
    return _table(Category), [{"id": number, "name": name} for number, name in enumerate(_CATEGORIES, 1)]


def _products() -> tuple[Table, list[dict[str, Any]]]:
    rows = [
        {
            "id": number,
            "sku": _sku(number),
            "name": _name(number),
            "price": _price(number),
            "description": f"The {_name(number)} is what every house needs. " * 20,
        }
        for number in range(1, PRODUCTS + 1)
    ]
    return _table(Product), rows


def _product_categories() -> tuple[Table, list[dict[str, Any]]]:
    shelves = len(_CATEGORIES)
    rows = []
    for product in range(1, PRODUCTS + 1):
        first = product % shelves
        second = (first + 1 + product // shelves % (shelves - 1)) % shelves
        rows += [{"product_id": product, "category_id": shelf + 1} for shelf in (first, second)]
    return product_categories, rows


def _orders() -> tuple[Table, list[dict[str, Any]]]:
    rows = [
        {
            "id": number,
            "customer_id": number * 17 % CUSTOMERS + 1,
            "placed_on": _FIRST_DAY + timedelta(days=number // 8),
            "status": "open" if number > ORDERS - 100 else "sent",
            "labels_printed": 0,
        }
        for number in range(1, ORDERS + 1)
    ]
    return _table(Order), rows


def _order_lines() -> tuple[Table, list[dict[str, Any]]]:
    skus = [_sku(product) for product in range(PRODUCTS + 1)]
    labels = [f"{_name(product)} ({_sku(product)})" for product in range(PRODUCTS + 1)]
    rows = []
    for number in range(1, ORDER_LINES + 1):
        product = _product_of(number)
        rows.append(
            {
                "id": number,
                "order_id": (number - 1) // LINES_PER_ORDER + 1,
                "product_id": product,
                "sku": skus[product],
                "label": labels[product],
                "quantity": number % 3 + 1,
                "unit_price": _price(product),
            }
        )
    return _table(OrderLine), rows


def _payments() -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    numbers = range(1, PAYMENTS + 1)
    invoices = [number for number in numbers if number % 3 == 0]
    cards = [number for number in numbers if number % 3]
    kinds = {**dict.fromkeys(invoices, "invoice"), **dict.fromkeys(cards, "card")}
    yield (
        _table(Payment),
        [
            {"id": number, "order_id": ORDERS + 1 - number, "kind": kinds[number], "amount": 1_000 + number * 7}
            for number in numbers
        ],
    )
    yield _table(CardPayment), [{"id": number, "last_digits": f"{number * 7_919 % 10_000:04}"} for number in cards]
    yield (
        _table(InvoicePayment),
        [{"id": number, "due_on": _FIRST_DAY + timedelta(days=number)} for number in invoices],
    )


def _reviews() -> tuple[Table, list[dict[str, Any]]]:
    rows = [
        {
            "id": number,
            "customer_id": number * 11 % CUSTOMERS + 1,
            "product_id": number * 13 % PRODUCTS + 1,
            "rating": number % 5 + 1,
            "text": _RATINGS[number % 5],
        }
        for number in range(1, REVIEWS + 1)
    ]
    return _table(Review), rows
