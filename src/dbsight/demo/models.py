"""What the shop remembers."""

from __future__ import annotations

from datetime import date  # noqa: TC003 - SQLAlchemy reads the annotations

from sqlalchemy import Column, ForeignKey, Identity, Index, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

FIRST_FREE_ID = 100_001
"""Where a database with sequences begins to count: the seed below it brings its own ids."""


class Base(DeclarativeBase):
    """The shop's tables."""


def _primary_key() -> Mapped[int]:
    return mapped_column(Identity(start=FIRST_FREE_ID), primary_key=True)


class Customer(Base):
    """Who buys."""

    __tablename__ = "customers"

    id: Mapped[int] = _primary_key()
    name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(120), unique=True)

    addresses: Mapped[list[Address]] = relationship(back_populates="customer", order_by="Address.id")
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id")
    reviews: Mapped[list[Review]] = relationship(back_populates="customer", order_by="Review.id")


class Address(Base):
    """Where a customer lives; some have two."""

    __tablename__ = "addresses"

    id: Mapped[int] = _primary_key()
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    street: Mapped[str] = mapped_column(String(80))
    city: Mapped[str] = mapped_column(String(80))

    customer: Mapped[Customer] = relationship(back_populates="addresses")


product_categories = Table(
    "product_categories",
    Base.metadata,
    Column("product_id", ForeignKey("products.id"), primary_key=True),
    Column("category_id", ForeignKey("categories.id"), primary_key=True),
)


class Category(Base):
    """A shelf of the shop."""

    __tablename__ = "categories"

    id: Mapped[int] = _primary_key()
    name: Mapped[str] = mapped_column(String(40), unique=True)

    products: Mapped[list[Product]] = relationship(
        secondary=product_categories, back_populates="categories", order_by="Product.id"
    )


class Product(Base):
    """What is sold. The description is long, so it is loaded only when somebody asks for it."""

    __tablename__ = "products"

    id: Mapped[int] = _primary_key()
    sku: Mapped[str] = mapped_column(String(20), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    price: Mapped[int]  # cents
    description: Mapped[str] = mapped_column(Text, deferred=True)

    categories: Mapped[list[Category]] = relationship(
        secondary=product_categories, back_populates="products", order_by="Category.id"
    )
    reviews: Mapped[list[Review]] = relationship(back_populates="product", order_by="Review.id")


class Order(Base):
    """What a customer bought on one day."""

    __tablename__ = "orders"

    id: Mapped[int] = _primary_key()
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    placed_on: Mapped[date]
    status: Mapped[str] = mapped_column(String(20))
    labels_printed: Mapped[int] = mapped_column(default=0)

    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order", order_by="OrderLine.id")
    payments: Mapped[list[Payment]] = relationship(back_populates="order", order_by="Payment.id")


class OrderLine(Base):
    """One product of an order, with what stood on the shelf that day. Nobody thought of an index on ``sku``."""

    __tablename__ = "order_lines"
    # Whatever counts pieces by product reads this index alone.
    __table_args__ = (Index("ix_order_lines_product_id", "product_id", "quantity"),)

    id: Mapped[int] = _primary_key()
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    sku: Mapped[str] = mapped_column(String(20))
    label: Mapped[str] = mapped_column(String(120))
    quantity: Mapped[int]
    unit_price: Mapped[int]  # cents

    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship()


class Review(Base):
    """What a customer thinks of a product."""

    __tablename__ = "reviews"

    id: Mapped[int] = _primary_key()
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), index=True)
    rating: Mapped[int]
    text: Mapped[str] = mapped_column(Text)

    customer: Mapped[Customer] = relationship(back_populates="reviews")
    product: Mapped[Product] = relationship(back_populates="reviews")


class Payment(Base):
    """Money for an order; each kind keeps what is its own in a table of its own."""

    __tablename__ = "payments"
    __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012 - SQLAlchemy's own form

    id: Mapped[int] = _primary_key()
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    amount: Mapped[int]  # cents

    order: Mapped[Order] = relationship(back_populates="payments")

    def means(self) -> str:
        """How it is paid, in words."""
        raise NotImplementedError


class CardPayment(Payment):
    """Paid by card."""

    __tablename__ = "card_payments"
    __mapper_args__ = {"polymorphic_identity": "card"}  # noqa: RUF012 - SQLAlchemy's own form

    id: Mapped[int] = mapped_column(ForeignKey("payments.id"), primary_key=True)
    last_digits: Mapped[str] = mapped_column(String(4))

    def means(self) -> str:
        """The card's last digits."""
        return f"card ending in {self.last_digits}"


class InvoicePayment(Payment):
    """Paid by invoice."""

    __tablename__ = "invoice_payments"
    __mapper_args__ = {"polymorphic_identity": "invoice"}  # noqa: RUF012 - SQLAlchemy's own form

    id: Mapped[int] = mapped_column(ForeignKey("payments.id"), primary_key=True)
    due_on: Mapped[date]

    def means(self) -> str:
        """When it is due."""
        return f"invoice due on {self.due_on:%Y-%m-%d}"
