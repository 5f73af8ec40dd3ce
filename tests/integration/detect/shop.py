"""A small shop with one of each way in which SQLAlchemy loads things."""

from __future__ import annotations

from sqlalchemy import Column, FetchedValue, ForeignKey, Table, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

CUSTOMERS, ORDERS, PRODUCTS, PAYMENTS = 6, 24, 12, 12


class Base(DeclarativeBase):
    """The shop's tables."""


class Customer(Base):
    """Has orders and invoices."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id")


class Order(Base):
    """Of a customer."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    note: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[Line]] = relationship(back_populates="order", order_by="Line.id")


class Line(Base):
    """Of an order."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship()


product_tags = Table(
    "product_tags",
    Base.metadata,
    Column("product_id", ForeignKey("products.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Product(Base):
    """With tags, and a description that is loaded when it is asked for."""

    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(deferred=True)
    tags: Mapped[list[Tag]] = relationship(secondary=product_tags, order_by="Tag.id")


class Tag(Base):
    """Of products; the database says when it was made."""

    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    made: Mapped[str] = mapped_column(server_default=func.current_timestamp())


class Payment(Base):
    """Money; what is special about each kind has a table of its own."""

    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    amount: Mapped[int]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "cash"}  # noqa: RUF012 - SQLAlchemy's form


class Card(Payment):
    """Paid by card."""

    __tablename__ = "cards"
    id: Mapped[int] = mapped_column(ForeignKey("payments.id"), primary_key=True)
    digits: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "card"}  # noqa: RUF012 - SQLAlchemy's form


class Invoice(Payment):
    """Paid by invoice."""

    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(ForeignKey("payments.id"), primary_key=True)
    address: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "invoice"}  # noqa: RUF012 - SQLAlchemy's form


class Category(Base):
    """A tree."""

    __tablename__ = "categories"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    children: Mapped[list[Category]] = relationship(order_by="Category.id")


class Cart(Base):
    """Brings its items along by itself."""

    __tablename__ = "carts"
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship(lazy="selectin", order_by="Item.id")


class Item(Base):
    """Of a cart."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    cart_id: Mapped[int] = mapped_column(ForeignKey("carts.id"))


class Stock(Base):
    """The database counts its changes; SQLAlchemy reads the count after each."""

    __tablename__ = "stock"
    id: Mapped[int] = mapped_column(primary_key=True)
    pieces: Mapped[int]
    changed: Mapped[str] = mapped_column(server_default="never", server_onupdate=FetchedValue())


class ReturnedStock(Base):
    """The same, read with the UPDATE itself."""

    __table__ = Stock.__table__
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy's form


class Event(Base):
    """Each kind comes with a query of its own."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012 - SQLAlchemy's form


class Talk(Event):
    """With a speaker."""

    __tablename__ = "talks"
    id: Mapped[int] = mapped_column(ForeignKey("events.id"), primary_key=True)
    speaker: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "talk", "polymorphic_load": "selectin"}  # noqa: RUF012 - the same


class Job(Base):
    """Waits in a queue."""

    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    customer_id: Mapped[int]


def fill(engine):
    """Make the tables and something in each of them."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Customer(id=number, name=f"customer {number}") for number in range(1, CUSTOMERS + 1))
        tags = [Tag(id=number, name=f"tag {number}") for number in range(1, 5)]
        products = [
            Product(
                id=number, name=f"product {number}", description="long " * 20, tags=tags[number % 3 : number % 3 + 2]
            )
            for number in range(1, PRODUCTS + 1)
        ]
        session.add_all(products)
        session.add_all(
            Order(
                id=number,
                customer_id=number % CUSTOMERS + 1,
                note="",
                status="open" if number % 2 else "sent",
                lines=[Line(product=products[(number + line) % PRODUCTS]) for line in range(3)],
            )
            for number in range(1, ORDERS + 1)
        )
        session.add_all(
            Card(amount=number, digits=str(number))
            if number % 2
            else Invoice(amount=number, address=f"street {number}")
            for number in range(PAYMENTS)
        )
        roots = [Category(children=[Category(), Category()]) for _ in range(6)]
        session.add_all(roots)
        session.add_all(Cart(items=[Item(), Item()]) for _ in range(8))
        session.add_all(Stock(pieces=number) for number in range(8))
        session.add_all(Talk(speaker=str(number)) for number in range(8))
        session.add_all(Job(state="waiting", customer_id=number % CUSTOMERS + 1) for number in range(10))
        session.commit()
        if engine.dialect.name == "postgresql":
            for table in Base.metadata.sorted_tables:
                _count_on(session, table)
            session.commit()


def _count_on(session, table):
    """Let the ids that PostgreSQL gives follow those that were given to it."""
    column = table.autoincrement_column
    if column is not None:
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        session.execute(select(func.setval(sequence, select(func.max(column)).scalar_subquery())))
