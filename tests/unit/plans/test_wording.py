"""An index in four wordings: each is executed, and makes the same index."""

import re

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
    Candidate("orders", ("created",), where="note = 'it''s :open AND shut'"),
    Candidate("orders", ("created",), where="note IS NOT NULL AND customer_id = 0"),
    Candidate("orders", ("coalesce(note, ':a')",)),
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


@pytest.fixture(scope="module")
def django_connection():
    """A database of Django's in memory with the same table, and its model."""
    django = pytest.importorskip("django", reason="Django is not installed")
    from django.conf import settings

    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()
    from django.db import connections, models

    connection = connections.create_connection("default")
    connection.settings_dict["NAME"] = ":memory:"

    class Order(models.Model):
        """A row."""

        customer_id = models.IntegerField(primary_key=True)
        created = models.IntegerField()
        note = models.TextField(null=True)  # noqa: DJ001 - as the table is

        class Meta:
            """Where it is."""

            app_label = "wording"
            db_table = "orders"

        def __str__(self):
            return f"order {self.pk}"

    with connection.schema_editor() as editor:
        editor.create_model(Order)
    yield connection, Order
    connection.close()


def plain(text):
    """An index without what two ways to write the same may differ in."""
    text = re.sub(r'[\s"(),]+', " ", text).upper()
    return " ".join(text.split())


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
        (CANDIDATES[3], PARTIAL),
        (
            CANDIDATES[4],
            (
                "models.Index(fields=['created'], name='ix_orders_created_partial',"
                ' condition=models.Q(note="it\'s :open AND shut"))'
            ),
        ),
        (
            CANDIDATES[5],
            (
                "models.Index(fields=['created'], name='ix_orders_created_partial',"
                " condition=models.Q(note__isnull=False) & models.Q(customer_id=0))"
            ),
        ),
        (CANDIDATES[6], ""),
        (Candidate("orders", ("(CAST(note AS INTEGER))",)), ""),
        (Candidate("orders", ("created",), where="active IS NOT TRUE"), ""),
        (Candidate("orders", ("created",), where="NOT note IS NULL"), ""),
        (Candidate("orders", ("created",), where="created > 7"), ""),
    ],
)
def test_django_makes_the_same_index(engine, django_connection, candidate, text):
    """By its schema editor; names of at most 30 characters; nothing for what it has no function or condition for."""
    from django.db import models
    from django.db.models.functions import Lower, Upper

    assert wording.django(candidate) == text
    if not text:
        return
    index = eval(text, {"models": models, "Lower": Lower, "Upper": Upper, "F": models.F})
    assert len(index.name) <= 30
    connection, model = django_connection
    with connection.schema_editor() as editor:
        editor.add_index(model, index)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'index'")
        ((made,),) = cursor.fetchall()
    with connection.schema_editor() as editor:
        editor.remove_index(model, index)
    with engine.connect() as own:
        own.exec_driver_sql(wording.ddl(candidate, "sqlite"))
        assert plain(made) == plain(created(own))


@pytest.mark.parametrize(
    ("candidate", "text"),
    [
        (Candidate("t", ("body",), using="gin"), "GinIndex(fields=['body'], name='ix_t_body')"),
        (
            Candidate("t", ("body gin_trgm_ops",), using="gin"),
            "GinIndex(fields=['body'], name='ix_t_body_gin_trgm_ops', opclasses=['gin_trgm_ops'])",
        ),
        (
            Candidate("t", ("title text_pattern_ops",)),
            "models.Index(fields=['title'], name='ix_t_title_text_pattern_ops', opclasses=['text_pattern_ops'])",
        ),
        (
            Candidate("t", ("created",), where="active AND NOT gone"),
            (
                "models.Index(fields=['created'], name='ix_t_created_partial',"
                " condition=models.Q(active=True) & models.Q(gone=False))"
            ),
        ),
    ],
)
def test_django_has_words_for_the_kinds_of_postgresql(candidate, text):
    """GIN, classes of operators, and flags."""
    assert wording.django(candidate) == text


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
