"""Indexes that could be dropped: each that is named does nothing that another does not, or was never used."""

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import dbsight

TABLE = """
CREATE TABLE parcels (id INTEGER PRIMARY KEY, tenant_id INTEGER, sent INTEGER, code VARCHAR(20), weight INTEGER,
    UNIQUE (code))
"""
INDEXES = (
    "CREATE INDEX p_tenant ON parcels (tenant_id)",
    "CREATE INDEX p_tenant_sent ON parcels (tenant_id, sent)",
    "CREATE INDEX p_tenant_sent_again ON parcels (tenant_id, sent)",
    "CREATE INDEX p_sent_down ON parcels (sent DESC)",
    "CREATE UNIQUE INDEX p_unique ON parcels (tenant_id, code)",
    "CREATE INDEX p_code ON parcels (code)",
    "CREATE INDEX p_weight ON parcels (weight)",
)
PARTIAL = (
    "CREATE INDEX p_few ON parcels (tenant_id) WHERE sent IS NULL",
    "CREATE INDEX p_few_again ON parcels (tenant_id) WHERE sent IS NULL",
    "CREATE INDEX p_lower ON parcels (lower(code))",
    "CREATE INDEX p_lower_more ON parcels (lower(code), sent)",
)


@pytest.fixture
def parcels(shop):
    """A table with more indexes than it needs."""
    with shop.begin() as connection:
        connection.exec_driver_sql(TABLE)
        for each in (*INDEXES, *(PARTIAL if shop.name != "mysql" else ())):
            connection.exec_driver_sql(each)
    yield shop
    with shop.begin() as connection:
        connection.exec_driver_sql("DROP TABLE parcels")


def superfluous(report):
    """Reason and what is there instead, by name."""
    return {each.name: (each.reason, each.instead) for each in report.indexes if each.table == "parcels"}


def test_duplicates_and_prefixes_are_named_once(parcels):
    """Not a unique index, nor another direction or condition; after they are dropped, nothing is left to name."""
    found = superfluous(dbsight.index_report(parcels))
    (instead_of_code,) = [instead for name, (_, instead) in found.items() if name == "p_code"]
    assert instead_of_code in ("code", "sqlite_autoindex_parcels_1", "parcels_code_key")
    expected = {
        "p_tenant": ("prefix", found["p_tenant"][1]),
        "p_tenant_sent": ("duplicate", "p_tenant_sent_again"),
        "p_code": ("duplicate", instead_of_code),
    }
    if parcels.name != "mysql":
        expected["p_few"] = ("duplicate", "p_few_again")
        expected["p_lower"] = ("prefix", "p_lower_more")
    assert found == expected
    assert found["p_tenant"][1] in ("p_tenant_sent", "p_tenant_sent_again", "p_unique")
    with parcels.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for each in dbsight.index_report(connection).indexes:
            connection.exec_driver_sql(each.ddl)
    assert str(dbsight.index_report(parcels)) == "No index is superfluous."


def test_the_report_changes_nothing_and_reads_as_text(parcels):
    """Neither indexes nor the caller's transaction."""
    with parcels.connect() as connection:
        connection.exec_driver_sql("INSERT INTO parcels (id, code) VALUES (7, 'mine')")
        text = str(dbsight.index_report(connection))
        assert "p_tenant_sent on parcels (tenant_id, sent): does the same as p_tenant_sent_again" in text
        assert connection.exec_driver_sql("SELECT code FROM parcels WHERE id = 7").scalar() == "mine"
        connection.rollback()


def test_postgresql_tells_which_indexes_nobody_uses(postgresql_shop):
    """With size and number of scans; one that was used, a unique one and those of a small table are left alone."""
    with postgresql_shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(TABLE)
        connection.exec_driver_sql("CREATE TABLE small (id INTEGER)")
        connection.exec_driver_sql("CREATE INDEX small_id ON small (id)")
        for each in INDEXES:
            connection.exec_driver_sql(each)
        connection.exec_driver_sql(
            "INSERT INTO parcels SELECT i, mod(i, 50), i, concat('c', i), i FROM generate_series(1, 5000) AS i"
        )
        connection.exec_driver_sql("ANALYZE")
        connection.exec_driver_sql("SELECT * FROM parcels WHERE weight = 7").fetchall()
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        report = dbsight.index_report(connection)
        unused = {each.name: each for each in report.indexes if each.reason == "unused"}
        assert report.usage_known
        assert set(unused) == {"p_tenant_sent_again", "p_sent_down"}
        assert unused["p_sent_down"].scans == 0
        assert unused["p_sent_down"].size > 8192
        assert unused["p_sent_down"].ddl == "DROP INDEX CONCURRENTLY p_sent_down"
        connection.exec_driver_sql("DROP TABLE parcels, small")


