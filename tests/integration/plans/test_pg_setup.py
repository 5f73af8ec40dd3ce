"""The settings that ``dbsight sql pg-setup`` prints are ones that PostgreSQL takes."""

import sqlalchemy as sa
from click.testing import CliRunner

from dbsight.cli.main import main


def printed(*options):
    """What the command prints, statement by statement."""
    result = CliRunner().invoke(main, ["sql", "pg-setup", *options])
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if not line.startswith("--")]
    return [line.rstrip(";") for line in lines]


def test_it_prints_the_three_sources_of_the_server():
    """Slow statements in the log, their plans, and totals per statement."""
    statements = printed("--slow", "0.25")
    assert "ALTER SYSTEM SET log_min_duration_statement = '250ms'" in statements
    assert "ALTER SYSTEM SET auto_explain.log_min_duration = '250ms'" in statements
    assert "CREATE EXTENSION IF NOT EXISTS pg_stat_statements" in statements
    assert not any("pg_stat_statements" in each for each in printed("--no-statements"))


def test_postgresql_accepts_every_line(contrib_postgresql):
    """Those that need a restart, too. They are reset afterwards: the server is shared."""
    url = contrib_postgresql.url("postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", future=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        try:
            for statement in printed():
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            kept = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_file_settings WHERE name LIKE 'auto_explain%%' AND error IS NULL"
            ).scalar()
            assert kept == 4
        finally:
            connection.exec_driver_sql("ALTER SYSTEM RESET ALL")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()
