"""What the shop does with orders."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.models import Order


def listed(session: Session) -> list[str]:
    """A line for each order."""
    orders = session.scalars(select(Order).order_by(Order.id))
    return [f"order {order.id}: {order.total}" for order in orders]
