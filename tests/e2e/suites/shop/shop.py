"""A small application: orders with the names of their customers, as a loop and as a join."""

from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship
from sqlalchemy.pool import StaticPool


class Base(DeclarativeBase):
    """Of the models."""


class Customer(Base):
    """Has a name."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Order(Base):
    """Belongs to a customer."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship()


def names(session):
    """The fault."""
    return [order.customer.name for order in session.scalars(select(Order))]


def name(session, number):
    """Of the customer of one order."""
    return session.get(Order, number).customer.name


def names_joined(session):
    """Its fix."""
    return [order.customer.name for order in session.scalars(select(Order).options(joinedload(Order.customer)))]


def filled():
    """A database in memory with ten orders, which threads share."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for number in range(1, 11):
            session.add(Customer(id=number, name=f"customer {number}"))
            session.flush()
            session.add(Order(id=number, customer_id=number))
            session.flush()
        session.commit()
    return engine
