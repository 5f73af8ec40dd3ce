"""An empty database, filled."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from shop.models import Base, Customer, Order


def seeded(count: int = 10) -> Engine:
    """A database in memory with so many customers, each with an order."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    numbers = range(1, count + 1)
    with Session(engine) as session:
        session.add_all([Customer(id=number, name=f"customer {number}") for number in numbers])
        session.add_all([Order(id=number, total=number * 10, customer_id=number) for number in numbers])
        session.commit()
    return engine
