"""What ``dbsight doctor`` reads of the pools of drivers: their limits of time, from the objects themselves."""

import asyncio
import contextlib

import asyncpg
import psycopg_pool
import pytest

from dbsight.cli import pool_facts


def facts(library, pool):
    """Of a pool as the registry has it."""

    class Known:
        def __init__(self):
            self.library, self.pool = library, pool

    return pool_facts.facts_of(Known())


@pytest.mark.parametrize(
    ("arguments", "limits"),
    [
        ({"kwargs": {"options": "-c statement_timeout=5000"}}, ["statement_timeout"]),
        ({"conninfo": "options='-c idle_in_transaction_session_timeout=5s'"}, ["idle_in_transaction_session_timeout"]),
        ({"conninfo": "dbname=shop"}, None),
    ],
)
def test_the_limits_of_a_pool_of_psycopg_are_known(arguments, limits):
    """From its options and its connection string; without, the server may have some, which is unknown."""
    with contextlib.closing(psycopg_pool.ConnectionPool(min_size=0, max_size=1, open=False, **arguments)) as pool:
        known = facts("psycopg_pool", pool)
    assert known.get("limits") == limits
    assert known["timeout"] == 30.0


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"command_timeout": 5}, ["command_timeout"]),
        ({"server_settings": {"statement_timeout": "5s"}}, ["statement_timeout"]),
        ({}, None),
    ],
)
def test_the_limits_of_a_pool_of_asyncpg_are_known(postgresql, options, limits):
    """From the arguments with which it connects."""

    async def look():
        async with asyncpg.create_pool(postgresql.url(), min_size=0, **options) as pool:
            return facts("asyncpg", pool)

    known = asyncio.run(look())
    assert known.get("limits") == limits
    assert known["max_queries"] == 50_000
