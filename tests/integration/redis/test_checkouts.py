"""The connections that commands take from their pool: each is told once, whenever it is given back."""

import asyncio
import contextlib
import gc
import sys
import weakref
from pathlib import Path

import pytest
import redis
import redis.asyncio

import dbsight
from builders import missing_fields
from dbsight import recording
from dbsight.instrument.pools.redis_checkout import CommandCheckout
from dbsight.instrument.redis_call import CommandCall
from dbsight.span import PendingQuery

OURS = str(Path(dbsight.__file__).parent)


@pytest.fixture
def told(watched, redis_server):
    """Gives how many checkouts of the pools of this server were told so far."""
    name = f"{redis_server.host}:{redis_server.port}/0"

    def count():
        pools = watched.processor.analyzer.snapshot().pools
        return sum(pool.totals.checkouts for pool in pools if pool.state.name == name)

    return count


def test_each_command_and_pipeline_tells_one_checkout(client, watched, told):
    """However many there are, and whether their root is open still or not."""
    before = told()
    with watched.root():
        for number in range(120):
            client.get(f"user:{number}")
        with client.pipeline() as pipe:
            pipe.get("user:1").get("user:2").execute()
        assert told() - before == 121
    client.get("user:1")
    assert told() - before == 122


@pytest.mark.parametrize("drained", [False, True])
def test_a_connection_that_outlives_its_command_is_told_when_it_is_back(client, watched, told, drained):
    """WATCH keeps it: whether the command was drained meanwhile or not, it is counted once."""
    before = told()
    with watched.root(), client.pipeline() as pipe:
        pipe.watch("user:1")
        if drained:
            assert told() - before == 1  # so far
        pipe.multi()
        pipe.get("user:1").execute()
        pipe.reset()
    assert told() - before == 1


def test_commands_that_fail_and_those_that_are_answered_here_tell_theirs(redis_server, watched, told, monkeypatch):
    """An error of the server, and a reply of the client's own cache, which is no command."""
    if not hasattr(redis.connection, "CacheProxyConnection"):
        pytest.skip("redis-py 5.0 has no cache")
    from redis.cache import CacheConfig

    # The server of the tests may be older than redis-py wishes, but follows keys since 6.0.
    monkeypatch.setattr(redis.connection.CacheProxyConnection, "MIN_ALLOWED_VERSION", "6.0.0", raising=False)
    options = {"protocol": 3, "cache_config": CacheConfig(max_size=10), "decode_responses": True}
    with contextlib.closing(redis.Redis.from_url(redis_server.url(), **options)) as client:
        client.set("user:1", "x")
        client.get("user:1")
        before = told()
        client.get("user:1")
        with pytest.raises(redis.ResponseError):
            client.lpush("user:1", 1)
        assert told() - before == 2


async def _ask(url):
    async with redis.asyncio.Redis.from_url(url) as client:
        for _ in range(3):
            await client.get("user:1")
        async with client.pipeline() as pipe:
            await pipe.get("user:1").execute()


def test_asynchronous_commands_tell_theirs(redis_server, watched, told):
    """The same for tasks."""
    before = told()
    asyncio.run(_ask(redis_server.url()))
    assert told() - before == 4


def _records():
    return [each for each in gc.get_objects() if type(each) in {CommandCall, CommandCheckout}]


def test_uses_of_connections_are_not_kept_longer_than_their_commands(client, watched):
    """No cycle is left for the garbage collector: the record, its checkout and the reply are freed by counting."""
    gc.collect()
    gc.disable()
    before = _records()  # of the open window of what runs outside spans
    try:
        with watched.root():
            for number in range(60):
                client.get(f"user:{number}")
            client.pipeline().get("user:1").get("user:2").execute()
        watched.processor.analyzer.collect()
        left = [each for each in _records() if each not in before]
    finally:
        gc.enable()
    assert len(left) <= 1  # the context refers to the latest


def test_a_command_that_is_new_keeps_nothing_of_its_caller_alive(client, watched):
    """A frame that referred to itself would keep those below until the garbage collector comes."""

    class Held:
        pass

    def ask():
        held = Held()
        client.get("never:asked:before:1")
        return weakref.ref(held)

    with watched.root():
        client.get("user:1")
        gc.disable()
        try:
            assert ask()() is None
        finally:
            gc.enable()


def test_a_command_and_a_pipeline_leave_no_slot_out(client, watched, monkeypatch):
    """The hook fills them itself, because each call in it costs: with the values of every pending query."""
    records = []
    monkeypatch.setattr(CommandCall, "flush_all", records.extend)
    with watched.root():
        client.get("user:1")
        client.pipeline().get("user:1").get("user:2").execute()
        recording.drain()
    names = {name for each in (CommandCall, PendingQuery) for name in each.__slots__}
    names -= {"connections", "local", "transformed"}  # hardly any has them
    CommandCall.complete_all(records)
    plain = PendingQuery()
    of_each = {"start_ns", "end_ns", "thread", "duration", "queue", "parent", "call_site", "pool", "batch_size"}
    of_each |= {"over", "rare"}
    for record in records:
        assert [name for name in names if not hasattr(record, name)] == []
        assert missing_fields(record) == []
        for name in PendingQuery.__slots__:
            if name not in of_each and hasattr(plain, name):
                assert getattr(record, name) == getattr(plain, name), name
    assert [record.batch_size for record in records] == [0, 2]


def _functions(work):
    """Functions of ours that run in the thread that works."""
    seen = []

    def called(frame, what, _):
        if what == "call" and (frame.f_code.co_filename.startswith((OURS, "<dbsight"))):
            seen.append(frame.f_code.co_name)

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


def test_a_command_runs_few_functions_in_place(client, watched):
    """What is not needed before the reply waits for the drain: each further function costs a request more than it does.

    The wrappers of the client's own methods are among them. It is a number, not a time: who needs one more raises it.
    """
    pipe = client.pipeline(transaction=False)
    with watched.root():
        for _ in range(4):  # the same line each time, so that it is known in the end
            command = _functions(lambda: client.get("user:1"))
            pipe.get("user:1").get("user:2")
            pipeline = _functions(pipe.execute)
    assert len(command) <= 13, command
    assert len(pipeline) <= 14, pipeline
