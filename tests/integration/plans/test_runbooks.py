"""Every SQL statement of the runbooks runs on the server that it is for."""

import re
from pathlib import Path

import sqlalchemy as sa

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
BLOCK = re.compile(r"^```sql\n-- ([^\n]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def statements(system):
    """The statements for one system, by the comment in their first line."""
    found = []
    for page in sorted(RUNBOOKS.glob("*.md")):
        blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
        found += [text for servers, text in blocks if system in servers]
    return found


def test_statements_for_postgresql_run(postgresql):
    """All but those of extensions, in one connection."""
    engine = sa.create_engine(postgresql.url("postgresql+psycopg"), isolation_level="AUTOCOMMIT", future=True)
    texts = [each for each in statements("PostgreSQL") if "pg_stat_statements" not in each]
    assert len(texts) >= 9
    with engine.connect() as connection:
        for text in texts:
            assert connection.exec_driver_sql(text.replace("%", "%%")).keys(), text
    engine.dispose()


def test_statements_for_pg_stat_statements_run(contrib_postgresql):
    """Where the extension is loaded."""
    engine = sa.create_engine(contrib_postgresql.url("postgresql+psycopg"), isolation_level="AUTOCOMMIT", future=True)
    (text,) = statements("pg_stat_statements")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        assert list(connection.exec_driver_sql(text).keys()) == ["calls", "total_ms", "mean_ms", "rows", "query"]
    engine.dispose()


def test_statements_for_mariadb_run(mariadb):
    """All, in one connection."""
    engine = sa.create_engine(mariadb.url("mysql+pymysql"), isolation_level="AUTOCOMMIT", future=True)
    texts = statements("MariaDB")
    assert len(texts) >= 8
    with engine.connect() as connection:
        for text in texts:
            assert connection.exec_driver_sql(text).keys(), text
    engine.dispose()
