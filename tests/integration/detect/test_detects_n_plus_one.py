"""The loops that n_plus_one finds on a real database, each silenced by the very fix that it suggests.

The line that a finding must name ends in a comment that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor

import jinja2
import marshmallow
import pydantic
import pytest
import sqlalchemy
from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, joinedload, selectin_polymorphic, selectinload, undefer

from integration.detect import shop
from integration.detect.shop import (
    CUSTOMERS,
    ORDERS,
    PAYMENTS,
    PRODUCTS,
    Card,
    Cart,
    Category,
    Customer,
    Event,
    Invoice,
    Order,
    Payment,
    Product,
    ReturnedStock,
    Stock,
    product_tags,
)

EVERY_CUSTOMER, EVERY_ORDER, EVERY_PRODUCT, EVERY_PAYMENT = map(select, (Customer, Order, Product, Payment))
ROOTS = select(Category).where(Category.parent_id.is_(None))

customers = Customer.__table__
NAMES = {
    **{name: getattr(shop, name) for name in dir(shop)},
    "select": select,
    "joinedload": joinedload,
    "selectinload": selectinload,
    "selectin_polymorphic": selectin_polymorphic,
    "undefer": undefer,
}


def pasted(suggestion):
    """The suggestion as the developer would have it: code, in the names of the application."""
    return eval(suggestion, dict(NAMES))


# -- What the ORM loads one by one --------------------------------------------------------------------------------
def to_one(session, statement=EVERY_ORDER):
    """The customer of each order; there are fewer customers than orders."""
    for order in session.scalars(statement):
        str(order.customer.name)  # the line


def to_many(session, statement=EVERY_CUSTOMER):
    """The orders of each customer."""
    for customer in session.scalars(statement):
        len(customer.orders)  # the line


def many_to_many(session, statement=EVERY_PRODUCT):
    """The tags of each product."""
    for product in session.scalars(statement):
        len(product.tags)  # the line


def deferred(session, statement=EVERY_PRODUCT):
    """The description of each product."""
    for product in session.scalars(statement):
        len(product.description)  # the line


def tree(session, statement=ROOTS):
    """The categories below each category."""
    for category in session.scalars(statement):
        len(category.children)  # the line


def _lines(order):
    return order.lines  # the line


def helper(session, statement=EVERY_ORDER):
    """A property or a method touches the relationship."""
    for order in session.scalars(statement):
        len(_lines(order))


class OrderOut(pydantic.BaseModel):
    """What leaves the shop through Pydantic."""

    model_config = pydantic.ConfigDict(from_attributes=True)

    id: int
    customer: CustomerOut


class CustomerOut(pydantic.BaseModel):
    """A customer within an order."""

    model_config = pydantic.ConfigDict(from_attributes=True)

    name: str


def walked_by_pydantic(session, statement=EVERY_ORDER):
    """Validation reads the attributes, relationships included."""
    for order in session.scalars(statement):
        OrderOut.model_validate(order)  # the line


class ProductSchema(marshmallow.Schema):
    """What leaves the shop through marshmallow."""

    name = marshmallow.fields.String()
    tags = marshmallow.fields.List(
        marshmallow.fields.Pluck(marshmallow.Schema.from_dict({"name": marshmallow.fields.String()}), "name")
    )


def walked_by_marshmallow(session, statement=EVERY_PRODUCT):
    """Serialisation reads the attributes, relationships included."""
    products = session.scalars(statement).all()
    ProductSchema(many=True).dump(products)  # the line


PAGE = jinja2.Environment(autoescape=True).from_string(
    "{% for customer in customers %}{{ customer.name }}: {{ customer.orders | length }}\n{% endfor %}"
)


def in_a_template(session, statement=EVERY_CUSTOMER):
    """A template without a file: the line is the one that renders."""
    PAGE.render(customers=session.scalars(statement))  # the line


@pytest.mark.parametrize(
    ("work", "relationship", "count", "suggestion"),
    [
        (to_one, "Order.customer", CUSTOMERS, "select(Order).options(joinedload(Order.customer))"),
        (to_many, "Customer.orders", CUSTOMERS, "select(Customer).options(selectinload(Customer.orders))"),
        (many_to_many, "Product.tags", PRODUCTS, "select(Product).options(selectinload(Product.tags))"),
        (deferred, "Product.description", PRODUCTS, "select(Product).options(undefer(Product.description))"),
        (helper, "Order.lines", ORDERS, "select(Order).options(selectinload(Order.lines))"),
        (walked_by_pydantic, "Order.customer", CUSTOMERS, "select(Order).options(joinedload(Order.customer))"),
        (walked_by_marshmallow, "Product.tags", PRODUCTS, "select(Product).options(selectinload(Product.tags))"),
        (in_a_template, "Customer.orders", CUSTOMERS, "select(Customer).options(selectinload(Customer.orders))"),
        (tree, "Category.children", 6, "select(Category).options(selectinload(Category.children, recursion_depth=3))"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_detects_what_the_orm_loads_one_by_one(watch, work, relationship, count, suggestion):
    """Place, number and relationship are right, and the fix, pasted, makes the finding go away."""
    watch(work)  # compiles the statements: that can take so long that six queries are less than 0.5 % of it
    (found,) = watch(work)
    assert (found.rule, found.relationship, found.count, found.suggestion) == (
        "n_plus_one",
        relationship,
        count,
        suggestion,
    )
    assert found.severity in {"warning", "error"}
    assert found.line.endswith("# the line")
    assert watch(work, pasted(found.suggestion)) == []


def test_detects_a_loop_in_the_file_of_a_template(watch, tmp_path):
    """The line is that of the template, not of the code that was made from it."""
    (tmp_path / "customers.html").write_text(
        "<ul>\n{% for customer in customers %}\n<li>{{ customer.orders | length }}</li> the line\n{% endfor %}\n</ul>"
    )
    page = jinja2.Environment(loader=jinja2.FileSystemLoader(tmp_path), autoescape=True).get_template("customers.html")

    def work(session, statement=EVERY_CUSTOMER):
        page.render(customers=session.scalars(statement))

    (found,) = watch(work)
    assert (found.relationship, found.line) == ("Customer.orders", "<li>{{ customer.orders | length }}</li> the line")
    assert watch(work, pasted(found.suggestion)) == []


def test_detects_columns_of_joined_subclasses(watch):
    """A query for payments leaves out what cards and invoices have of their own."""

    def work(session, statement=EVERY_PAYMENT):
        for payment in session.scalars(statement):
            if isinstance(payment, Card):
                str(payment.digits)
            elif isinstance(payment, Invoice):
                str(payment.address)

    found = watch(work)
    assert {(each.relationship, each.count, each.suggestion) for each in found} == {
        (name, PAYMENTS // 2, "select(Payment).options(selectin_polymorphic(Payment, [Card, Invoice]))")
        for name in ("Card.digits", "Invoice.address")
    }
    assert watch(work, pasted(found[0].suggestion)) == []


def test_detects_expired_attributes_that_are_read_again(watch):
    """A commit expires everything; each object is then loaded anew."""

    def work(session):
        orders = session.scalars(select(Order)).all()
        for order in orders:
            order.note = "printed"
        session.commit()
        for order in orders:
            str(order.note)  # the line

    (found,) = watch(work)
    assert (found.relationship, found.count, found.suggestion) == (
        "Order",
        ORDERS,
        "Session(engine, expire_on_commit=False)",
    )
    assert found.line.endswith("# the line")
    with watch.telemetry.root(), Session(watch.engine, expire_on_commit=False) as session:
        work(session)
    assert watch.findings() == []


def test_detects_values_of_the_database_that_are_read_row_by_row(watch):
    """The database changes a column with each UPDATE; with ``eager_defaults`` the UPDATE returns it."""

    def work(session, model):
        stocks = session.scalars(select(model)).all()
        for stock in stocks:
            stock.pieces += 1
        session.flush()
        for stock in stocks:
            str(stock.changed)  # the line

    (found,) = watch(work, Stock)
    assert (found.relationship, found.count, found.suggestion) == (
        "Stock",
        8,
        '__mapper_args__ = {"eager_defaults": True}',
    )
    assert found.line.endswith("# the line")
    assert watch(work, ReturnedStock) == []


# -- More than one loop -------------------------------------------------------------------------------------------
def test_detects_two_loops_interleaved(watch):
    """Each order asks for its customer and its lines, in turn."""

    def work(session, statement=EVERY_ORDER):
        for order in session.scalars(statement):
            len(order.lines)
            str(order.customer.name)

    found = watch(work)
    assert {(each.relationship, each.count) for each in found} == {
        ("Order.lines", ORDERS),
        ("Order.customer", CUSTOMERS),
    }
    assert watch(work, select(Order).options(joinedload(Order.customer), selectinload(Order.lines))) == []


def test_detects_a_loop_below_a_loop_with_its_whole_path(watch):
    """N × M: customers, their orders, the lines of those, and their products."""

    def work(session, statement=EVERY_CUSTOMER):
        for customer in session.scalars(statement).unique():
            for order in customer.orders:
                for line in order.lines:
                    str(line.product.name)

    found = {each.relationship: each for each in watch(work)}
    assert {name: (each.count, each.suggestion) for name, each in found.items()} == {
        "Customer.orders": (CUSTOMERS, "select(Customer).options(selectinload(Customer.orders))"),
        "Order.lines": (ORDERS, "select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines))"),
        "Line.product": (
            PRODUCTS,
            "select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines).joinedload(Line.product))",
        ),
    }
    assert watch(work, pasted(found["Line.product"].suggestion)) == []


def test_detects_the_eager_loads_of_looped_parents_as_part_of_their_loop(watch):
    """Each cart that is looked up brings its items along: one finding."""

    def one_by_one(session):
        for number in range(1, 9):
            session.get(Cart, number)  # the line

    def at_once(session):
        session.scalars(select(Cart).where(Cart.id.in_(range(1, 9)))).all()

    (found,) = watch(one_by_one)
    assert (found.relationship, found.count) == (None, 8)
    assert found.line.endswith("# the line")
    assert found.description.endswith(" Each ran its eager loads again (Cart.items): 8 more queries.")
    assert watch(at_once) == []


def test_detects_the_query_of_a_subclass_as_part_of_its_loop(watch):
    """The mapper asks for each talk's own columns by one more query: one finding."""

    def one_by_one(session):
        for number in range(1, 9):
            session.get(Event, number)

    def at_once(session):
        session.scalars(select(Event)).all()

    (found,) = watch(one_by_one)
    assert (found.count, found.description.endswith("(Talk): 8 more queries.")) == (8, True)
    assert watch(at_once) == []