def test_the_indexes_of_partitions_belong_to_that_of_the_table(postgresql_shop):
    """PostgreSQL drops them with it, and not alone."""
    with postgresql_shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE TABLE parted (a int, b int) PARTITION BY RANGE (a)")
        connection.exec_driver_sql("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (9)")
        connection.exec_driver_sql("CREATE INDEX parted_a ON parted (a)")
        connection.exec_driver_sql("CREATE INDEX parted_a_b ON parted (a, b)")
        try:
            found = [each for each in dbsight.index_report(connection).indexes if each.table.startswith("parted")]
            assert [(each.name, each.ddl) for each in found] == [("parted_a", "DROP INDEX parted_a")]
            connection.exec_driver_sql(found[0].ddl)
        finally:
            connection.exec_driver_sql("DROP TABLE parted")


def test_an_index_that_was_never_finished_is_named(postgresql_shop):
    """``CREATE UNIQUE INDEX CONCURRENTLY`` over values that are not unique leaves one that only costs writes."""
    with postgresql_shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(sa.exc.IntegrityError):
            connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY orders_broken ON orders (status)")
        try:
            found = {each.name: each.reason for each in dbsight.index_report(connection).indexes}
            assert found["orders_broken"] == "invalid"
        finally:
            connection.exec_driver_sql("DROP INDEX orders_broken")


def test_mariadb_tells_which_indexes_nobody_uses(mariadb_shop):
    """Where it counts that (``userstat``); without, none is called unused. A foreign key keeps its index."""
    with mariadb_shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = connection.exec_driver_sql("SELECT @@GLOBAL.userstat").scalar()
        connection.exec_driver_sql(
            "CREATE TABLE notes (id INT PRIMARY KEY, order_id INT, kind INT, rank_ INT,"
            " INDEX n_kind (kind), INDEX n_rank (rank_), INDEX n_order (order_id),"
            " FOREIGN KEY (order_id) REFERENCES orders (id))"
        )
        try:
            connection.exec_driver_sql("SET GLOBAL userstat = 0")
            report = dbsight.index_report(connection)
            assert not [each for each in report.indexes if each.reason == "unused"]
            connection.exec_driver_sql("SET GLOBAL userstat = 1")
            connection.exec_driver_sql("INSERT INTO notes SELECT id, id, id, id FROM orders")
            connection.exec_driver_sql("ANALYZE TABLE notes")
            connection.exec_driver_sql("SELECT * FROM notes FORCE INDEX (n_kind) WHERE kind = 7").fetchall()
            with mariadb_shop.connect() as other:  # counts are added when a connection's statement has ended
                report = dbsight.index_report(other)
            assert [(each.name, each.ddl) for each in report.indexes if each.table == "notes"] == [
                ("n_rank", "DROP INDEX n_rank ON notes")
            ]
        finally:
            connection.exec_driver_sql(f"SET GLOBAL userstat = {before}")
            connection.exec_driver_sql("DROP TABLE notes")


def test_an_asynchronous_engine_is_asked_too(tmp_path):
    """The engine, and a connection of it."""

    async def both():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'async.db'}")
        async with engine.begin() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (a INTEGER, b INTEGER)")
            await connection.exec_driver_sql("CREATE INDEX t_a ON t (a)")
            await connection.exec_driver_sql("CREATE INDEX t_a_b ON t (a, b)")
        async with engine.connect() as connection:
            found = [await dbsight.index_report(engine), await dbsight.index_report(connection)]
        await engine.dispose()
        return found

    for report in asyncio.run(both()):
        assert [(each.name, each.reason, each.instead) for each in report.indexes] == [("t_a", "prefix", "t_a_b")]


def test_other_databases_are_refused():
    """With the names of those that are not."""
    with pytest.raises(dbsight.ExplainError, match="oracle are not supported"):
        dbsight.index_report(sa.create_mock_engine("oracle+oracledb://nowhere", print))
