# /// script
# dependencies = ["celery[redis]"]
# [tool.application]
# about = "task queue, Redis as broker and for results"
# redis = true
# unseen = ["brpop", "ping"]  # kombu writes them to a connection, past redis-py's methods
# ///
"""A group, a chain and a chord, run by a worker in threads of this process."""

import gc
import json
import logging
import os

from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker

logging.disable(logging.CRITICAL)
app = Celery("work", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, result_expires=60)


@app.task
def add(a, b):
    """A task."""
    return a + b


@app.task
def total(numbers):
    """Of a chord."""
    return sum(numbers)


@app.task(bind=True, max_retries=2, default_retry_delay=0.05)
def shaky(self):
    """Succeeds at the second try."""
    if not self.request.retries:
        raise self.retry()
    return "in the end"


def results():
    """Of everything that was sent."""
    return [
        group(add.s(number, 1) for number in range(10))().get(timeout=30),
        chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=30),
        chord([add.s(number, number) for number in range(5)], total.s())().get(timeout=30),
        shaky.delay().get(timeout=30),
    ]


if __name__ == "__main__":
    with start_worker(app, perform_ping_check=False, pool="threads", concurrency=2, loglevel="CRITICAL"):
        told = results()
        gc.collect()  # a result unsubscribes when it is collected, at the latest at exit, where nothing is exported
    print(json.dumps(told))
