"""The blocks of a guide to pools of Redis connections; README.md has the table."""

import pytest
import redis

import dbsight
from capabilities.guided import run

POOLS = """
from dbsight import SharedPoolRegistry

# Get pool metrics
stats = SharedPoolRegistry.get_pool_stats()

print(f"Active pools: {stats['total_pools']}")
for name, info in stats['pools'].items():
    print(f"Pool {name}:")
    print(f"  Idle time: {info['idle_time']:.1f}s")
    print(f"  Type: {info['type']}")
"""

MEMORY = """
import psutil

def get_process_memory():
    process = psutil.Process()
    return {
        'rss': process.memory_info().rss / 1024 / 1024,  # MB
        'vms': process.memory_info().vms / 1024 / 1024   # MB
    }
"""


def test_shared_pools_are_listed_with_their_idle_time_and_type(redis_server, capsys):
    """By role and target."""
    try:
        with redis.Redis(connection_pool=dbsight.redis_pool("master", redis_server.url())) as client:
            client.ping()
            run(POOLS)
    finally:
        dbsight.SharedPoolRegistry.close()
    printed = capsys.readouterr().out
    assert printed.startswith("Active pools: 1\nPool master ")
    assert ":\n  Idle time: 0.0s\n  Type: " in printed


def test_memory_is_what_the_operating_system_says():
    """In MB."""
    measured = run(MEMORY)["get_process_memory"]()
    ours = dbsight.get_process_memory()
    assert ours.keys() == measured.keys()
    assert ours["rss"] == pytest.approx(measured["rss"], rel=0.1)
    assert ours["vms"] == pytest.approx(measured["vms"], rel=0.1)
