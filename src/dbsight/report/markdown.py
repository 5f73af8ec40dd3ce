"""The report as Markdown, to paste into an issue, a pull request or a chat with a coding agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.formatting import count, counted, mean, seconds
from dbsight.report import finding_text
from dbsight.report.causes import causes, headline, label
from dbsight.report.layout import code_lines, summary_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Finding, Snapshot
    from dbsight.report.causes import Cause

MAX_FINDINGS: Final = 50
MAX_STATEMENTS: Final = 10


def render(snapshot: Snapshot) -> str:
    """Return the report as Markdown, findings first, with a trailing line feed."""
    found = causes(snapshot.findings)
    general = finding_text.general_callers(snapshot.findings)
    lines = [f"# dbsight report{f' of {escaped(snapshot.service)}' if snapshot.service else ''}", ""]
    facts = [
        counted(snapshot.calls, "query", "queries"),
        counted(snapshot.requests, "request") if snapshot.requests else "",
        f"{seconds(snapshot.db_time)} in the database",
        counted(len(snapshot.findings), "finding") if found else "no findings",
    ]
    lines += [" · ".join(filter(None, facts)), ""]
    first = headline(snapshot, found)
    if first:
        lines += [f"**{escaped(first)}**", ""]
    for number, cause in enumerate(found[:MAX_FINDINGS], 1):
        lines += [*_cause(number, cause, general), ""]
    if len(found) > MAX_FINDINGS:
        lines += [f"… and {len(found) - MAX_FINDINGS} more", ""]
    lines += _statements(snapshot)
    return "\n".join(lines).rstrip() + "\n"


def _cause(number: int, cause: Cause, general: frozenset[str]) -> Iterator[str]:
    finding = cause.main.finding
    saves = f", saves ~{seconds(cause.impact / max(1, cause.main.windows))}" if cause.impact > 0 else ""
    if saves and cause.main.requests == cause.main.windows:
        saves += " per request"
    yield f"## {number}. {escaped(label(finding))}: {escaped(finding_text.title(finding))} ({finding.severity}{saves})"
    yield ""
    yield from about(finding, cause, general)


def about(finding: Finding, cause: Cause, general: frozenset[str] = frozenset()) -> Iterator[str]:
    """The evidence of a finding, and what to change."""
    if finding.description:
        yield escaped(finding_text.description(finding))
        yield ""
    if route := finding_text.route(finding):
        yield f"* route: {escaped(route)}"
    if finding.call_site is not None:
        yield f"* line: {code(finding_text.place(finding.call_site))}"
        caller = finding_text.caller(finding, general)
        if caller:
            yield f"* called from: {code(caller)}"
    yield f"* seen {counted(cause.main.count, 'time')}, in {counted(cause.main.windows, 'window')}"
    yield f"* id: {code(finding.id)}"
    for other, also, place in finding_text.also(cause.others, finding):
        yield f"* also: {escaped(f'{label(other)}: {also}')}" + (f" at {code(place)}" if place else "")
    if cause.proof:
        yield f"* {escaped(cause.proof)}"
    if cause.fix.strip():
        yield from ("", "What to change:", "", *block("\n".join(code_lines(cause.fix))))
    if finding.statement is not None and finding.statement.text:
        yield from ("", *block(finding.statement.text, "sql"))
    plan = next((each.finding.plan for each in cause.all if each.finding.plan is not None), None)
    if plan is not None and plan.tree:
        yield from ("", f"Plan {code(plan.hash)}:", "", *block(plan.tree))


def _statements(snapshot: Snapshot) -> Iterator[str]:
    if not snapshot.statements:
        return
    yield "| query | n | total | p50 | p95 | max | rows | where |"
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    for totals in snapshot.statements[:MAX_STATEMENTS]:
        where = "" if totals.call_site is None else code(str(totals.call_site))
        times = " | ".join(map(seconds, (totals.total, totals.p50, totals.p95, totals.max)))
        cells = (escaped(summary_line(totals.statement.summary)), count(totals.count), times)
        yield f"| {' | '.join(cells)} | {mean(totals.rows, totals.count)} | {where} |"


def escaped(text: str) -> str:
    """Escape what Markdown would format."""
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#" else each for each in text)


def code(text: str) -> str:
    """Inline code, whatever backquotes and pipes are in it."""
    fence = "``" if "`" in text else "`"
    inner = f" {text} " if "`" in text else text
    return f"{fence}{inner}{fence}".replace("|", "\\|")


def block(text: str, language: str = "") -> Iterator[str]:
    """A block of code, whatever backquotes are in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    yield f"{fence}{language}"
    yield from text.splitlines()
    yield fence
