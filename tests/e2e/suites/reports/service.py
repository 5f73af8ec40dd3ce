"""What the tests call."""

from sqlalchemy import select

import shop


def by_number(session, numbers):
    """A query for each, without a relationship."""
    return [session.scalars(select(shop.Customer).where(shop.Customer.id == number)).one() for number in numbers]


def loaded_one_by_one(session):
    """Eager loading that is asked for each object by itself."""
    orders = session.scalars(select(shop.Order)).all()
    for order in orders:
        session.refresh(order, ["customer"])
    return [order.customer.name for order in orders]


def one(session):
    """One order with its customer: eager loading would send as many queries."""
    return session.get(shop.Order, 1).customer.name


def none(session):
    """A loop over what is not there."""
    return [order.customer.name for order in session.scalars(select(shop.Order).where(shop.Order.id > 10_000))]
