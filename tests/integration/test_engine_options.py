"""Whatever SQLAlchemy reads from its own constructors and results is the same while it is instrumented."""

import asyncio
import gc

import pytest
import sqlalchemy
from sqlalchemy.engine import cursor
from sqlalchemy.ext.asyncio import create_async_engine

OPTIONS = {
    "echo": False,
    "echo_pool": False,
    "hide_parameters": True,
    "logging_name": "shop",
    "pool_logging_name": "shop pool",
    "execution_options": {"shop": "books"},
    "query_cache_size": 50,
    "pool_pre_ping": True,
    "pool_recycle": 60,
    "pool_reset_on_return": "commit",
}


@pytest.fixture(autouse=True)
def _no_engine_stays():
    """Other tests ask for all pools of the process."""
    yield
    gc.collect()


@pytest.mark.parametrize("name", OPTIONS)
def test_an_engine_takes_every_option_as_without_dbsight(name, make_telemetry):
    """SQLAlchemy finds the options of engine and pool by the parameters of their constructors."""
    make_telemetry()
    engine = sqlalchemy.create_engine("sqlite://", **{name: OPTIONS[name]})
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT 1")) == 1
    engine.dispose()


def test_an_asynchronous_engine_takes_every_option(make_telemetry):
    """The same for ``create_async_engine``."""
    make_telemetry()

    async def ask():
        engine = create_async_engine("sqlite+aiosqlite://", **OPTIONS)
        async with engine.connect() as connection:
            found = await connection.scalar(sqlalchemy.text("SELECT 1"))
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == 1


def test_engines_and_pools_are_made_from_configuration_and_url(make_telemetry):
    """``engine_from_config``, ``create_pool_from_url`` and ``create_mock_engine`` find the same options."""
    make_telemetry()
    options = {"sqlalchemy.url": "sqlite://", "sqlalchemy.echo": "false", "sqlalchemy.hide_parameters": "true"}
    engine = sqlalchemy.engine_from_config(options)
    assert engine.hide_parameters in (True, "true")
    if hasattr(sqlalchemy, "create_pool_from_url"):  # SQLAlchemy 2
        pool = sqlalchemy.create_pool_from_url("sqlite://", poolclass=sqlalchemy.QueuePool, pool_size=3)
        assert pool.size() == 3
    said = []
    mock = sqlalchemy.create_mock_engine("sqlite://", lambda statement, *_: said.append(str(statement)))
    mock.execute(sqlalchemy.schema.DDL("CREATE TABLE books (id INTEGER)"))
    assert said == ["CREATE TABLE books (id INTEGER)"]


def test_the_fetch_strategy_of_a_result_is_an_instance_of_its_class(make_telemetry):
    """Of the same name too, with its own attributes, also after the result was told to buffer."""
    make_telemetry()
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        result = connection.execute(sqlalchemy.text("SELECT 1 UNION SELECT 2"))
        assert isinstance(result.cursor_strategy, cursor.CursorFetchStrategy)
        assert type(result.cursor_strategy) is not cursor.CursorFetchStrategy  # it is followed
        assert type(result.cursor_strategy).__qualname__ == "CursorFetchStrategy"
        result = result.yield_per(5)
        assert isinstance(result.cursor_strategy, cursor.BufferedRowCursorFetchStrategy)
        assert type(result.cursor_strategy) is not cursor.BufferedRowCursorFetchStrategy
        assert result.cursor_strategy._max_row_buffer == 5
        assert result.all() == [(1,), (2,)]
    engine.dispose()
