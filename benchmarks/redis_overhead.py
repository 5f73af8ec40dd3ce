"""What watching Redis costs, per command and per pipeline of ten, beside OpenTelemetry's own instrumentor.

    python benchmarks/redis_overhead.py               # seven interleaved rounds
    python benchmarks/redis_overhead.py --rounds 1    # does it run?

As in ``overhead.py``: a fresh process each, everything exported over OTLP/gRPC to another process, CPU of all threads;
a round is one process of each variant, in an order that rotates. The server is the one that the tests use. A request
sends twenty GETs of as many kinds of keys, or twenty pipelines of ten, as those of ``overhead.py`` send twenty queries.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import variants
from overhead import rotated, sink

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

VARIANTS = ("none", "stock", "dbsight")
WORKLOADS = ("GET", "pipeline of ten")
SENT = 20
"""Commands or pipelines of a request."""

KINDS = [f"kind-{letter}" for letter in "abcdefghijklmnopqrst"]


def install(variant: str, ports: dict[str, int]) -> variants.Telemetry:
    """Instrument this process."""
    telemetry = variants.install("dbsight" if variant == "dbsight" else "none", ports)
    if variant == "stock":
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument(skip_dep_check=True)
    return telemetry


def run(client: Any, workload: str, requests: int, telemetry: variants.Telemetry) -> None:
    """Send the commands of so many requests."""
    for number in range(requests):
        with telemetry.request():
            key = str(number % 500)
            if workload == "GET":
                for kind in KINDS:
                    client.get(f"{kind}:{key}")
            else:
                for kind in KINDS:
                    pipe = client.pipeline(transaction=False)
                    for index in range(10):
                        pipe.get(f"{kind}:{index}")
                    pipe.execute()


def child(task: dict[str, Any]) -> dict[str, float]:
    """Measure every workload in this process; CPU µs of a command or pipeline, the best of the rounds."""
    if task["core"] is not None:
        os.sched_setaffinity(0, {task["core"]})
    telemetry = install(task["variant"], task["sink"])
    import redis

    client = redis.Redis(host=task["host"], port=task["port"])
    measured = {}
    for workload in WORKLOADS:
        run(client, workload, task["requests"], telemetry)  # warm
        telemetry.flush()
        gc.collect()
        gc.freeze()
        best = []
        for _ in range(task["repeats"]):
            began = time.process_time()
            run(client, workload, task["requests"], telemetry)
            telemetry.flush()
            spent = time.process_time() - began
            best.append(spent / task["requests"] / SENT * 1e6)
        measured[workload] = min(best)
    telemetry.shutdown()
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=25, help="requests in each measurement (25)")
    parser.add_argument("--repeats", type=int, default=16, help="measurements in each process, the best counts (16)")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args()
    import servers
    from overhead import cores

    core, pinned = cores()
    rounds = []
    with servers.serving("redis") as server, sink() as ports:
        task = {"sink": ports, "core": core, "requests": options.requests, "repeats": options.repeats}
        task |= {"host": server.database.host, "port": server.database.port}
        for number in range(options.rounds):
            one = {}
            for variant in rotated(list(VARIANTS), number):
                command = [sys.executable, __file__, "--child", json.dumps({**task, "variant": variant})]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{variant} failed:\n{done.stderr}")
                one[variant] = json.loads(done.stdout.splitlines()[-1])
            rounds.append(one)
    summary = {workload: _summary(rounds, workload) for workload in WORKLOADS}
    print(f"{options.rounds} rounds, {pinned}; CPU µs added, median (smallest…largest); ratio to stock of each round")
    for workload, row in summary.items():
        print(f"{workload:16} " + "   ".join(f"{name} {text}" for name, text in row.items()))
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")


def _summary(rounds: list[dict[str, dict[str, float]]], workload: str) -> dict[str, str]:
    added = {
        name: [one[name][workload] - one["none"][workload] for one in rounds] for name in VARIANTS if name != "none"
    }
    row = {name: f"{statistics.median(each):.1f} ({min(each):.1f}…{max(each):.1f})" for name, each in added.items()}
    ratios = [ours / theirs for ours, theirs in zip(added["dbsight"], added["stock"], strict=True)]
    row["ratio"] = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}…{max(ratios):.2f})"
    return row


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(json.loads(sys.argv[2]))), flush=True)
    else:
        main()
