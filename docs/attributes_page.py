"""The page about attributes and events, made from the names and comments of ``semconv.py``."""
# ruff: noqa: INP001 - a part of generate.py

import itertools
import re
from pathlib import Path
from typing import NamedTuple

from dbsight import semconv

INTRODUCTION = """\
# Attributes and events

<!-- Made by `python docs/generate.py` from `src/dbsight/semconv.py`: edit there. -->

The names that dbsight writes to spans, span events and log events. Names of OpenTelemetry's semantic conventions keep
their meaning there ({schema}); names that begin with `dbsight.` are defined
here. An attribute that does not apply is absent, not empty. Durations are in seconds, `s`.
[Metrics](metrics.md) have a page of their own.

"""

SECTION = re.compile(r"^# -- (.+?) -+$")
NAME = re.compile(r'^(\w+): Final = "([^"]+)"(?:  # (.+))?$')
ENUMERATION = re.compile(r"[\w ]+( \| [\w ]+)+")
METRICS = "Metrics"
"""The section that is on the page about metrics."""


class Name(NamedTuple):
    """One constant of the module: its identifier, its value, and what its comment says."""

    constant: str
    value: str
    comment: str


def sections() -> dict[str, list[Name]]:
    """The names of attributes and events by the heading that they stand under, in the order of the module."""
    found: dict[str, list[Name]] = {}
    section = ""
    lines = Path(semconv.__file__).read_text(encoding="utf-8").splitlines()
    for line, following in itertools.pairwise(lines):
        if heading := SECTION.match(line):
            section = heading[1]
        elif section != METRICS and (name := NAME.match(line)):
            if name[1].startswith("METRIC_") or not section:
                continue
            comment = (
                name[3] or following.removeprefix('"""').removesuffix('."""') if following[:3] == '"""' else name[3]
            )
            found.setdefault(section, []).append(Name(name[1], name[2], comment or ""))
    return found


def cell(comment: str) -> str:
    """A comment as a cell of a table."""
    return (
        ", ".join(f"`{value}`" for value in comment.split(" | "))
        if ENUMERATION.fullmatch(comment)
        else comment.replace(" | ", ", ").replace("``", "`")
    )


def attributes() -> str:
    """The whole page."""
    page = [INTRODUCTION.format(schema=f"[{semconv.SCHEMA_URL.rpartition('/')[2]}]({semconv.SCHEMA_URL})")]
    for title, names in sections().items():
        page.append(f"## {title}\n\n")
        page.append("| name | kind | value |\n|---|---|---|\n")
        for name in names:
            ending = name.constant.rpartition("_")[2]
            kind = {"EVENT": "event", "SPAN": "span"}.get(ending, "attribute")
            page.append(f"| `{name.value}` | {kind} | {cell(name.comment)} |\n")
        page.append("\n")
    return "".join(page).rstrip("\n") + "\n"
