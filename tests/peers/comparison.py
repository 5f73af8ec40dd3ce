"""What two runs of one suite differ in."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.environments import tomllib

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
DIFFERENCES = HERE / "differences.toml"
"""Differences that are as they must be."""
RECORD = HERE / "compared.json"
"""How many tests of each suite were compared, in the last run that was written down."""


@dataclass
class Run:
    """What the plugin wrote of one run.

    Attributes:
        results: ``passed``, ``failed``, ``skipped`` or ``xfailed`` by node id.
        tails: The ends of the tracebacks of those that failed.
        swallowed: How often each place of dbsight failed.
        said: What dbsight logged as warnings.
        operations: How many operations dbsight saw.
        findings: What dbsight's own plugin found, as plain values.
    """

    results: dict[str, str]
    tails: dict[str, str] = field(default_factory=dict)
    swallowed: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    operations: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)


def kept(python: Path, described: object, run: Callable[[], dict[str, Any]], *, again: bool = False) -> dict[str, Any]:
    """What came of a run without dbsight, which is kept within its virtual environment: once for its versions.

    Args:
        python: The environment's interpreter.
        described: What was run; its ``repr`` tells it from others.
        run: Runs it; what comes of it is written as JSON.
        again: Whether it is run even if it was before.
    """
    file = python.parents[1] / "plain" / f"{hashlib.sha256(repr(described).encode()).hexdigest()[:16]}.json"
    if again or not file.exists():
        came = run()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(came), encoding="utf-8")
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read


def broken(plain: Run, watched: Run) -> list[str]:
    """Tests that pass plainly and do not with dbsight, or are not even there."""
    return sorted(
        node
        for node, outcome in plain.results.items()
        if outcome == "passed" and watched.results.get(node, "absent") != "passed"
    )


def compared(plain: Run) -> int:
    """How many tests pass plainly, so that they can show a difference."""
    return sum(outcome == "passed" for outcome in plain.results.values())


def known(suite: str) -> list[dict[str, Any]]:
    """Differences of a suite that are as they must be: tables with ``suites``, ``test`` and ``reason``."""
    listed: list[dict[str, Any]] = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8")).get("difference", [])
    return [entry for entry in listed if any(fnmatch.fnmatchcase(suite, pattern) for pattern in entry["suites"])]


def matches(entry: dict[str, Any], node: str) -> bool:
    """Whether a known difference is about this test; its ``test`` is a pattern of node ids with ``*`` alone."""
    parts = [part.replace("[", "[[]").replace("?", "[?]") for part in entry["test"].split("*")]
    return fnmatch.fnmatchcase(node, "*".join(parts))
