"""What the rows of tests are made with: looks each customer up, and writes each row by itself."""

from sqlalchemy import select
from sqlalchemy.orm import Session

import shop


def order(session, number):
    """An order, and its customer if there is none of this number."""
    customer = session.scalars(select(shop.Customer).where(shop.Customer.name == f"customer {number}")).first()
    if customer is None:
        customer = shop.Customer(id=number, name=f"customer {number}")
        session.add(customer)
        session.flush()
    made = shop.Order(id=100 + number, customer_id=customer.id)
    session.add(made)
    session.flush()
    return made


def ten(session: Session) -> list:
    """Orders of ten customers."""
    return [order(session, number) for number in range(1, 11)]
