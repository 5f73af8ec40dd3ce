"""Everything that the instrumentors replace looks like its original, and is put back as the very same object."""

import asyncio
import copy
import importlib
import inspect
import pickle
import sys
import warnings

import pytest
import redis

import dbsight
from dbsight.instrument import wrap

MODULES = (
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "redis.asyncio.cluster",
    "redis.asyncio.lock",
    "redis.asyncio.sentinel",
    "redis.cluster",
    "redis.lock",
    "redis.sentinel",
    "valkey.asyncio.cluster",
    "valkey.asyncio.lock",
    "valkey.asyncio.sentinel",
    "valkey.cluster",
    "valkey.lock",
    "valkey.sentinel",
    "psycopg_pool",
    "asyncpg.pool",
    "aiosqlite.core",
    "dogpile.cache.region",
    "aiocache.base",
    "concurrent.futures.thread",
    "asgiref.sync",
    "django.core.cache.backends.locmem",
    "django.db.backends.base.base",
    "django.db.models",
)
"""What is loaded before anything is replaced, with all that it imports."""

LIBRARIES = (
    "sqlalchemy",
    "redis",
    "valkey",
    "psycopg",
    "psycopg_pool",
    "asyncpg",
    "aiosqlite",
    "pymysql",
    "sqlite3",
    "_sqlite3",
    "dogpile",
    "aiocache",
    "concurrent",
    "threading",
    "django",
    "asgiref",
)

INSTRUMENTORS = (
    dbsight.SQLAlchemyInstrumentor,
    dbsight.RedisInstrumentor,
    dbsight.ValkeyInstrumentor,
    dbsight.LockInstrumentor,
    dbsight.CacheInstrumentor,
    dbsight.PsycopgPoolInstrumentor,
    dbsight.AsyncpgPoolInstrumentor,
    dbsight.PsycopgInstrumentor,
    dbsight.AsyncpgInstrumentor,
    dbsight.AioSQLiteInstrumentor,
    dbsight.SQLite3Instrumentor,
    dbsight.PyMySQLInstrumentor,
)

ATTRIBUTES = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__")
CODE = ("co_name", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount")
KINDS = (
    inspect.isfunction,
    inspect.iscoroutinefunction,
    asyncio.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)
FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_COROUTINE | inspect.CO_GENERATOR


def owners():
    """Every module and class of the libraries."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in LIBRARIES and module is not None:
            yield module
            for value in list(vars(module).values()):
                # Not isinstance, which asks lazy objects, and Django's have no settings to answer with.
                if issubclass(type(value), type) and value.__module__ == name:
                    yield value


def attributes():
    """All functions, methods and other descriptors of the libraries, by owner and name."""
    found = {}
    for owner in owners():
        for name, value in list(vars(owner).items()):
            if callable(value) or hasattr(type(value), "__get__"):
                found[id(owner), name] = (owner, value)
    return found


def start():
    """Replace everything."""
    for instrumentor in INSTRUMENTORS:
        instrumentor().instrument(skip_dep_check=True)


def stop():
    """Put everything back."""
    for instrumentor in INSTRUMENTORS:
        instrumentor().uninstrument()


@pytest.fixture(scope="module", autouse=True)
def originals():
    """What there was before."""
    for name in MODULES:
        importlib.import_module(name)
    return attributes()


@pytest.fixture
def everything():
    """All instrumentors, switched on; gives what they replaced. The process may hold replacements of its own."""
    before = list(wrap.replaced)
    start()
    yield [each for each in wrap.replaced if each not in before]
    stop()


def function_of(descriptor):
    """The function in a descriptor."""
    return getattr(descriptor, "fget", None) or getattr(descriptor, "__func__", descriptor)


def pickled(function):
    """Whether a function is pickled by its name."""
    try:
        return pickle.loads(pickle.dumps(function)) is function
    except (pickle.PicklingError, AttributeError):
        return False


def differences(original, replacement):
    """The respects in which a replacement does not look like its original."""
    if type(original) is not type(replacement):
        return ["kind of descriptor"]
    old, new = function_of(original), function_of(replacement)
    return [
        *(name for name in ATTRIBUTES if getattr(old, name) != getattr(new, name)),
        *(name for name in CODE if getattr(old.__code__, name) != getattr(new.__code__, name)),
        *(kind.__qualname__ for kind in KINDS if kind(old) != kind(new)),
        *(["signature"] if inspect.signature(old) != inspect.signature(new) else []),
        *(["own signature"] if parameters(old) != parameters(new) else []),
        *(["flags"] if (old.__code__.co_flags ^ new.__code__.co_flags) & FLAGS else []),
        *(["source"] if inspect.getsource(old) != inspect.getsource(new) else []),
        *(["attributes"] if vars(old).items() - (vars(new).items() - {("__wrapped__", old)}) - hidden(old) else []),
        *(["copies"] if copy.copy(new) is not new or copy.deepcopy(new) is not new else []),
    ]


def hidden(function):
    """What a decorator of the library itself left on a function; ours wraps that one."""
    return {("__wrapped__", vars(function).get("__wrapped__"))}


def parameters(function):
    """The names of its parameters, as SQLAlchemy reads them."""
    code = function.__code__
    return inspect.getargs(code)


def test_every_replacement_looks_like_its_original(everything):
    """In whatever a library, a framework or a debugger may ask it."""
    assert len(everything) > 60
    wrong = {
        f"{getattr(each.owner, '__module__', '')}.{each.owner.__name__}.{each.name}": found
        for each in everything
        if not inspect.isbuiltin(each.original)  # sqlite3.connect is written in C
        and (found := differences(each.original, each.replacement))
    }
    assert wrong == {}


def test_every_replacement_is_pickled_as_its_original(everything):
    """By its qualified name, as long as it is in place; the original, once it is back."""
    possible = {(each.owner, each.name): pickled(function_of(each.replacement)) for each in everything}
    stop()
    try:
        assert possible == {(each.owner, each.name): pickled(function_of(each.original)) for each in everything}
    finally:
        start()
    assert sum(possible.values()) > 50


def test_nothing_is_replaced_that_is_not_recorded(originals, everything):
    """In no class and no module of the libraries."""
    now = attributes()
    changed = {(owner, key[1]) for key, (owner, value) in originals.items() if key in now and now[key][1] is not value}
    known = {owner for owner, _ in originals.values()}  # classes that other tests derive from these are not theirs
    assert changed == {(each.owner, each.name) for each in everything if each.owner in known}


def test_uninstrumenting_puts_the_very_same_objects_back(originals):
    """Also after it was done several times."""
    from sqlalchemy.event import registry

    before = list(wrap.replaced)
    start()
    stop()
    listeners = len(registry._key_to_collection)
    for _ in range(2):
        start()
        stop()
    assert wrap.replaced == before
    now = attributes()
    assert [(owner, key[1]) for key, (owner, value) in originals.items() if now[key][1] is not value] == []
    # Fewer, where classes of earlier tests were collected meanwhile.
    assert len(registry._key_to_collection) <= listeners


def test_a_librarys_warning_names_the_same_line(originals):
    """Else Python would hide it: a deprecation is shown only if it is about the main program."""

    def warned():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            redis.Redis(retry_on_timeout=True).close()
        return [(each.filename, each.lineno) for each in caught]

    seen = []
    for switch in (start, stop):
        switch()
        seen.append(warned())
    assert seen[0] == seen[1] != []
