"""The pools that the contract is held against, each on its server."""

import contextlib
import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from subjects import SUBJECTS, collect, named

import servers


@pytest.fixture(autouse=True)
def nothing_of_other_tests():
    """Hide the engines and pools that other tests left alive: existing pools are looked for among all objects.

    They stay hidden, like the collected tests, which each later test would have to search and to collect otherwise.
    """
    collect()
    gc.freeze()


@pytest.fixture(scope="module")
def redis_sentinel(redis_process):
    """A sentinel that watches the server of the session as ``shop``: a ``servers.Database``.

    No longer than the module: it is a client of that server, which other tests count.
    """
    program = next(servers.redis_programs(), None)
    if program is None:
        pytest.skip(servers.SOURCES["redis"].missing)
    with servers.embedded_sentinel(program, "shop", redis_process.database) as database:
        yield database


@pytest.fixture(params=SUBJECTS, ids=named)
def subject_and_server(request):
    """Name of a server, and a kind of pool."""
    return request.param


@pytest.fixture
def subject(subject_and_server):
    """A kind of pool."""
    return subject_and_server[1]


@pytest.fixture
def database(subject_and_server, request):
    """An empty database on its server."""
    return request.getfixturevalue(subject_and_server[0])


@pytest.fixture
def make_telemetry(make_telemetry, request):
    """As everywhere, with the pool libraries instrumented too, once the server has been prepared by its own client.

    The subject's alone, where there is one: each is looked for among all objects.
    """
    if "database" in request.fixturenames:
        request.getfixturevalue("database")
    from dbsight.instrument.pools.asyncpg import AsyncpgPoolInstrumentor
    from dbsight.instrument.pools.psycopg import PsycopgPoolInstrumentor
    from dbsight.instrument.redis import RedisInstrumentor

    instrumentors = {
        "psycopg_pool": PsycopgPoolInstrumentor,
        "asyncpg": AsyncpgPoolInstrumentor,
        "redis": RedisInstrumentor,
    }
    wanted = {request.getfixturevalue("subject").library} if "subject" in request.fixturenames else instrumentors.keys()
    libraries = [instrumentors[library]() for library in instrumentors.keys() & wanted]

    def make(**options):
        telemetry = make_telemetry(**options)
        for library in libraries:
            library.instrument(meter_provider=telemetry.meter_provider, skip_dep_check=True)
        original = telemetry.close

        def close():
            for library in libraries:
                if library.is_instrumented_by_opentelemetry:
                    library.uninstrument()
            original()

        telemetry.close = close
        return telemetry

    return make


@pytest.fixture
def state_of(subject):
    """Gives the state of the pool of a database, None when there is none."""
    from dbsight.instrument import pools

    def state(database):
        name = subject.name(database)
        return next((each for each in pools.snapshots() if each.name == name), None)

    return state


@pytest.fixture
def opened(telemetry, subject, database):
    """The subject's pool, open while the test runs."""
    with contextlib.ExitStack() as stack:

        def open_pool(**options):
            pool = subject.open(database, **options)
            stack.callback(subject.close, pool)
            return pool

        yield open_pool
