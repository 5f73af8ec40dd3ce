"""What watching Redis costs, per command and per pipeline of ten, beside OpenTelemetry's own instrumentor.

    python benchmarks/redis_overhead.py               # seven rounds
    python benchmarks/redis_overhead.py --rounds 1    # does it run?

As in ``overhead.py``: a process for each variant, everything exported over OTLP/gRPC to another process, CPU of all
threads. The processes take short turns, some requests and the export of their spans each, so that all of them meet the
machine as it is at the time; of each round the median turn of each counts. (The fastest turn would be a matter of luck
where the speed of the machine changes: of eight rounds each, the ratios by medians deviated by 0.04 to 0.05 from one
another, those by the fastest turns by 0.13 to 0.26.) The server is the one that the tests use. A
request sends twenty GETs of as many kinds of keys, or twenty pipelines of ten, as those of ``overhead.py`` send twenty
queries; ``GET, new keys`` never asks for a key again, as an application does whose keys are those of sessions or users.
"""

from __future__ import annotations

import argparse
import gc
import itertools
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
WORKLOADS = ("GET", "GET, new keys", "pipeline of ten")
SENT = 20
"""Commands or pipelines of a request."""

KINDS = [f"kind-{letter}" for letter in "abcdefghijklmnopqrst"]
_new = itertools.count(10_000)


def install(variant: str, ports: dict[str, int]) -> variants.Telemetry:
    """Instrument this process."""
    telemetry = variants.install("dbsight" if variant == "dbsight" else "none", ports)
    if variant == "stock":
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument(skip_dep_check=True)
    return telemetry


def request(client: Any, workload: str, number: int, telemetry: variants.Telemetry) -> None:
    """Send the commands of one request."""
    with telemetry.request():
        if workload == "pipeline of ten":
            for kind in KINDS:
                pipe = client.pipeline(transaction=False)
                for index in range(10):
                    pipe.get(f"{kind}:{index}")
                pipe.execute()
        else:
            key = number if workload == "GET" else next(_new)
            for kind in KINDS:
                client.get(f"{kind}:{key}")


def turn(client: Any, workload: str, requests: int, telemetry: variants.Telemetry) -> float:
    """CPU µs of a command or pipeline, with the export of its span."""
    began = time.process_time()
    for number in range(requests):
        request(client, workload, number, telemetry)
    telemetry.flush()
    return (time.process_time() - began) / requests / SENT * 1e6


def child(task: dict[str, Any]) -> None:
    """Measure what is named on standard input, line by line: CPU µs of a command or pipeline."""
    if task["core"] is not None:
        os.sched_setaffinity(0, {task["core"]})
    telemetry = install(task["variant"], task["sink"])
    import redis

    client = redis.Redis(host=task["host"], port=task["port"])
    for workload in WORKLOADS:
        for _ in range(10):
            turn(client, workload, task["requests"], telemetry)  # warm
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(client, line.strip(), task["requests"], telemetry)), flush=True)
    telemetry.shutdown()


class Child:
    """A process that measures one variant when it is its turn."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._variant = task["variant"]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OTEL_DBSIGHT_REPORT": "off"},
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"{self._variant} failed")
        return answer

    def measure(self, workload: str) -> float:
        """CPU µs of a command or pipeline."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{workload}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=12, help="requests in each turn (12)")
    parser.add_argument(
        "--turns", type=int, default=24, help="turns of each process in a round, the median counts (24)"
    )
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args()
    import servers
    from overhead import cores

    core, pinned = cores()
    with servers.serving("redis") as server, sink() as ports:
        task = {"sink": ports, "core": core, "requests": options.requests}
        task |= {"host": server.database.host, "port": server.database.port}
        children = {variant: Child({**task, "variant": variant}) for variant in VARIANTS}
        rounds = [_round(children, options.turns) for _ in range(options.rounds)]
        for each in children.values():
            each.close()
    summary = {workload: _summary(rounds, workload) for workload in WORKLOADS}
    print(f"{options.rounds} rounds, {pinned}; CPU µs added, median (smallest…largest); ratio to stock of each round")
    for workload, row in summary.items():
        print(f"{workload:16} " + "   ".join(f"{name} {text}" for name, text in row.items()))
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")


def _round(children: dict[str, Child], turns: int) -> dict[str, dict[str, float]]:
    """The median of some turns, by variant and workload."""
    measured: dict[str, dict[str, list[float]]] = {variant: {} for variant in children}
    for number in range(turns):
        for workload in WORKLOADS:
            for variant in rotated(list(children), number):
                measured[variant].setdefault(workload, []).append(children[variant].measure(workload))
    return {
        variant: {workload: statistics.median(each) for workload, each in of_variant.items()}
        for variant, of_variant in measured.items()
    }


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
        child(json.loads(sys.argv[2]))
    else:
        main()
