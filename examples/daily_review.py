"""Items for an issue tracker from what dbsight recommends, each once.

    pip install dbsight sqlalchemy
    export OTEL_DBSIGHT_REPORT=json OTEL_DBSIGHT_REPORT_FILE=run.json
    opentelemetry-instrument python orders.py
    python daily_review.py run.json seen.json

Run it once a day on the saved runs of that day. It prints one JSON object per line for each recommendation that has not
been printed before; seen.json keeps their ids, which are the same in every run:

    {"key": "n1-…", "priority": "high", "summary": "Order.customer is loaded one row at a time", …}

In Jaeger and Datadog nothing appears: it reads files. The recommendations themselves are also log events
dbsight.recommendation.
"""

import json
import sys
from pathlib import Path

*runs, seen_file = map(Path, sys.argv[1:])
seen = set(json.loads(seen_file.read_text())) if seen_file.exists() else set()
for run in runs:
    for found in json.loads(run.read_text())["recommendations"]:
        if found["id"] in seen or found["priority"] == "low":
            continue
        seen.add(found["id"])
        item = {
            "key": found["id"],
            "priority": found["priority"],
            "summary": found["title"],
            "description": found["description"],
            "suggestion": found["details"].get("suggestion", ""),
            "where": found["details"].get("call_site", ""),
            "seconds_saved": round(found["impact"], 6),
            "effort": found["effort"],
        }
        print(json.dumps(item))
seen_file.write_text(json.dumps(sorted(seen)))