# -- Loops without a relationship ---------------------------------------------------------------------------------
def core(session):
    """A loop of SQLAlchemy Core."""
    for number in range(1, CUSTOMERS + 1):
        session.connection().execute(select(customers.c.name).where(customers.c.id == number)).scalar_one()  # the line


def core_fixed(session):
    """One query for all."""
    numbers = range(1, CUSTOMERS + 1)
    session.connection().execute(select(customers.c.name).where(customers.c.id.in_(numbers))).all()


def inlined(session):
    """Values written into the text: no parameter differs, the literals do."""
    for number in range(1, CUSTOMERS + 1):
        session.execute(text(f"SELECT name FROM customers WHERE id = {number}")).all()  # the line


def inlined_fixed(session):
    """One query for all, with its values bound."""
    query = text("SELECT id, name FROM customers WHERE id IN :ids").bindparams(bindparam("ids", expanding=True))
    session.execute(query, {"ids": list(range(1, CUSTOMERS + 1))}).all()


def commented(session):
    """A comment with a trace id makes every text another one."""
    for number in range(1, CUSTOMERS + 1):
        query = text(f"/* traceparent='00-{number:032x}-01' */ SELECT name FROM customers WHERE id = :id")
        session.execute(query, {"id": number}).all()  # the line


def _find(session, number):
    return session.execute(select(customers.c.name).where(customers.c.id == number)).scalar_one()  # the line


