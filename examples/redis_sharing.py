"""A hundred Redis clients with a pool each, and a hundred that share one.

    pip install dbsight redis
    export REDIS_URL=redis://127.0.0.1:6379/0
    opentelemetry-instrument python redis_sharing.py            # 100 pools, 100 connections
    opentelemetry-instrument python redis_sharing.py --shared   # 1 pool, 1 connection

Prints the pools, the connections as this process and as Redis itself counts them, and the resident and virtual memory
that they cost. What sharing saves depends on client, server and machine: measure it here.

In Jaeger: operation "dbsight.window"; its event dbsight.finding has rule redis_chatter, count 100, for the SET below,
shared or not. What is found about pools is about the process, which has no span: without --shared there is a log event
with rule duplicate_pools and the line that makes the clients. In Datadog: resource "dbsight.window", and in Logs
@dbsight.finding.rule:duplicate_pools. In Prometheus: dbsight_pools and db_client_connection_count.
"""

import os
import sys

import redis

import dbsight

CLIENTS = 100
URL = os.environ["REDIS_URL"]


def clients() -> list[redis.Redis]:
    if "--shared" in sys.argv:
        return [redis.Redis(connection_pool=dbsight.redis_pool("master", URL)) for _ in range(CLIENTS)]
    return [redis.Redis.from_url(URL) for _ in range(CLIENTS)]


def measured() -> dict[str, float]:
    """Connections by both ends, and the memory of this process."""
    ours = sum(pool["total"] for pool in dbsight.pool_stats().values())
    return {"ours": ours, "listed": len(asking.client_list()), **dbsight.get_process_memory()}


with redis.Redis.from_url(URL) as asking:
    asking.ping()
    before = measured()
    used = clients()
    for client in used:
        client.ping()
        client.set("shared", 1)
    after = measured()
pools = len({id(client.connection_pool) for client in used})
ours, listed, rss, vms = (after[name] - before[name] for name in before)
print(
    f"{CLIENTS} clients: {pools} pools, {ours:.0f} connections, {listed:.0f} in Redis's CLIENT LIST, "
    f"{rss:.1f} MB resident and {vms:.1f} MB virtual memory more (now {after['rss']:.0f} and {after['vms']:.0f} MB)"
)
