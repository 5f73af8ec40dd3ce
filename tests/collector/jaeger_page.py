"""What Jaeger's API returns for the faulty request of the shop, for the documentation.

``python tests/collector/jaeger_page.py`` runs the shop, the collector and Jaeger, and writes the answer into
``docs/backends/jaeger.md``, between its marks. What is said to be left out is left out; nothing is changed.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))  # as pytest has it

from collector import programs, services  # noqa: E402 - found by the line above
from e2e.runner import ON_FASTAPI, run_instrumented  # noqa: E402

PAGE = ROOT / "docs" / "backends" / "jaeger.md"

MARKS = ("<!-- from here made by tests/collector/jaeger_page.py -->", "<!-- to here -->")

REQUEST = "GET /orders"

KEPT = re.compile(r"db\.|dbsight\.|code\.|server\.|http\.(route|method|status_code|request\.method)|span\.kind|event$")
"""The tags that are shown; the others are of the server's instrumentation and the same on every span."""

VARYING = re.compile(
    r"(traceID|spanID|startTime|timestamp|duration|.*(time|time_ratio|impact|severity|pool\.wait|findings\.\w+)"
    r"|http\..*|.*finding\.id|code\.(file\.path|line\.number)|.*description)$"
)
"""What need not be the same today: ids, times and what follows from them, versions of FastAPI, places in the code."""

SHOP = {
    **ON_FASTAPI,
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_DBSIGHT_PRESET": "development",
    "OTEL_DBSIGHT_REPORT": "off",
}


def trimmed(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace of Jaeger's API with the first span of each name, and the tags that are about the database."""
    ordered = sorted(trace["spans"], key=lambda span: (bool(span["references"]), span["startTime"]))
    first: dict[str, dict[str, Any]] = {}
    for span in ordered:
        if not span["operationName"].endswith((" http send", " http receive")):
            first.setdefault(span["operationName"], span)
    return {"traceID": trace["traceID"], "spans": [shown(span) for span in first.values()]}


def shown(span: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a span."""
    return {
        "spanID": span["spanID"],
        "operationName": span["operationName"],
        "references": [{"refType": one["refType"], "spanID": one["spanID"]} for one in span["references"]],
        "startTime": span["startTime"],
        "duration": span["duration"],
        "tags": tags(span["tags"]),
        "logs": [{"timestamp": log["timestamp"], "fields": tags(log["fields"])} for log in span["logs"]],
    }


def tags(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The kept tags, by name."""
    return sorted((tag for tag in told if KEPT.match(tag["key"])), key=lambda tag: tag["key"])


def lasting(told: Any) -> Any:
    """An answer without what varies."""
    if isinstance(told, list):
        return [lasting(one) for one in told if not (isinstance(one, dict) and VARYING.match(one.get("key", "")))]
    if isinstance(told, dict):
        return {key: lasting(value) for key, value in told.items() if not VARYING.match(key)}
    return told


def rendered(trace: dict[str, Any]) -> str:
    """JSON with a tag on a line."""
    text = json.dumps(trace, indent=2, ensure_ascii=False)
    return re.sub(
        r"\{\s+(\"(?:key|refType)\": [^{}]*?)\s+\}", lambda one: "{" + re.sub(r"\s*\n\s*", " ", one[1]) + "}", text
    )


def written(page: str, trace: dict[str, Any]) -> str:
    """The page with this answer between its marks."""
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n```json\n{rendered(trace)}\n```\n{MARKS[1]}{after}"


def on_page() -> dict[str, Any]:
    """The answer that the page shows."""
    _, rest = PAGE.read_text().split(MARKS[0])
    shown, _ = rest.split(MARKS[1])
    return json.loads(shown.strip().removeprefix("```json").removesuffix("```"))


def main() -> None:
    """Run the shop and write what Jaeger returns."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        jaeger = services.Jaeger(programs.path("jaeger"), directory / "jaeger")
        env = {
            "DBSIGHT_JAEGER_ENDPOINT": jaeger.endpoint,
            "DBSIGHT_PROMETHEUS_ENDPOINT": "http://127.0.0.1:9",  # nobody
            "DBSIGHT_DECISION_WAIT_AFTER_ROOT": "2s",
        }
        otelcol = services.Otelcol(programs.path("otelcol"), directory / "otelcol", env)
        try:
            jaeger.start()
            otelcol.start()
            # From here, so that places in the code are told as in every other example.
            run_instrumented(["-m", "dbsight.demo"], cwd=ROOT, env=SHOP, receiver=otelcol, timeout=180).check()
            traces = services.eventually(lambda: jaeger.traces("shop", operation=REQUEST))
        finally:
            otelcol.kill()
            jaeger.kill()
    PAGE.write_text(written(PAGE.read_text(), trimmed(traces[0])))


if __name__ == "__main__":
    main()
