"""What the shop answers while it asks for too much, too often or one after the other: each fault, and its twin.

Handlers are as in ``handlers.py``; a coroutine function runs on the event loop and opens sessions of its own, one for
each query that runs beside others, on ``session.info["concurrent"]``, an asynchronous engine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from dbsight.demo.delay import Pause
from dbsight.demo.models import Customer, Order, OrderLine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.orm import Session

    Rows = list[dict[str, Any]]

_ATTEMPTS = 12
_PRODUCTS = 10


def show_ledger(session: Session) -> Rows:
    """What all lines of all orders come to: every row is fetched at once, and added up here."""
    lines = session.execute(select(OrderLine.id, OrderLine.quantity, OrderLine.unit_price).order_by(OrderLine.id)).all()
    return _ledger((quantity, price) for _, quantity, price in lines)


def show_ledger_fixed(session: Session) -> Rows:
    """The same; the rows are streamed, a thousand at a time."""
    statement = select(OrderLine.id, OrderLine.quantity, OrderLine.unit_price).order_by(OrderLine.id)
    lines = session.execute(statement.execution_options(yield_per=1000))
    return _ledger((quantity, price) for _, quantity, price in lines)


def _ledger(lines: Any) -> Rows:
    number = pieces = cents = 0
    for quantity, price in lines:
        number += 1
        pieces += quantity
        cents += quantity * price
    return [{"what": "all lines of all orders", "lines": number, "pieces": pieces, "cents": cents, "currency": "EUR"}]


async def show_dashboard(session: Session) -> Rows:
    """Six numbers that have nothing to do with each other, each awaited before the next is asked for."""
    rows = []
    async with session.info["concurrent"].connect() as connection:
        for what, statement in _numbers():
            rows.append(await _number(connection, what, statement))
    return rows


async def show_dashboard_fixed(session: Session) -> Rows:
    """The same, asked for at once, each on a connection of its own."""
    engine = session.info["concurrent"]
    return list(await asyncio.gather(*[_number_apart(engine, what, statement) for what, statement in _numbers()]))


async def _number_apart(engine: AsyncEngine, what: str, statement: Any) -> dict[str, Any]:
    async with engine.connect() as connection:
        return await _number(connection, what, statement)


async def _number(connection: AsyncConnection, what: str, statement: Any) -> dict[str, Any]:
    return {"what": what, "number": int(await connection.scalar(statement))}


def _numbers() -> list[tuple[str, Any]]:
    """Lines of some products, counted in six ways; each query waits as one does that reads from a disk."""
    kinds = {
        "lines": func.count(),
        "pieces": func.sum(OrderLine.quantity),
        "cents": func.sum(OrderLine.quantity * OrderLine.unit_price),
        "orders": func.count(OrderLine.order_id.distinct()),
        "largest": func.max(OrderLine.quantity),
        "dearest": func.max(OrderLine.unit_price),
    }
    waited = select(Pause()).scalar_subquery()
    return [(what, select(kind, waited).where(OrderLine.product_id <= _PRODUCTS)) for what, kind in kinds.items()]


def register_customer(session: Session) -> Rows:
    """Register a customer who is known already: the same insert fails again and again, without a pause."""
    known = session.execute(select(Customer.name, Customer.email).where(Customer.id == 1)).one()
    for _ in range(_ATTEMPTS):
        try:
            session.execute(insert(Customer).values(name=known.name, email=known.email))
            session.commit()
        except IntegrityError:  # noqa: PERF203 - the fault
            session.rollback()
        else:
            break
    return [{"customer": known.name, "email": known.email, "registered": "earlier", "why": "this address is known"}]


def register_customer_fixed(session: Session) -> Rows:
    """The same; what is there already is not inserted."""
    known = session.execute(select(Customer.name, Customer.email).where(Customer.id == 1)).one()
    there = session.scalar(select(Customer.id).where(Customer.email == known.email))
    if there is None:
        session.execute(insert(Customer).values(name=known.name, email=known.email))
        session.commit()
    return [{"customer": known.name, "email": known.email, "registered": "earlier", "why": "this address is known"}]


def list_first_orders(session: Session) -> Rows:
    """The orders of one customer: all orders are loaded, and compared here."""
    orders = session.scalars(select(Order).order_by(Order.id)).all()
    return [{"order": order.id, "status": order.status} for order in orders if order.customer_id == 1]


def list_first_orders_fixed(session: Session) -> Rows:
    """The same; the database compares."""
    orders = session.scalars(select(Order).where(Order.customer_id == 1).order_by(Order.id)).all()
    return [{"order": order.id, "status": order.status} for order in orders]


def list_names(session: Session) -> Rows:
    """Names of customers, for a menu; a join brings along all their orders and lines, which nobody reads."""
    everything = joinedload(Customer.orders).joinedload(Order.lines)
    customers = session.scalars(select(Customer).options(everything).order_by(Customer.id).limit(60)).unique().all()
    return [{"customer": customer.id, "name": customer.name} for customer in customers]


def list_names_fixed(session: Session) -> Rows:
    """The same without the join."""
    customers = session.scalars(select(Customer).order_by(Customer.id).limit(60)).all()
    return [{"customer": customer.id, "name": customer.name} for customer in customers]
