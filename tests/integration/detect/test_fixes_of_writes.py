"""What row_by_row_write suggests takes the loop's place: the tables are the same then, and nothing is found."""

from __future__ import annotations

import pytest
import sqlalchemy
from sqlalchemy import delete, insert, select, update

from integration.detect import shop
from integration.detect.shop import Customer, Item

PASTED = {
    **vars(sqlalchemy),
    **vars(shop),
    **{table.name: table for table in shop.Base.metadata.sorted_tables},
}
"""The names that a suggestion may use: SQLAlchemy's, and the application's classes and tables."""

NEW = [{"id": number, "name": f"new {number}"} for number in range(100, 108)]
CHANGED = [{"id": number, "name": f"changed {number}"} for number in range(1, shop.CUSTOMERS + 1)]
GONE = range(1, 9)


def insert_by_flushes(session):
    """Objects, each flushed by itself."""
    for row in NEW:
        session.add(Customer(**row))
        session.flush()


def insert_by_class(session):
    """A statement of the ORM for each row."""
    for row in NEW:
        session.execute(insert(Customer).values(row))


def insert_by_table(session):
    """A statement of the table for each row."""
    for row in NEW:
        session.execute(insert(Customer.__table__).values(row))


def update_by_flushes(session):
    """Attributes, each flushed by itself."""
    for customer in session.scalars(select(Customer)).all():
        customer.name = CHANGED[customer.id - 1]["name"]
        session.flush()


def update_by_class(session):
    """A statement of the ORM for each row."""
    for row in CHANGED:
        session.execute(update(Customer).where(Customer.id == row["id"]).values(name=row["name"]))


def update_by_table(session):
    """A statement of the table for each row."""
    customers = Customer.__table__
    for row in CHANGED:
        session.execute(update(customers).where(customers.c.id == row["id"]).values(name=row["name"]))


def delete_by_flushes(session):
    """Objects, each flushed by itself."""
    for item in session.scalars(select(Item).where(Item.id.in_(GONE))).all():
        session.delete(item)
        session.flush()


def delete_by_class(session):
    """A statement of the ORM for each key."""
    for number in GONE:
        session.execute(delete(Item).where(Item.id == number))


def delete_by_table(session):
    """A statement of the table for each key."""
    for number in GONE:
        session.execute(delete(Item.__table__).where(Item.__table__.c.id == number))


KEYED = [{"key": row["id"], "name": row["name"]} for row in CHANGED]
LOOPS = {
    insert_by_flushes: ("insert(Customer)", {"rows": NEW}),
    insert_by_class: ("insert(Customer)", {"rows": NEW}),
    insert_by_table: ("insert(customers)", {"rows": NEW}),
    update_by_flushes: ("bulk_update_mappings(Customer", {"rows": CHANGED}),
    update_by_class: ("bulk_update_mappings(Customer", {"rows": CHANGED}),
    update_by_table: ("update(customers)", {"rows": KEYED}),
    delete_by_flushes: ("delete(Item)", {"keys": GONE}),
    delete_by_class: ("delete(Item)", {"keys": GONE}),
    delete_by_table: ("delete(items)", {"keys": GONE}),
}
"""What the suggestion names, and the variables that it asks for."""


@pytest.mark.parametrize("looped", LOOPS, ids=lambda looped: looped.__name__)
def test_the_suggestion_writes_the_same_in_one_statement(watch, looped):
    """In the names of the classes where the ORM is used, else in those of the tables."""
    named, variables = LOOPS[looped]
    contents = []

    def content(session):
        session.expire_all()
        contents.append([session.execute(select(model.__table__)).all() for model in (Customer, Item)])

    def work(session):
        looped(session)
        content(session)

    def fixed(session):
        exec(found.suggestion, {**PASTED, **variables, "session": session})
        content(session)

    (found,) = watch(work)
    assert (found.rule, named in found.suggestion) == ("row_by_row_write", True), found.suggestion
    assert watch(fixed) == []
    assert contents[0] == contents[1]
