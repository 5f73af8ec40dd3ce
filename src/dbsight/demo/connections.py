"""What the shop answers while it treats its connections badly: each fault, and after it the same answer without it.

A handler is a plain function of a ``Session``, as in ``handlers.py``; one that is a coroutine function runs on the
event loop. ``session.info["reports"]`` is an engine with a single connection, for which nobody waits for long.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session

from dbsight.demo.models import Order, OrderLine, Product

if TYPE_CHECKING:
    from sqlalchemy import Engine

    Rows = list[dict[str, Any]]

_CARRIER = 0.6  # s that the carrier's service takes


def export_orders(session: Session) -> Rows:
    """The first orders, for the bookkeeper: the connection is never closed."""
    connection = session.get_bind().engine.connect()
    rows = connection.execute(select(Order.id, Order.placed_on).order_by(Order.id).limit(20)).all()
    return [{"order": order, "placed_on": placed_on.isoformat()} for order, placed_on in rows]


def export_orders_fixed(session: Session) -> Rows:
    """The same; the connection is given back whatever happens."""
    with session.get_bind().engine.connect() as connection:
        rows = connection.execute(select(Order.id, Order.placed_on).order_by(Order.id).limit(20)).all()
    return [{"order": order, "placed_on": placed_on.isoformat()} for order, placed_on in rows]


def list_sold(session: Session) -> Rows:
    """What was sold of each product: asks for a second connection while it holds the only one of the pool."""
    engine = session.info["reports"]
    with Session(engine) as reading:
        products = reading.execute(select(Product.id, Product.sku).order_by(Product.id).limit(10)).all()
        try:
            pieces = _pieces(engine)
        except NoConnectionError:
            pieces = {}
    pieces = pieces or _pieces(engine)
    return [{"sku": sku, "pieces": pieces[product]} for product, sku in products]


def list_sold_fixed(session: Session) -> Rows:
    """The same, one connection after the other."""
    engine = session.info["reports"]
    with Session(engine) as reading:
        products = reading.execute(select(Product.id, Product.sku).order_by(Product.id).limit(10)).all()
    pieces = _pieces(engine)
    return [{"sku": sku, "pieces": pieces[product]} for product, sku in products]


def _pieces(engine: Engine) -> dict[int, int]:
    """Pieces sold of each product, in a session of its own."""
    statement = select(OrderLine.product_id, func.sum(OrderLine.quantity)).group_by(OrderLine.product_id)
    with Session(engine) as session:
        return {product: int(pieces) for product, pieces in session.execute(statement)}


def send_parcels(session: Session) -> Rows:
    """Note that labels were printed, and ask the carrier in the same transaction: the orders stay locked meanwhile."""
    session.execute(update(Order).where(Order.id <= 10).values(labels_printed=Order.labels_printed + 1))
    parcels = _ask_carrier()
    session.commit()
    return parcels


def send_parcels_fixed(session: Session) -> Rows:
    """The same; the carrier is asked before the transaction begins."""
    parcels = _ask_carrier()
    session.execute(update(Order).where(Order.id <= 10).values(labels_printed=Order.labels_printed + 1))
    session.commit()
    return parcels


def _ask_carrier() -> Rows:
    time.sleep(_CARRIER)
    return [{"order": order, "tracking": f"PARCEL-{order:07}"} for order in range(1, 11)]


async def show_turnover(session: Session) -> Rows:
    """What each product earned: a synchronous driver, asked on the event loop, which serves nobody else meanwhile."""
    turnover = func.sum(OrderLine.quantity * OrderLine.unit_price)
    rows = session.execute(select(OrderLine.sku, turnover).group_by(OrderLine.sku).order_by(OrderLine.sku)).all()
    return [{"sku": sku, "cents": int(cents)} for sku, cents in rows]


async def show_turnover_fixed(session: Session) -> Rows:
    """The same, asked in a thread."""
    return await asyncio.to_thread(_turnover, session)


def _turnover(session: Session) -> Rows:
    turnover = func.sum(OrderLine.quantity * OrderLine.unit_price)
    with session:
        rows = session.execute(select(OrderLine.sku, turnover).group_by(OrderLine.sku).order_by(OrderLine.sku)).all()
    return [{"sku": sku, "cents": int(cents)} for sku, cents in rows]
