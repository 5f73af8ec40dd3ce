"""Findings on the terminal: those with one cause together, each with its place and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.formatting import TIMES, count, counted, seconds
from dbsight.report import finding_text
from dbsight.report.causes import label
from dbsight.report.layout import aligned, clip, code_lines, flow, one_line, summary_line, text, wrapped
from dbsight.report.query_plans import plan_lines
from dbsight.report.time_bar import time_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from dbsight.model import Finding, Severity
    from dbsight.report.causes import Cause

MAX_FINDINGS: Final = 40
"""Causes shown in full, plus as many further errors; of the rest only the number is shown."""

INDENT: Final = " " * 5

SEVERITIES: Final[dict[Severity, tuple[str, str, str]]] = {
    "error": ("✖", "bold red", "error"),
    "warning": ("▲", "bold yellow", "warning"),
    "info": ("·", "bold cyan", "note"),
}
"""Mark, style and word."""


def cause_lines(found: Sequence[Cause], general: frozenset[str], width: int, details: str) -> Iterator[Text]:
    """The lines of all causes.

    Args:
        found: In the order of the report.
        general: Callers that are not shown.
        width: Columns of the page.
        details: Where the others are, if not all are shown; may be empty.
    """
    # Errors with unknown saving, such as leaked connections, come last: show these, too.
    beyond = [cause for cause in found[MAX_FINDINGS:] if cause.severity == "error"]
    chosen = [*found[:MAX_FINDINGS], *beyond[:MAX_FINDINGS]]
    limits = (16, width // 4, width // 2)
    heads = aligned([_head(cause) for cause in chosen], limits, width, indent=INDENT)
    for cause, head in zip(chosen, heads, strict=True):
        yield from head
        yield from _body(cause, general, width)
    if len(found) > len(chosen):
        see = f" (see {details})" if details else ""
        yield text(f" … and {count(len(found) - len(chosen))} more{see}")


def _head(cause: Cause) -> list[Text]:
    """Return label, route (may be empty) and subject; then the duration and the saving, if any."""
    finding = cause.main.finding
    mark, style, _ = SEVERITIES[cause.severity]
    head = [
        text((f" {mark} {one_line(label(finding))}", style)),
        text(clip(finding_text.route(finding), 60)),
        text((_subject(finding), "bold")),
    ]
    if finding.rule == "slow_query" and finding.current_value is not None:
        limit = "" if finding.threshold is None else f" (limit {seconds(finding.threshold, exact=True)})"
        head.append(text((f"{seconds(finding.current_value)}{limit}", "bold")))
    if cause.impact > 0:
        head.append(text((_saving(cause), "green")))
    return head


def _subject(finding: Finding) -> str:
    if finding.statement is None:
        return finding_text.title(finding)
    subject = clip(summary_line(finding.statement.summary), 60)
    return f"{count(finding.count)} {TIMES} {subject}" if finding.count > 1 else subject


def _saving(cause: Cause) -> str:
    windows = cause.main.windows
    saving = f"saves ~{seconds(cause.impact / windows)}"
    if cause.main.requests == windows:
        return f"{saving} per request"
    return f"{saving} each time" if windows > 1 else saving


def _body(cause: Cause, general: frozenset[str], width: int) -> Iterator[Text]:
    finding = cause.main.finding
    description = finding_text.description(finding)
    if not description and finding.statement:
        description = finding_text.title(finding)
    bar = list(time_bar(finding.details, width, INDENT)) if finding.rule == "slow_query" else []
    yield from bar
    yield from wrapped(str(finding.details.get("facts", "")) if bar else description, width, indent=INDENT)
    for other, also, place in finding_text.also(cause.others, finding):
        yield from wrapped(f"+ {label(other)}: {also}", width, indent=INDENT)
        if place:
            yield text(INDENT, "  ", (place, "cyan"))
    yield from flow(_facts(cause, description, general), width, indent=INDENT)
    plan = next((each.finding.plan for each in cause.all if each.finding.plan is not None), None)
    if plan is not None:
        yield from plan_lines(plan, INDENT)
    if cause.fix.strip():
        yield from _fix(code_lines(cause.fix))
    yield from wrapped(cause.proof, width, indent=INDENT, style="green")


def _facts(cause: Cause, description: str, general: frozenset[str]) -> Iterator[Text]:
    finding = cause.main.finding
    if finding.relationship and finding.relationship not in description:
        yield text(one_line(finding.relationship))
    if finding.call_site is not None:
        yield text((finding_text.place(finding.call_site), "cyan"))
        caller = finding_text.caller(finding, general)
        if caller:
            yield text("called from ", (caller, "cyan"))
    windows = cause.main.windows
    if windows > 1:
        yield text(f"in {counted(windows, 'request' if windows == cause.main.requests else 'window')}")
    if finding.trace:
        yield text((f"trace {one_line(finding.trace)}", "dim"))


def _fix(lines: list[str]) -> Iterator[Text]:
    if len(lines) == 1:
        yield text(INDENT, ("fix", "dim"), "  ", (lines[0], "green"))
        return
    # Below the word and with one indentation, so that selected lines can be pasted.
    yield text(INDENT, ("fix", "dim"))
    for line in lines:
        yield text(INDENT, "    ", (line, "green"))
