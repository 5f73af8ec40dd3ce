"""What the shop answers: each fault, and after it the same answer without the fault.

A handler is a plain function of a ``Session`` that returns what becomes JSON; ``app.py`` runs it in a thread or, for an
asynchronous driver, through ``AsyncSession.run_sync``. The line that asks for the query is one line each time, so that
a report has one place to name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectin_polymorphic, selectinload, undefer

from dbsight.demo.lookups import name_of, names_of
from dbsight.demo.models import (
    Address,
    CardPayment,
    Category,
    Customer,
    InvoicePayment,
    Order,
    OrderLine,
    Payment,
    Product,
    Review,
    product_categories,
)
from dbsight.demo.schemas import REVIEWS_OUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    Rows = list[dict[str, Any]]


def list_orders(session: Session) -> Rows:
    """The latest orders with their customers: one query per customer."""
    orders = session.scalars(select(Order).order_by(Order.id.desc()).limit(200)).all()
    return [{"order": order.id, "customer": order.customer.name} for order in orders]


def list_orders_fixed(session: Session) -> Rows:
    """The same with a join."""
    statement = select(Order).options(joinedload(Order.customer)).order_by(Order.id.desc()).limit(200)
    orders = session.scalars(statement).all()
    return [{"order": order.id, "customer": order.customer.name} for order in orders]


def list_customers(session: Session) -> Rows:
    """Customers and how often they bought: one query per customer for their orders."""
    customers = session.scalars(select(Customer).order_by(Customer.id).limit(80)).all()
    return [{"customer": customer.name, "orders": len(customer.orders)} for customer in customers]


def list_customers_fixed(session: Session) -> Rows:
    """The same with one more query for all their orders."""
    statement = select(Customer).options(selectinload(Customer.orders)).order_by(Customer.id).limit(80)
    customers = session.scalars(statement).all()
    return [{"customer": customer.name, "orders": len(customer.orders)} for customer in customers]


def list_products(session: Session) -> Rows:
    """Products and their categories, many to many: one query per product."""
    products = session.scalars(select(Product).order_by(Product.id).limit(60)).all()
    return [{"product": product.name, "shelves": [shelf.name for shelf in product.categories]} for product in products]


def list_products_fixed(session: Session) -> Rows:
    """The same with one more query for all categories."""
    statement = select(Product).options(selectinload(Product.categories)).order_by(Product.id).limit(60)
    products = session.scalars(statement).all()
    return [{"product": product.name, "shelves": [shelf.name for shelf in product.categories]} for product in products]


def list_payments(session: Session) -> Rows:
    """Payments with what only their kind has: one query per payment for the second table."""
    payments = session.scalars(select(Payment).order_by(Payment.id).limit(60)).all()
    return [{"amount": payment.amount, "paid": payment.means()} for payment in payments]


def list_payments_fixed(session: Session) -> Rows:
    """The same with one more query per kind."""
    kinds = selectin_polymorphic(Payment, [CardPayment, InvoicePayment])
    payments = session.scalars(select(Payment).options(kinds).order_by(Payment.id).limit(60)).all()
    return [{"amount": payment.amount, "paid": payment.means()} for payment in payments]


def list_catalogue(session: Session) -> Rows:
    """Products with their descriptions, which the model defers: one query per product."""
    products = session.scalars(select(Product).order_by(Product.id).limit(40)).all()
    return [{"product": product.name, "description": product.description} for product in products]


def list_catalogue_fixed(session: Session) -> Rows:
    """The same with the column asked for from the start."""
    statement = select(Product).options(undefer(Product.description)).order_by(Product.id).limit(40)
    products = session.scalars(statement).all()
    return [{"product": product.name, "description": product.description} for product in products]


def show_invoice(session: Session) -> Rows:
    """The latest order, line by line, with the look-up of a product's name: one query per line."""
    lines = _latest_lines(session, orders=1)
    return [{"product": name_of(session, line.product_id), "cents": line.unit_price} for line in lines]


def show_invoice_fixed(session: Session) -> Rows:
    """The same with one look-up for all lines."""
    lines = _latest_lines(session, orders=1)
    names = names_of(session, [line.product_id for line in lines])
    return [{"product": names[line.product_id], "cents": line.unit_price} for line in lines]


def list_picking(session: Session) -> Rows:
    """What to fetch from the shelves, with the same look-up as the invoice: one query per line."""
    lines = _latest_lines(session, orders=3)
    return [{"product": name_of(session, line.product_id), "pieces": line.quantity} for line in lines]


def list_picking_fixed(session: Session) -> Rows:
    """The same with one look-up for all lines."""
    lines = _latest_lines(session, orders=3)
    names = names_of(session, [line.product_id for line in lines])
    return [{"product": names[line.product_id], "pieces": line.quantity} for line in lines]


def _latest_lines(session: Session, orders: int) -> Sequence[OrderLine]:
    latest = select(func.max(Order.id)).scalar_subquery()
    statement = select(OrderLine).where(OrderLine.order_id > latest - orders).order_by(OrderLine.id)
    return session.scalars(statement).all()


