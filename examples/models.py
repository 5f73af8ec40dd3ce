"""The tables of the examples that use SQLAlchemy, and what is in them."""

from sqlalchemy import Connection, ForeignKey, String, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The shop's tables."""


class Customer(Base):
    """Who buys."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))


class Order(Base):
    """What was bought."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(String(40))
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship()


def fill(connection: Connection) -> None:
    """Make the tables, with 25 orders of 25 customers, unless they are there."""
    Base.metadata.create_all(connection)
    if not connection.scalar(select(func.count()).select_from(Order)):
        connection.execute(insert(Customer), [{"id": n, "name": f"customer {n}"} for n in range(1, 26)])
        connection.execute(insert(Order), [{"id": n, "item": f"book {n}", "customer_id": n} for n in range(1, 26)])
