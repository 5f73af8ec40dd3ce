"""The findings of each application that a person has looked at, in ``findings.toml``.

One table per finding::

    [[finding]]
    application = "optuna"
    rule = "n_plus_one"
    place = "optuna/storages/_rdb/storage.py:get_trial"   # file from its package or script on, and function
    query = "SELECT trials"                                # the summary of its query
    verdict = "true"                                       # true, false or arguable
    reason = "A SELECT per trial; the storage has no call that reads many."
    sometimes = true                                       # where it depends on the clock whether it is found at all

A rule whose severity does not depend on how long something took (see ``BY_CLOCK``) has ``severity`` as well: one, or a
list of those that are right. A finding whose verdict is ``false`` may vanish: that is what the rules are improved for.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otlp.records import Event, LogRecord

FILE = Path(__file__).parent / "findings.toml"
ANY_PLACE = frozenset({"duplicate_pools"})
"""Rules whose findings name one of several places, by chance."""

ANY_QUERY = frozenset({"blocking_call"})
"""Rules whose findings name one of several queries, by chance."""

BY_CLOCK = frozenset(
    {
        *("n_plus_one", "redundant_query", "row_by_row_write", "redis_chatter", "blocking_call", "fan_out"),
        *("serial_awaits", "serial_writes", "slow_query", "slow_consumer", "pool_wait", "long_transaction"),
    }
)
"""Rules whose severity depends on how long something took: on a busy machine, the same finding is a graver one."""

VERDICTS = frozenset({"true", "false", "arguable"})


@dataclass(frozen=True, order=True)
class Place:
    """What tells one finding of an application from another.

    Attributes:
        rule: Its name.
        place: ``file:function``, the file from its package or script on; empty where a finding has no place.
        query: The summary of its query; empty where it is about none.
    """

    rule: str
    place: str
    query: str


@dataclass(frozen=True)
class Seen:
    """One finding of a run.

    Attributes:
        place: Where.
        severity: ``info``, ``warning`` or ``error``.
        description: What the finding says.
        more: Further lines of the table that is to be written.
    """

    place: Place
    severity: str
    description: str
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Review:
    """What somebody thinks of a finding.

    Attributes:
        severity: Each that is right; empty where the clock decides.
        verdict: ``true``, ``false`` or ``arguable``.
        reason: In a sentence.
        sometimes: Whether a run without it is right, too.
    """

    severity: frozenset[str]
    verdict: str
    reason: str
    sometimes: bool


def place_of(record: Event | LogRecord) -> Place:
    """Where a finding's event says that it is."""
    attributes = record.attributes
    rule, file = attributes["dbsight.finding.rule"], attributes.get("code.file.path", "")
    file = file.rpartition("site-packages/")[2].rpartition("workloads/")[2]
    function = attributes.get("code.function.name", "")
    return Place(
        rule,
        f"{file}:{function}" if file and rule not in ANY_PLACE else "",
        "" if rule in ANY_QUERY else attributes.get("db.query.summary", ""),
    )


def applications(file: Path = FILE) -> set[str]:
    """Those that something is written about."""
    return {entry["application"] for entry in _entries(file)}


def _entries(file: Path) -> list[dict[str, Any]]:
    return tomllib.loads(file.read_text(encoding="utf-8")).get("finding", [])


def reviews(application: str, file: Path = FILE) -> dict[Place, Review]:
    """What is written about one application."""
    found = {}
    for entry in _entries(file):
        if entry["application"] != application:
            continue
        place = Place(entry["rule"], entry["place"], entry["query"])
        assert place not in found, f"{place} is written down twice"
        assert entry["verdict"] in VERDICTS, f"{place}: the verdict is one of {sorted(VERDICTS)}"
        severity = entry.get("severity", ())
        assert bool(severity) != (place.rule in BY_CLOCK), f"{place}: the clock decides over the severity, or a person"
        found[place] = Review(
            frozenset([severity] if isinstance(severity, str) else severity),
            entry["verdict"],
            entry["reason"],
            entry.get("sometimes", False),
        )
    return found


def table(application: str, seen: Seen) -> str:
    """What to write into the file, but for the verdict and its reason."""
    place = seen.place
    values = {"application": application, "rule": place.rule, "place": place.place, "query": place.query, **seen.more}
    if place.rule not in BY_CLOCK:
        values["severity"] = seen.severity
    # JSON's strings are TOML's.
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(["[[finding]]", *lines, 'verdict = ""', 'reason = ""', ""])


def differences(application: str, records: Iterable[Event | LogRecord]) -> list[str]:
    """What was found and is not written down, or the other way round; one line each."""
    seen = [
        Seen(
            place_of(record),
            record.attributes["dbsight.finding.severity"],
            record.attributes["dbsight.finding.description"],
        )
        for record in records
    ]
    return compared(application, seen, FILE)


def compared(application: str, found: Iterable[Seen], file: Path, *, info: bool = True) -> list[str]:
    """As ``differences``, with what is written in ``file``.

    Args:
        application: Its name.
        found: What was found, of any severity.
        file: The list.
        info: Whether a finding below warning has to be in the list.
    """
    known = reviews(application, file)
    seen: set[Place] = set()
    told = []
    for each in found:
        place = each.place
        if place not in known and place not in seen and (info or each.severity != "info"):
            told.append(f"not reviewed; {each.description}\n{table(application, each)}")
        elif place in known and place.rule not in BY_CLOCK and each.severity not in known[place].severity:
            told.append(f"{each.severity} instead of {'/'.join(sorted(known[place].severity))}: {place}")
        seen.add(place)
    told += [
        f"not found any more: {place}"
        for place, review in known.items()
        if place not in seen and not review.sometimes and review.verdict != "false"
    ]
    return told
