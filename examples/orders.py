"""A plain script with an N+1 in it. It knows nothing of OpenTelemetry, nor of dbsight.

pip install dbsight sqlalchemy
opentelemetry-instrument python examples/orders.py           # says what is wrong, and what to write instead
opentelemetry-instrument python examples/orders.py --fixed   # dbsight: no findings in 5 queries
"""

import sys

from sqlalchemy import ForeignKey, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship


class Base(DeclarativeBase):
    """The shop's tables."""


class Customer(Base):
    """Who buys."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Order(Base):
    """What was bought."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship()


def fill(session: Session) -> None:
    session.execute(insert(Customer), [{"id": n, "name": f"customer {n}"} for n in range(1, 26)])
    session.execute(insert(Order), [{"id": n, "item": f"book {n}", "customer_id": n} for n in range(1, 26)])
    session.commit()


def list_orders(session: Session) -> None:
    for order in session.scalars(select(Order)):
        print(order.item, "for", order.customer.name)  # asks the database once for each order


def list_orders_fixed(session: Session) -> None:
    for order in session.scalars(select(Order).options(joinedload(Order.customer))):
        print(order.item, "for", order.customer.name)


engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    fill(session)
    if "--fixed" in sys.argv:
        list_orders_fixed(session)
    else:
        list_orders(session)
