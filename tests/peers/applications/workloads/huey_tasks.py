# /// script
# dependencies = ["huey", "redis"]
# [tool.application]
# about = "task queue on Redis, with threads"
# redis = true
# ///
"""Tasks with results, retries, a pipeline and a lock, run by a consumer with two worker threads."""

import json
import logging
import os

from huey import RedisHuey

logging.disable(logging.CRITICAL)
huey = RedisHuey("work", url=os.environ["REDIS_URL"])
tried = []


@huey.task()
def add(a, b):
    """A task."""
    return a + b


@huey.task(retries=2)
def shaky():
    """Succeeds at the third try."""
    tried.append(1)
    if len(tried) < 3:
        raise ValueError("meant")
    return "in the end"


@huey.task()
@huey.lock_task("alone")
def alone(number):
    """One at a time."""
    return number


if __name__ == "__main__":
    results = [add(number, 1) for number in range(15)]
    chain = huey.enqueue(add.s(1, 2).then(add, 3).then(add, 4))
    late = shaky()
    locked = alone(7)
    consumer = huey.create_consumer(workers=2, periodic=False, initial_delay=0.05, max_delay=0.1)
    consumer.start()
    told = [result.get(blocking=True, timeout=20) for result in results]
    told += [part.get(blocking=True, timeout=20) for part in chain]
    told += [late.get(blocking=True, timeout=20), locked.get(blocking=True, timeout=20)]
    consumer.stop(graceful=True)
    huey.put("key", {"a": 1})
    told += [huey.get("key"), huey.pending_count(), huey.result_count()]
    print(json.dumps(told))
