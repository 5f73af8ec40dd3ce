# /// script
# dependencies = ["saq[redis]"]
# [tool.application]
# about = "job queue on Redis, asynchronous, with scripts and pub/sub"
# redis = true
# asynchronous = true
# ///
"""Jobs applied, mapped and retried, with a worker beside them on the same loop."""

import asyncio
import json
import logging
import os

from saq import Queue, Worker

logging.disable(logging.CRITICAL)


async def add(context, *, a, b):
    """A job."""
    return a + b


async def shaky(context):
    """Succeeds at the second try."""
    if context["job"].attempts < 2:
        raise ValueError("meant")
    return "in the end"


async def main():
    """A worker, and who waits for it."""
    queue = Queue.from_url(os.environ["REDIS_URL"])
    await queue.connect()
    worker = Worker(
        queue, functions=[add, shaky], concurrency=2, timers={"schedule": 1, "worker_info": 5, "sweep": 60, "abort": 1}
    )
    working = asyncio.create_task(worker.start())
    await asyncio.sleep(0.5)  # its first sweep is over
    told = [await queue.apply("add", a=1, b=2, timeout=20)]
    told += await queue.map("add", [{"a": number, "b": 1} for number in range(10)], timeout=20)
    told.append(await queue.apply("shaky", retries=3, timeout=20))
    print(json.dumps(told))
    await worker.stop()
    working.cancel()
    await queue.disconnect()


asyncio.run(main())
