# /// script
# dependencies = ["arq"]
# [tool.application]
# about = "job queue on Redis, asynchronous"
# ci = true
# redis = true
# asynchronous = true
# ///
"""Jobs that succeed, fail, try again and are found twice, run by a worker in burst mode."""

import asyncio
import json
import logging
import os

from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

logging.disable(logging.CRITICAL)
settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])


async def add(context, a, b):
    """A job."""
    await asyncio.sleep(0)
    return a + b


async def fail(context):
    """A job that fails."""
    raise ValueError("meant")


async def again(context):
    """A job that succeeds at the second try."""
    if context["job_try"] < 2:
        raise Retry(defer=0.1)
    return "in the end"


async def main():
    """Enqueue, work, ask for the results."""
    pool = await create_pool(settings)
    jobs = [await pool.enqueue_job("add", number, 1) for number in range(12)]
    twice = [await pool.enqueue_job("add", 1, 2, _job_id="same") for _ in range(2)]
    others = [await pool.enqueue_job("fail"), await pool.enqueue_job("again")]
    worker = Worker([add, fail, again], redis_settings=settings, burst=True, handle_signals=False, poll_delay=0.05)
    await worker.async_run()
    results = [await job.result(timeout=5) for job in [*jobs, twice[0]]]
    infos = [await job.result_info() for job in others]
    kept = await pool.all_job_results()
    print(
        json.dumps(
            {
                "results": results,
                "twice": twice[1],
                "others": [[info.success, str(info.result)] for info in infos],
                "kept": len(kept),
                "failed": worker.jobs_failed,
                "complete": worker.jobs_complete,
                "retried": worker.jobs_retried,
            }
        )
    )
    await worker.close()
    await pool.aclose()


asyncio.run(main())