def looked_up(session):
    """The query stands in a helper, the loop does not."""
    for number in range(1, CUSTOMERS + 1):
        _find(session, number)


def got(session):
    """``Session.get`` in a loop."""
    for number in range(1, CUSTOMERS + 1):
        session.get(Customer, number)  # the line


def got_fixed(session):
    """One query for all."""
    session.scalars(select(Customer).where(Customer.id.in_(range(1, CUSTOMERS + 1)))).all()


def counted(session):
    """A count per row."""
    for number in range(1, PRODUCTS + 1):
        session.scalar(select(sqlalchemy.func.count()).where(product_tags.c.product_id == number))  # the line


def counted_fixed(session):
    """One grouped count."""
    columns = product_tags.c.product_id, sqlalchemy.func.count()
    session.execute(select(*columns).where(product_tags.c.product_id.in_(range(50))).group_by(columns[0])).all()


@pytest.mark.parametrize(
    ("work", "fixed", "suggestion"),
    [
        (core, core_fixed, "SELECT customers.id, customers.name FROM customers WHERE customers.id IN (…)"),
        (inlined, inlined_fixed, "SELECT id, name FROM customers WHERE id IN (…)"),
        (commented, inlined_fixed, "SELECT id, name FROM customers WHERE id IN (…)"),
        (looked_up, core_fixed, "SELECT customers.id, customers.name FROM customers WHERE customers.id IN (…)"),
        (got, got_fixed, "SELECT customers.id, customers.name FROM customers WHERE customers.id IN (…)"),
        (
            counted,
            counted_fixed,
            (
                "SELECT product_tags.product_id, count(*) AS count_1 FROM product_tags"
                " WHERE product_tags.product_id IN (…) GROUP BY product_tags.product_id"
            ),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_detects_loops_without_a_relationship(watch, work, fixed, suggestion):
    """The line, and one query for all in the names of the tables."""
    (found,) = watch(work)
    assert (found.rule, found.relationship, found.suggestion) == ("n_plus_one", None, suggestion)
    assert found.line.endswith("# the line")
    assert found.count == (PRODUCTS if work is counted else CUSTOMERS)
    assert watch(fixed) == []


def test_a_lookup_helper_names_its_caller_and_keeps_callers_apart(watch):
    """The helper is innocent; whoever loops over it is not."""

    def apart(session):
        _find(session, 1)
        _find(session, 2)
        _find(session, 3)

    (found,) = watch(looked_up)
    assert ", called from " in found.description
    assert found.description.endswith(" in looked_up.")
    assert watch(apart) == []


# -- Threads, tasks and spans -------------------------------------------------------------------------------------
def test_detects_a_loop_spread_over_threads(watch):
    """Instrumented thread pools carry the context; each thread has its own session."""

    def look_up(number):
        with Session(watch.engine) as session:
            return session.get(Customer, number).name  # the line

    def work(session):
        with ThreadPoolExecutor(4) as pool:
            contexts = [contextvars.copy_context() for _ in range(CUSTOMERS)]
            list(pool.map(lambda context, number: context.run(look_up, number), contexts, range(1, CUSTOMERS + 1)))

    (found,) = watch(work)
    assert (found.count, found.line.endswith("# the line")) == (CUSTOMERS, True)
    assert watch(got_fixed) == []


def test_detects_a_loop_of_each_thread_outside_spans(watch):
    """A plain script with plain threads: each is a unit of work of its own."""

    def look_up(numbers):
        with Session(watch.engine) as session:
            for number in numbers:
                session.get(Order, number)

    def work():
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(look_up, (range(1, 13), range(13, 25))))

    assert sum(found.count for found in watch.outside(work)) == ORDERS


@contextlib.asynccontextmanager
async def async_engine(watch):
    """The shop's database through aiosqlite."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{watch.engine.url.database}")
    try:
        yield engine
    finally:
        await engine.dispose()


def test_detects_a_loop_of_gathered_tasks(watch):
    """All at once is still one query for each."""

    async def name_of(engine, number):
        async with AsyncSession(engine) as session:
            return (await session.get_one(Customer, number)).name  # the line

    async def all_names(engine):
        async with AsyncSession(engine) as session:
            return list(await session.scalars(select(Customer.name).order_by(Customer.id)))

    async def faulty():
        async with async_engine(watch) as engine:
            with watch.telemetry.root():
                return await asyncio.gather(*(name_of(engine, number) for number in range(1, CUSTOMERS + 1)))

    async def fixed():
        async with async_engine(watch) as engine:
            with watch.telemetry.root():
                return await all_names(engine)

    names = asyncio.run(faulty())
    (found,) = watch.findings()
    assert (found.count, found.line.endswith("# the line")) == (CUSTOMERS, True)
    assert asyncio.run(fixed()) == names
    assert watch.findings() == []


def test_detects_an_awaited_lazy_loop(watch):
    """The asynchronous driver gives the same finding as the synchronous one."""

    async def run(statement=EVERY_ORDER):
        async with async_engine(watch) as engine:
            with watch.telemetry.root():
                async with AsyncSession(engine) as session:
                    await session.run_sync(to_one, statement)
        return watch.findings()

    (found,) = asyncio.run(run())
    (expected,) = watch(to_one)
    assert (found.relationship, found.count, found.suggestion, found.line) == (
        expected.relationship,
        expected.count,
        expected.suggestion,
        expected.line,
    )
    assert asyncio.run(run(pasted(found.suggestion))) == []


def test_detects_a_loop_with_a_span_for_each_item(watch):
    """The parent span is evidence, not identity."""

    def work(session, statement=EVERY_ORDER):
        for order in session.scalars(statement):
            with watch.telemetry.tracer.start_as_current_span("item"):
                str(order.customer.name)  # the line

    (found,) = watch(work)
    assert (found.relationship, found.count) == ("Order.customer", CUSTOMERS)
    assert watch(work, pasted(found.suggestion)) == []


def test_detects_a_loop_with_other_queries_in_between(watch):
    """Pings, savepoints and settings hide nothing."""

    def work(session, statement=EVERY_ORDER):
        for order in session.scalars(statement).all():
            session.execute(text("SELECT 1"))
            session.execute(text("PRAGMA foreign_keys"))
            with session.begin_nested():
                str(order.customer.name)  # the line

    (found,) = watch(work)
    assert (found.relationship, found.count) == ("Order.customer", CUSTOMERS)
    assert watch(work, pasted(found.suggestion)) == []


def test_the_same_fault_has_the_same_id_in_every_run(watch):
    """What is known can be named in a baseline."""
    first, second = watch(to_one), watch(to_one)
    assert [found.id for found in first] == [found.id for found in second]
