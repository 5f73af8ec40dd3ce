"""What applications write through SQLAlchemy row by row, and how they should."""

from __future__ import annotations

import alembic.migration
import alembic.operations
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from integration.detect.pairs.catalogue import pair
from integration.detect.shop import Customer, Item, Job, Order, Payment, Stock, Tag

WRITES = "row_by_row_write"


def jobs(count):
    """Rows of jobs."""
    return [{"state": "waiting", "customer_id": number} for number in range(count)]


@pair("optuna", WRITES)
def trials_added_one_by_one(session, right):
    """``study.add_trials`` commits each trial by itself."""
    if right:
        session.execute(insert(Job), jobs(25))
    else:
        for row in jobs(25):
            session.add(Job(**row))
            session.commit()
    session.commit()


@pair("optuna", WRITES)
def states_changed_one_by_one(session, right):
    """``set_trial_state_values`` reads a trial, changes it and flushes."""
    found = session.scalars(select(Job)).all()
    for job in found:
        job.state = "done"
        if not right:
            session.flush()
    session.commit()


@pair("optuna", WRITES, "n_plus_one")
def parameters_looked_for_before_each_insert(session, right):
    """``set_trial_param`` asks whether the parameter is there, then inserts it."""
    names = [f"parameter {number} {right}" for number in range(10)]
    if right:
        there = set(session.scalars(select(Tag.name).where(Tag.name.in_(names))))
        session.execute(insert(Tag), [{"name": name} for name in names if name not in there])
    else:
        for name in names:
            if session.scalar(select(Tag.id).where(Tag.name == name)) is None:
                session.add(Tag(name=name))
                session.flush()
    session.commit()


@pair("mlflow", WRITES)
def metrics_logged_one_by_one(session, right):
    """``log_metric`` per value, instead of ``log_batch``."""
    if right:
        session.execute(insert(Payment), [{"kind": "cash", "amount": number} for number in range(12)])
    else:
        for number in range(12):
            session.execute(insert(Payment).values(kind="cash", amount=number))
            session.commit()
    session.commit()


@pair("alembic", WRITES)
def an_update_in_a_migration(session, right):
    """A data migration reads all rows and updates each; one UPDATE would do."""
    context = alembic.migration.MigrationContext.configure(session.connection())
    with alembic.operations.Operations.context(context) as op:
        bind = op.get_bind()
        if right:
            op.execute("UPDATE orders SET note = 'order ' || id")
        else:
            for number, status in bind.execute(text("SELECT id, status FROM orders")).all():
                bind.execute(
                    text("UPDATE orders SET note = :note WHERE id = :id"), {"note": f"{status}!", "id": number}
                )
    session.commit()


@pair("alembic", WRITES)
def rows_inserted_by_a_migration(session, right):
    """``op.bulk_insert`` sends one executemany; ``op.execute(insert…)`` in a loop does not."""
    context = alembic.migration.MigrationContext.configure(session.connection())
    with alembic.operations.Operations.context(context) as op:
        if right:
            op.bulk_insert(Job.__table__, jobs(8))
        else:
            for row in jobs(8):
                op.execute(insert(Job.__table__).values(**row))
    session.commit()


@pair("sqladmin", WRITES)
def rows_deleted_one_by_one(session, right):
    """The action *delete selected* of an admin panel."""
    numbers = session.scalars(select(Item.id).limit(8)).all()
    if right:
        session.execute(delete(Item).where(Item.id.in_(numbers)))
    else:
        for number in numbers:
            session.execute(delete(Item).where(Item.id == number))
            session.commit()
    session.commit()


@pair("apscheduler", WRITES)
def jobs_added_one_by_one(session, right):
    """``add_job`` opens a transaction for each; a list of rows needs one statement."""
    if right:
        session.execute(insert(Job), jobs(10))
        session.commit()
        return
    for row in jobs(10):
        with session.bind.begin() as connection:
            connection.execute(insert(Job.__table__).values(**row))


@pair("langchain", WRITES)
def messages_added_one_by_one(session, right):
    """``add_message`` commits each; ``add_messages`` adds all and commits once."""
    for row in jobs(9):
        session.add(Job(**row))
        if not right:
            session.commit()
    session.commit()


@pair("openai-agents", WRITES)
def items_of_a_conversation(session, right):
    """One executemany per turn, or one INSERT per item."""
    if right:
        session.execute(insert(Job.__table__), jobs(6))
    else:
        for row in jobs(6):
            session.execute(insert(Job.__table__).values(**row))
    session.commit()


@pair("advanced-alchemy", WRITES, "n_plus_one")
def an_upsert_in_a_loop(session, right):
    """``upsert`` reads and writes each; ``upsert_many`` reads by one IN and writes by one executemany."""
    numbers = range(1, 7)
    if right:
        found = session.scalars(select(Customer).where(Customer.id.in_(numbers))).all()
        for customer in found:
            customer.name += "!"
        session.flush()
    else:
        for number in numbers:
            session.scalars(select(Customer).where(Customer.id == number)).one().name += "!"
            session.flush()
    session.commit()


@pair("celery", WRITES)
def a_savepoint_around_each_insert(session, right):
    """A result that may be there already: a savepoint around each is right, a commit after each is not needed."""
    for number in range(8):
        if right:
            try:
                with session.begin_nested():
                    session.execute(insert(Tag).values(name=f"tag {number % 6 + 2}"))
            except IntegrityError:
                pass
        else:
            session.execute(insert(Tag).values(name=f"result {number}"))
            session.commit()
    session.commit()


@pair("flask-sqlalchemy", "n_plus_one")
def a_refresh_of_each_row(session, right):
    """``session.refresh`` follows each own write, for what the database filled in; rows only read need none."""
    if right:
        for number in range(4):
            row = Stock(pieces=number)
            session.add(row)
            session.commit()
            session.refresh(row)
        return
    for row in session.scalars(select(Stock)).all():
        session.refresh(row)


@pair("mlflow", WRITES)
def three_thousand_objects(session, right):
    """In one flush they go in large batches; with a flush after each they do not."""
    for row in jobs(3000 if right else 60):
        session.add(Job(**row))
        if not right:
            session.flush()
    session.commit()


@pair("beets", WRITES)
def paths_rewritten(session, right):
    """``item.store()`` for each changed item, instead of one executemany."""
    notes = [{"id": number, "note": f"path {number}"} for number in range(1, 13)]
    if right:
        session.execute(update(Order), notes)
    else:
        for row in notes:
            session.execute(update(Order).where(Order.id == row["id"]).values(note=row["note"]))
    session.commit()
