"""Advice on schemas that others wrote: Django's applications, made by its migrations, and tables of SQLAlchemy's suite."""

# ruff: noqa: E501, ISC004 - a table of queries

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

import dbsight
import servers
from integration.plans.advising import counts, helpful_ones
from integration.plans.index_cases import Case

MAKER = Path(__file__).with_name("django_tables.py")


def made_by_django(*arguments):
    """Have Django make and fill its tables; its queries as cases."""
    pytest.importorskip("django", reason="Django is not installed")
    done = subprocess.run(
        [sys.executable, MAKER, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return [
        Case(name, sql, {table: tuple(begins) for table, begins in lacks.items()})
        for name, sql, lacks in json.loads(done.stdout)
    ]


def judge(engine, cases, proof):
    """Every index that is missing is advised, every one that is advised helps, and no other is."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    advised, helpful, lacking, found, wrong = counts(engine, proof, cases=cases)
    assert (helpful, found) == (advised, lacking), wrong


def test_the_tables_of_django_on_sqlite(tmp_path):
    """Its own migrations, indexes and SQL."""
    path = tmp_path / "django.db"
    cases = made_by_django("sqlite3", path)
    engine = sa.create_engine(f"sqlite:///{path}", future=True)
    # LIKE … ESCAPE, which Django sends for iexact there, is served by no plain index.
    judge(engine, [each for each in cases if each.name != "user by e-mail in any case"], "safe")
    engine.dispose()


def test_the_tables_of_django_on_postgresql(postgresql):
    """With its indexes for patterns beside those of unique texts, and upper() for what ignores case."""
    if postgresql.host.startswith("/") or postgresql.password:
        pytest.skip("the tests' own server only")
    cases = made_by_django("postgresql", postgresql.name, postgresql.host, postgresql.port, postgresql.user, "")
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"), future=True)
    judge(engine, cases, "transaction")
    engine.dispose()


QUERIES = [
    ("SELECT id FROM some_table WHERE parent_id = 7", "parent_id"),
    ("SELECT a.data FROM some_table a JOIN some_table b ON b.parent_id = a.id WHERE a.id = 7", "parent_id"),
    ("SELECT id FROM some_table WHERE data = 'd77'", "data"),
    ("SELECT id FROM some_table WHERE id = 7", None),
    ("WITH RECURSIVE up(id, parent_id) AS (SELECT id, parent_id FROM some_table WHERE id = 7 UNION ALL SELECT t.id,"
     " t.parent_id FROM some_table t JOIN up ON t.id = up.parent_id) SELECT count(*) FROM up", None),
    ("WITH RECURSIVE down(id) AS (SELECT id FROM some_table WHERE id = 7 UNION ALL SELECT t.id FROM some_table t"
     " JOIN down ON t.parent_id = down.id) SELECT count(*) FROM down", "parent_id"),
]  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def of_sqlalchemy(request, tmp_path_factory):
    """The tables of SQLAlchemy's suite for common table expressions, with many rows."""
    from sqlalchemy.testing.suite.test_cte import CTETest

    def made(url):
        engine = sa.create_engine(url, future=True)
        metadata = sa.MetaData()
        CTETest.define_tables(metadata)
        metadata.create_all(engine)
        table = metadata.tables["some_table"]
        rows = [{"id": i, "data": f"d{i}", "parent_id": i // 9 if i > 8 else None} for i in range(1, 9001)]
        with engine.begin() as connection:
            connection.execute(table.insert(), rows)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        return engine

    if request.param == "sqlite":
        engine = made(f"sqlite:///{tmp_path_factory.mktemp('suite') / 'suite.db'}")
        yield engine, "safe"
        engine.dispose()
        return
    with servers.fresh(request.getfixturevalue("postgresql_server")) as database:
        engine = made(database.url("postgresql+psycopg"))
        yield engine, "transaction"
        engine.dispose()


@pytest.mark.parametrize(("sql", "column"), QUERIES)
def test_the_tables_of_the_suite_of_sqlalchemy(of_sqlalchemy, sql, column):
    """A tree by parents: foreign keys have no index of their own."""
    engine, proof = of_sqlalchemy
    advice = dbsight.advise_index(sql, engine, proof=proof)
    assert [each.columns[0] for each in advice] == ([] if column is None else [column])
    assert helpful_ones(engine, sql, advice) == advice
