# /// script
# dependencies = ["apscheduler <4", "sqlalchemy", "redis"]
# [tool.application]
# about = "scheduler with its jobs in SQL and in Redis"
# redis = true
# ///
"""Ten jobs in each store, all due; the scheduler's own thread finds, runs and removes them."""

import datetime
import json
import os
import threading
from urllib.parse import urlsplit

from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

ran = []
done = threading.Event()


def work(number):
    """A job."""
    ran.append(number)
    if len(ran) == 20:
        done.set()


if __name__ == "__main__":
    redis_url = urlsplit(os.environ["REDIS_URL"])
    scheduler = BackgroundScheduler(
        jobstores={
            "default": SQLAlchemyJobStore(url="sqlite:///jobs.db"),
            "redis": RedisJobStore(host=redis_url.hostname, port=redis_url.port),
        },
        timezone=datetime.timezone.utc,
    )
    scheduler.start(paused=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    for number in range(10):
        scheduler.add_job(work, "date", run_date=now, args=[number], id=f"sql {number}", misfire_grace_time=None)
        scheduler.add_job(
            work, "date", run_date=now, args=[-number], id=f"r {number}", misfire_grace_time=None, jobstore="redis"
        )
    scheduler.add_job(work, "interval", hours=1, args=[99], id="later")
    before = sorted(job.id for job in scheduler.get_jobs())
    scheduler.resume()
    done.wait(30)
    scheduler.pause()
    after = [job.id for job in scheduler.get_jobs()]
    scheduler.shutdown()
    print(json.dumps({"before": before, "ran": sorted(ran), "after": after}))
