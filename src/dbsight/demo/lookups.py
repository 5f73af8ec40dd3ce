"""Small look-ups that any handler may use, in SQLAlchemy Core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from dbsight.demo.models import Base, Product

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

_products = Base.metadata.tables[Product.__tablename__]


def name_of(session: Session, product_id: int) -> str:
    """The name of one product. Harmless, until it is called in a loop."""
    statement = select(_products.c.name).where(_products.c.id == product_id)
    return str(session.execute(statement).scalar_one())


def names_of(session: Session, product_ids: Iterable[int]) -> dict[int, str]:
    """The names of many products, in one query."""
    statement = select(_products.c.id, _products.c.name).where(_products.c.id.in_(sorted(set(product_ids))))
    return {row.id: row.name for row in session.execute(statement)}
