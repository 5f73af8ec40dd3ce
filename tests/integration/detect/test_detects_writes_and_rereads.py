"""Redundant queries and writes row by row on a real database, each silenced by the fixed code in the same test.

The line that a finding must name ends in a comment that says so.
"""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.orm import Session

import dbsight
from integration.detect import shop
from integration.detect.shop import Customer, Order, Stock, Tag

ROWS = [{"name": f"new {number}"} for number in range(20)]


def rules(findings):
    """Rule and number of each finding."""
    return [(found.rule, found.count) for found in findings]


def test_detects_a_loop_of_add_and_commit(watch):
    """Each row in a transaction of its own; all in one statement is the fix."""

    def looped(session):
        for row in ROWS:
            session.add(Tag(**row))
            session.commit()  # the line

    def fixed(session):
        session.execute(insert(Tag), [{"name": f"again {number}"} for number in range(20)])
        session.commit()

    (found,) = watch(looped)
    assert (found.rule, found.count) == ("row_by_row_write", 20)
    assert found.line.endswith("# the line")
    assert "20 flushes" in found.description
    assert found.suggestion.startswith("session.execute(insert(Tag), rows)")
    assert watch(fixed) == []


def test_detects_a_loop_of_add_and_flush(watch):
    """One transaction, and still a round trip for each row; one flush for all is the fix."""

    def looped(session):
        for row in ROWS:
            session.add(Customer(**row))
            session.flush()  # the line

    def fixed(session):
        session.add_all(Customer(**row) for row in ROWS)
        session.flush()

    (found,) = watch(looped)
    assert (found.rule, found.count) == ("row_by_row_write", 20)
    assert found.line.endswith("# the line")
    assert watch(fixed) == []


def test_detects_rows_that_a_read_sends_one_by_one(watch):
    """Autoflush: the line that reads is innocent, and the finding says so."""

    def looped(session):
        for row in ROWS[:8]:
            session.add(Customer(**row))
            session.scalars(select(Order.id).where(Order.note == row["name"])).all()

    def fixed(session):
        with session.no_autoflush:
            names = [row["name"] for row in ROWS[:8]]
            session.scalars(select(Order.id).where(Order.note.in_(names))).all()
            session.add_all(Customer(**row) for row in ROWS[:8])
        session.flush()

    found = {each.rule: each for each in watch(looped)}
    assert set(found) == {"row_by_row_write", "n_plus_one"}
    assert "no_autoflush" in found["row_by_row_write"].description
    assert watch(fixed) == []


@pytest.mark.parametrize("kind", ["insert", "update", "delete"])
def test_detects_a_loop_of_core_statements(watch, kind):
    """Insert, update and delete; the fix is the suggestion."""
    tags = Tag.__table__
    stock = Stock.__table__

    def looped(session):
        for number in range(1, 9):
            if kind == "insert":
                session.execute(insert(tags).values(name=f"core {number}"))
            elif kind == "update":
                session.execute(update(stock).where(stock.c.id == number).values(pieces=number * 2))
            else:
                session.execute(delete(stock).where(stock.c.id == number))

    def fixed(session):
        if kind == "insert":
            rows = [{"name": f"fixed {number}"} for number in range(8)]
            session.execute(insert(tags), rows)
        elif kind == "update":
            session.execute(update(Stock), [{"id": number, "pieces": number} for number in range(1, 9)])
        else:
            session.execute(delete(stock).where(stock.c.id.in_(range(1, 9))))

    (found,) = watch(looped)
    assert (found.rule, found.count) == ("row_by_row_write", 8)
    assert found.suggestion.startswith(f"session.execute({kind}(")
    assert watch(fixed) == []


def test_detects_the_same_question_in_a_loop(watch):
    """Asked for each order; asked once is the fix."""
    name_of_tag = select(Tag.name).where(Tag.id == 1)

    def looped(session):
        for order in session.scalars(select(Order)):
            str(session.scalars(name_of_tag).one() + order.note)  # the line

    def fixed(session):
        name = session.scalars(name_of_tag).one()
        for order in session.scalars(select(Order)):
            str(name + order.note)

    (found,) = watch(looped)
    assert (found.rule, found.severity, found.count) == ("redundant_query", "warning", shop.ORDERS)
    assert found.line.endswith("# the line")
    assert watch(fixed) == []


def test_detects_the_same_object_read_by_many_sessions(watch):
    """A session for each step forgets what the one before knew; one for all is the fix."""

    def looped(session):
        for _ in range(8):
            with Session(watch.engine) as own:
                str(own.get(Customer, 1).name)

    def fixed(session):
        customer = session.get(Customer, 1)
        for _ in range(8):
            str(session.get(Customer, customer.id).name)

    assert rules(watch(looped)) == [("redundant_query", 8)]
    assert watch(fixed) == []


def test_leaves_alone_what_was_written_in_between(watch):
    """A counter that is read, raised and read again."""

    def work(session, table):
        for number in range(4):
            session.execute(text("SELECT pieces FROM stock WHERE id = 1")).all()
            session.execute(text(f"UPDATE {table} SET id = id WHERE id = :number"), {"number": number})

    assert watch(work, "stock") == []
    assert rules(watch(work, "carts")) == [("redundant_query", 4)]


def test_leaves_alone_what_was_allowed(watch):
    """By a block of code, or in the text of the query."""

    def work(session):
        with dbsight.allow("row_by_row_write", "redundant_query", reason="a test"):
            for row in ROWS:
                session.add(Customer(**row))
                session.flush()
            for _ in range(8):
                session.scalars(select(Tag.name).where(Tag.id == 1)).one()

    def commented(session):
        for _ in range(8):
            session.execute(text("SELECT name FROM tags WHERE id = 1 -- dbsight: allow redundant_query")).all()

    assert [watch(each) for each in (work, commented)] == [[], []]
