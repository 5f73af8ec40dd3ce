"""An index in four wordings: each is executed, and makes the same index."""

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from dbsight.plans import wording
from dbsight.plans.candidates import Candidate

CANDIDATES = [
    Candidate("orders", ("customer_id",)),
    Candidate("orders", ("customer_id", "created DESC")),
    Candidate("orders", ("LOWER(note)",)),
    Candidate("orders", ("customer_id",), where="note IS NULL"),
]
PARTIAL = (
    "models.Index(fields=['customer_id'], name='ix_orders_customer_id_partial', condition=models.Q(note__isnull=True))"
)


@pytest.fixture
def engine():
    """A table in memory."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (customer_id INTEGER, created INTEGER, note TEXT)")
    yield engine
    engine.dispose()


def created(connection):
    """The index as SQLite keeps it, without quotes and in one case."""
    (text,) = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'index'").fetchall()
    return text[0].replace('"', "").upper()


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda each: "-".join((*each.columns, each.where)))
def test_all_wordings_make_the_same_index(engine, candidate):
    """SQL, SQLAlchemy and Alembic."""
    expected = wording.ddl(candidate, "sqlite").upper()
    names = {"Index": sa.Index, "text": sa.text, "sa": sa}
    with engine.connect() as connection:
        connection.exec_driver_sql(wording.ddl(candidate, "sqlite"))
        assert created(connection) == expected
        connection.rollback()
        connection.exec_driver_sql(f"DROP INDEX {wording.name_of(candidate)}")
        table = sa.Table("orders", sa.MetaData(), autoload_with=connection)
        index = eval(wording.sqlalchemy(candidate, "sqlite"), names)
        table.append_constraint(index)
        index.create(connection)
        assert created(connection) == expected
        connection.exec_driver_sql(f"DROP INDEX {wording.name_of(candidate)}")
        operations = Operations(MigrationContext.configure(connection))
        exec(wording.alembic(candidate, "sqlite"), {**names, "op": operations})
        assert created(connection) == expected


@pytest.mark.parametrize(
    ("candidate", "text"),
    [
        (CANDIDATES[0], "models.Index(fields=['customer_id'], name='ix_orders_customer_id')"),
        (CANDIDATES[1], "models.Index(fields=['customer_id', '-created'], name='ix_orders_customer_id_created')"),
        (CANDIDATES[2], "models.Index(Lower('note'), name='ix_orders_lower_note')"),
        (
            CANDIDATES[3],
            PARTIAL,
        ),
        (Candidate("orders", ("(CAST(note AS INTEGER))",)), ""),
    ],
)
def test_django_takes_its_wording(candidate, text):
    """Names of at most 30 characters, which Django checks; nothing for what it has no function for."""
    from django.db import models
    from django.db.models.functions import Lower, Upper

    assert wording.django(candidate) == text
    if text:
        index = eval(text, {"models": models, "Lower": Lower, "Upper": Upper, "F": models.F})
        assert len(index.name) <= 30


def test_postgresql_creates_it_beside_running_writes():
    """CONCURRENTLY, which Alembic runs in an autocommit block."""
    assert wording.ddl(CANDIDATES[0], "postgresql") == (
        "CREATE INDEX CONCURRENTLY ix_orders_customer_id ON orders (customer_id)"
    )
    assert wording.alembic(CANDIDATES[0], "postgresql") == (
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('ix_orders_customer_id', 'orders', ['customer_id'], postgresql_concurrently=True)"
    )


def test_names_that_need_quotes_have_them():
    """And a name of an index stays short and plain."""
    candidate = Candidate('odd "table"', ("Customer Id",))
    assert wording.name_of(candidate) == "ix_odd_table_customer_id"
    long = Candidate("t" * 50, ("c" * 50,))
    assert len(wording.name_of(long)) == 60
    assert wording.name_of(long) != wording.name_of(Candidate("t" * 50, ("c" * 49 + "d",)))
