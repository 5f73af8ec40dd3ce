# /// script
# dependencies = ["rq", "rq-scheduler"]
# [tool.application]
# about = "job queue on Redis, with rq-scheduler"
# ci = true
# redis = true
# ///
"""Jobs that succeed, fail and wait for others; some are scheduled before. The worker is its own program."""

import datetime
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import redis
import rq
from rq_scheduler import Scheduler

logging.disable(logging.CRITICAL)


def add(a, b):
    """A job."""
    return a + b


def fail():
    """A job that fails."""
    raise ValueError("meant")


if __name__ == "__main__":
    add.__module__ = fail.__module__ = "rq_jobs"
    connection = redis.Redis.from_url(os.environ["REDIS_URL"])
    queue = rq.Queue("work", connection=connection)
    jobs = [queue.enqueue(add, number, 1) for number in range(12)]
    failing = queue.enqueue(fail)
    after = queue.enqueue(add, 1, 1, depends_on=jobs[0])
    many = queue.enqueue_many([rq.Queue.prepare_data(add, (number, 2)) for number in range(5)])

    scheduler = Scheduler(queue=queue, connection=connection)
    scheduler.enqueue_at(datetime.datetime(2020, 1, 1), add, 3, 4)  # noqa: DTZ001 - naive UTC is what it takes
    scheduler.enqueue_jobs()

    here = str(Path(__file__).parent)
    worker = ["worker", "work", "--burst", "--quiet", "--path", here, "--worker-class", "rq.worker.SimpleWorker"]
    subprocess.run([sys.executable, "-m", "rq.cli", *worker, "--url", os.environ["REDIS_URL"]], check=True)
    print(
        json.dumps(
            {
                "results": [job.return_value() for job in [*jobs, after, *many]],
                "failing": failing.get_status().value,
                "finished": len(queue.finished_job_registry.get_job_ids()),
                "failed": queue.failed_job_registry.count,
                "left": queue.count,
            }
        )
    )
