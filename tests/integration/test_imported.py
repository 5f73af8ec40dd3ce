"""A library is watched from the moment at which the application imports it, and is never imported for that."""

import json
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

LIBRARIES = ("sqlalchemy", "redis", "valkey", "psycopg", "psycopg_pool", "asyncpg", "dogpile", "aiocache", "aiosqlite")

WATCHED = {
    "sqlalchemy": "sqlalchemy.engine.default:DefaultDialect.do_execute",
    "sqlalchemy.pool": "sqlalchemy.pool.base:Pool._do_get sqlalchemy.pool.base:_ConnectionRecord.checkout",
    "redis": "redis.client:Redis.execute_command redis.client:Pipeline.execute",
    "redis.cluster": "redis.cluster:RedisCluster.execute_command redis.cluster:ClusterPipeline.execute",
    "redis.asyncio": "redis.asyncio.client:Redis.execute_command",
    "redis.asyncio.cluster": "redis.asyncio.cluster:RedisCluster.execute_command",
    "redis.sentinel": "redis.sentinel:SentinelManagedConnection.connect",
    "redis.lock": "redis.lock:Lock.acquire",
    "redis.asyncio.lock": "redis.asyncio.lock:Lock.acquire",
    "redis.connection": "redis.connection:ConnectionPool.get_connection",
    "valkey": "valkey.client:Valkey.execute_command",
    "valkey.asyncio": "valkey.asyncio.client:Valkey.execute_command",
    "psycopg_pool": "psycopg_pool:ConnectionPool.getconn psycopg_pool:AsyncConnectionPool.getconn",
    "asyncpg": "asyncpg.pool:Pool._acquire",
    "dogpile.cache": "dogpile.cache.region:CacheRegion.get",
    "aiocache": "aiocache.base:BaseCache.get",
}
"""What is wrapped once a module of an application has imported this: module, class and method."""

PROGRAM = """
import importlib, json, sys, threading
from dbsight import (
    AsyncpgPoolInstrumentor, CacheInstrumentor, LockInstrumentor, PsycopgPoolInstrumentor, RedisInstrumentor,
    SQLAlchemyInstrumentor, ValkeyInstrumentor,
)
from dbsight.instrument import wrap
from dbsight.safety import errors

INSTRUMENTORS = (
    AsyncpgPoolInstrumentor, CacheInstrumentor, LockInstrumentor, PsycopgPoolInstrumentor, RedisInstrumentor,
    SQLAlchemyInstrumentor, ValkeyInstrumentor,
)
NAMES, LIBRARIES = json.loads(sys.argv[1])

def start():
    for each in INSTRUMENTORS:
        each().instrument()

def stop():
    for each in INSTRUMENTORS:
        each().uninstrument()

def loaded():
    return sorted(name for name in LIBRARIES if name in sys.modules)

def wrapped():
    owned = [each for each in wrap.replaced if isinstance(each.owner, type)]
    ours = [each for each in owned if each.owner.__module__.partition(".")[0] in LIBRARIES]
    return sorted(f"{each.owner.__module__}:{each.owner.__name__}.{each.name}" for each in ours
                  if vars(each.owner)[each.name] is each.replacement)

def bring():
    for name in NAMES:
        importlib.import_module(name)

told = {}
"""

STATES = {
    "before": "bring(); start()",
    "after": "start(); told['never'] = [wrapped(), loaded()]; bring()",
    "during": """
        importing = threading.Thread(target=bring)
        importing.start()
        start()
        importing.join()
    """,
    "again": "start(); stop(); start(); bring()",
    "stopped": "start(); stop(); bring()",
}


def run(state):
    """Run a program in which the libraries are imported at some time; gives what it found."""
    end = "\ntold['watched'], told['errors'] = wrapped(), errors()"
    if state != "stopped":
        end += "\nstop()"
    end += "\ntold['left'] = wrapped()\nprint(json.dumps(told))"
    program = PROGRAM + textwrap.dedent(STATES[state]) + end
    argument = json.dumps([list(WATCHED), LIBRARIES])
    ended = subprocess.run([sys.executable, "-c", program, argument], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def programs():
    """What became of each program; they run at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(STATES, pool.map(run, STATES), strict=True))


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize("state", ["before", "after", "during", "again"])
def test_a_library_is_watched_whenever_it_is_imported(programs, state, name):
    """Before instrument(), after it, while another thread imports it, and after it was called off in between."""
    watched = programs[state]["watched"]
    homes = [each for each in WATCHED[name].split() if not each.endswith("._do_get")]
    for home in homes:
        module, _, method = home.partition(":")
        assert any(each.partition(":")[2] == method and each.startswith(module) for each in watched), home
    assert len(watched) == len(set(watched))
    assert programs[state]["errors"] == {}


def test_the_same_is_wrapped_whenever_it_is_imported(programs):
    """Not one method less where a library is imported late."""
    wanted = programs["before"]["watched"]
    assert all(programs[state]["watched"] == wanted for state in ("after", "during", "again"))


def test_no_library_is_imported_to_be_watched(programs):
    """While the application imports none, nothing is loaded, and nothing wrapped."""
    assert programs["after"]["never"] == [[], []]


def test_nothing_is_wrapped_after_uninstrument(programs):
    """Neither what was, nor what is imported later."""
    assert programs["stopped"]["watched"] == []
    assert all(found["left"] == [] for found in programs.values())
