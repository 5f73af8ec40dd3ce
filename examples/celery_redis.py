"""Celery on Redis: a task that asks Redis for each price by itself.

    pip install dbsight 'celery[redis]' opentelemetry-instrumentation-celery
    export REDIS_URL=redis://127.0.0.1:6379/0 OTEL_SERVICE_NAME=shop
    opentelemetry-instrument celery --app celery_redis worker --pool prefork --concurrency 2
    opentelemetry-instrument python celery_redis.py   # in another terminal: three carts, one the fixed way

In Jaeger: service shop, operation "run/celery_redis.total", tag dbsight.findings.rules. On that span, which has the
trace of the program that sent the task: dbsight.db.calls 25 and the event dbsight.finding with rule redis_chatter,
count 25, the line of the loop below, and MGET as the suggestion. Below it: 25 times "GET price:{}". What Celery asks of
Redis, while it waits for tasks, is not held against anybody.

In Datadog: service shop, resource "run/celery_redis.total", @dbsight.findings.rules:*redis_chatter*. The commands are
spans of type redis.
"""

import os

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]

app = Celery("celery_redis", broker=URL)
app.conf.task_ignore_result = True
shelf = redis.Redis.from_url(URL)


@app.task(name="celery_redis.total")
def total(cart: list[int]) -> int:
    paid = 0
    for item in cart:
        paid += int(shelf.get(f"price:{item}") or 0)  # asks Redis once for each item
    return paid


@app.task(name="celery_redis.total_fixed")
def total_fixed(cart: list[int]) -> int:
    return sum(int(price or 0) for price in shelf.mget([f"price:{item}" for item in cart]))


if __name__ == "__main__":
    cart = list(range(25))
    shelf.mset({f"price:{item}": item for item in cart})
    total.delay(cart)
    total.delay(cart)
    total_fixed.delay(cart)
