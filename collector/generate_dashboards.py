"""Write the dashboards of Grafana, ``grafana/dashboards/*.json``.

``python collector/generate_dashboards.py`` writes them; with ``--check`` it writes nothing and fails when one is stale.
``panels.py`` says what is on them. Points of histograms carry exemplars, which lead to the trace in Jaeger.
"""
# ruff: noqa: INP001 - a program beside the configurations, not a package

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import panels
from promql import LATENCY

if TYPE_CHECKING:
    from panels import Panel

HERE = Path(__file__).parent / "grafana" / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 8, 8
"""Of a panel, in Grafana's columns (24 in a row) and lines."""


DASHBOARDS = {
    "overview": ("Overview", panels.OVERVIEW),
    "queries": ("Queries", panels.QUERIES),
    "findings": ("Findings", panels.FINDINGS),
    "pools": ("Connection pools", panels.POOLS),
    "redis": ("Redis", panels.REDIS_PANELS),
    "caches-and-locks": ("Caches and locks", panels.CACHES_AND_LOCKS),
    "memory": ("Memory", panels.MEMORY),
    "telemetry": ("Health of the telemetry", panels.TELEMETRY),
}
"""Files, titles and panels."""


def target(number: int, legend: str, expression: str, kind: str) -> dict[str, Any]:
    """One query of a panel."""
    made = {"refId": chr(ord("A") + number), "datasource": PROMETHEUS, "expr": expression, "legendFormat": legend}
    if kind == "table":
        return {**made, "format": "table", "instant": True, "range": False}
    return {**made, "range": True, "exemplar": "_bucket" in expression}


def drawn(number: int, panel: Panel) -> dict[str, Any]:
    """One panel where it stands."""
    row, column = divmod(number, 24 // WIDTH)
    made: dict[str, Any] = {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": PROMETHEUS,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": column * WIDTH, "y": row * HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [target(n, *query, panel.kind) for n, query in enumerate(panel.queries.items())],
    }
    if panel.kind == "table":
        hidden = {"id": "organize", "options": {"excludeByName": {"Time": True}}}
        return {**made, "transformations": [hidden], "options": {"sortBy": [{"displayName": "Value", "desc": True}]}}
    return {**made, "options": {"tooltip": {"mode": "multi", "sort": "desc"}}}


def dashboard(file: str, title: str, shown: tuple[Panel, ...]) -> dict[str, Any]:
    """One file."""
    job = {
        "name": "job",
        "label": "Service",
        "type": "query",
        "datasource": PROMETHEUS,
        "query": f"label_values({LATENCY}_count, job)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    others = {
        "title": "dbsight",
        "type": "dashboards",
        "tags": ["dbsight"],
        "asDropdown": True,
        "keepTime": True,
        "includeVars": True,
    }
    return {
        "uid": f"dbsight-{file}",
        "title": f"dbsight: {title}",
        "tags": ["dbsight"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [others],
        "templating": {"list": [job]},
        "panels": [drawn(number, panel) for number, panel in enumerate(shown)],
    }


def main() -> int:
    """Write or check every dashboard; the exit code is 1 when one is stale."""
    parser = argparse.ArgumentParser(description="Write the dashboards of Grafana.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when one is stale")
    check = parser.parse_args().check
    stale = []
    for file, (title, shown) in DASHBOARDS.items():
        path, text = HERE / f"{file}.json", json.dumps(dashboard(file, title, shown), indent=1) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if not check:
            path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run python collector/generate_dashboards.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
