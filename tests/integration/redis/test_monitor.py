"""What the tests of public applications compare spans with: the commands as the Redis server received them."""

import pytest
import redis

from peers.applications import monitor


def test_a_redis_server_tells_what_it_was_sent(redis_server):
    """Commands of a pipeline and a failed one, but neither what connects nor what a script runs inside."""
    with monitor.monitored(redis_server) as watching:
        with redis.Redis.from_url(redis_server.url()) as client:
            client.set("a", 1)
            client.eval("return redis.call('GET', KEYS[1])", 1, "a")
            with client.pipeline() as pipeline:
                pipeline.incr("a").get("a").execute()
            with pytest.raises(redis.ResponseError):
                client.lpush("a", 1)
        assert watching.commands() == ["set", "eval", "incrby", "get", "lpush"]
