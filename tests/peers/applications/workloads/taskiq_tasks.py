# /// script
# dependencies = ["taskiq-redis"]
# [tool.application]
# about = "task queue on Redis streams, asynchronous"
# redis = true
# asynchronous = true
# ///
"""Tasks through a Redis stream, received on the same loop, with results in Redis."""

import asyncio
import json
import logging
import os

from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

logging.disable(logging.CRITICAL)
URL = os.environ["REDIS_URL"]
broker = RedisStreamBroker(URL).with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=60))


@broker.task(task_name="add")
async def add(a: int, b: int) -> int:
    """A task."""
    return a + b


async def main():
    """Send, receive, and wait for each result."""
    broker.is_worker_process = True
    await broker.startup()
    receiving = asyncio.create_task(run_receiver_task(broker))
    tasks = [await add.kiq(number, 1) for number in range(10)]
    told = [(await task.wait_result(check_interval=0.05, timeout=20)).return_value for task in tasks]
    print(json.dumps(told))
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await broker.shutdown()


asyncio.run(main())
