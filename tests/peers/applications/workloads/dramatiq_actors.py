# /// script
# dependencies = ["dramatiq[redis]"]
# [tool.application]
# about = "task queue on Redis, with Lua scripts"
# redis = true
# ///
"""Actors with results and a retry, run by a worker with two threads."""

import json
import logging
import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

logging.disable(logging.CRITICAL)
broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)
tried = []


@dramatiq.actor(store_results=True)
def add(a, b):
    """An actor."""
    return a + b


@dramatiq.actor(store_results=True, max_retries=2, min_backoff=50, max_backoff=50)
def shaky():
    """Succeeds at the second try."""
    tried.append(1)
    if len(tried) < 2:
        raise ValueError("meant")
    return "in the end"


if __name__ == "__main__":
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50)
    worker.start()
    messages = [add.send(number, 1) for number in range(15)]
    late = shaky.send()
    told = [message.get_result(block=True, timeout=20_000) for message in [*messages, late]]
    group = dramatiq.group([add.message(number, 2) for number in range(4)]).run()
    told += list(group.get_results(block=True, timeout=20_000))
    worker.stop()
    broker.close()
    print(json.dumps(told))