def list_accounts(session: Session) -> Rows:
    """What customers spent, over all lines of all orders: one query per customer and one per order."""
    customers = session.scalars(select(Customer).order_by(Customer.id).limit(10)).all()
    rows = []
    for customer in customers:
        orders = customer.orders
        spent = sum(line.quantity * line.unit_price for order in orders for line in order.lines)
        rows.append({"customer": customer.name, "orders": len(orders), "cents": spent})
    return rows


def list_accounts_fixed(session: Session) -> Rows:
    """The same in three queries."""
    everything = selectinload(Customer.orders).selectinload(Order.lines)
    customers = session.scalars(select(Customer).options(everything).order_by(Customer.id).limit(10)).all()
    rows = []
    for customer in customers:
        spent = sum(line.quantity * line.unit_price for order in customer.orders for line in order.lines)
        rows.append({"customer": customer.name, "orders": len(customer.orders), "cents": spent})
    return rows


def list_reviews(session: Session) -> Rows:
    """Reviews, serialised by a model that walks to the author and the author's addresses: two queries per review."""
    reviews = session.scalars(select(Review).order_by(Review.id.desc()).limit(40)).all()
    return [review.model_dump() for review in REVIEWS_OUT.validate_python(reviews)]


def list_reviews_fixed(session: Session) -> Rows:
    """The same with what the model walks to loaded before."""
    author = joinedload(Review.customer).selectinload(Customer.addresses)
    reviews = session.scalars(select(Review).options(author).order_by(Review.id.desc()).limit(40)).all()
    return [review.model_dump() for review in REVIEWS_OUT.validate_python(reviews)]


def print_labels(session: Session) -> Rows:
    """Mark orders as labelled, commit, and then read them: the commit expired them, one query per order."""
    orders = session.scalars(select(Order).where(Order.status == "open").order_by(Order.id).limit(30)).all()
    for order in orders:
        order.labels_printed += 1
    session.commit()
    return [{"order": order.id, "placed_on": order.placed_on.isoformat()} for order in orders]


def print_labels_fixed(session: Session) -> Rows:
    """The same, read before the commit."""
    orders = session.scalars(select(Order).where(Order.status == "open").order_by(Order.id).limit(30)).all()
    labels = [{"order": order.id, "placed_on": order.placed_on.isoformat()} for order in orders]
    for order in orders:
        order.labels_printed += 1
    session.commit()
    return labels


def show_report(session: Session) -> Rows:
    """Pieces sold of each product, counted by SKU, on which there is no index: every line is read once per product."""
    sold = select(func.sum(OrderLine.quantity)).where(OrderLine.sku == Product.sku).scalar_subquery()
    statement = select(Product.sku, sold).order_by(Product.sku)
    rows = session.execute(statement).all()
    return [{"sku": sku, "pieces": int(pieces)} for sku, pieces in rows]


def show_report_fixed(session: Session) -> Rows:
    """The same by the foreign key, which has an index."""
    statement = select(Product.sku, func.sum(OrderLine.quantity)).join(OrderLine, OrderLine.product_id == Product.id)
    rows = session.execute(statement.group_by(Product.sku).order_by(Product.sku)).all()
    return [{"sku": sku, "pieces": int(pieces)} for sku, pieces in rows]


def search(session: Session, term: str = "kettle") -> Rows:
    """Products by a word and how often each was ordered, found by text: a leading wildcard can use no index."""
    ordered = OrderLine.label.contains(Product.sku)
    statement = select(Product.sku, func.count()).join(OrderLine, ordered).where(Product.name.contains(term))
    rows = session.execute(statement.group_by(Product.sku).order_by(Product.sku)).all()
    return [{"sku": sku, "orders": orders} for sku, orders in rows]


def search_fixed(session: Session, term: str = "kettle") -> Rows:
    """The same by the foreign key, which has an index."""
    ordered = OrderLine.product_id == Product.id
    statement = select(Product.sku, func.count()).join(OrderLine, ordered).where(Product.name.contains(term))
    rows = session.execute(statement.group_by(Product.sku).order_by(Product.sku)).all()
    return [{"sku": sku, "orders": orders} for sku, orders in rows]


def show_archive(session: Session) -> Rows:
    """The last page of order lines with categories, addresses and ratings: all rows before it are read and skipped."""
    rows = session.execute(_archive().offset(79_740).limit(20)).all()
    return [dict(zip(_ARCHIVED, row, strict=True)) for row in rows]


def show_archive_fixed(session: Session, last_line: int = 19_980) -> Rows:
    """The same after the last line of the page before, which the key finds at once."""
    rows = session.execute(_archive().where(OrderLine.id > last_line).limit(20)).all()
    return [dict(zip(_ARCHIVED, row, strict=True)) for row in rows]


_ARCHIVED = ("line", "category", "street", "rating")


def _archive() -> Any:
    # By the keys that two tables share, past the tables that own them: PostgreSQL plans eight tables for 15 ms.
    statement = select(OrderLine.id, Category.name, Address.street, Review.rating).join(OrderLine.order)
    statement = statement.join(product_categories, product_categories.c.product_id == OrderLine.product_id)
    statement = statement.join(Category, Category.id == product_categories.c.category_id)
    statement = statement.join(Address, Address.customer_id == Order.customer_id)
    statement = statement.join(Review, Review.customer_id == Order.customer_id)
    return statement.order_by(OrderLine.id, Category.id, Address.id, Review.id)
