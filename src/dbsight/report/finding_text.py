"""Sentences and places of findings, as all reports show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight import semconv
from dbsight.report.layout import one_line, prose_line, summary_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dbsight.model import CallSite, Finding, MergedFinding

_GENERAL: Final = 3
"""Different lines from which on their common caller is a dispatcher, which says nothing about a finding."""


def shown(finding: Finding, text: str) -> str:
    """A sentence about a finding on one line; the summary of its statement is shown as ``summary_line`` does."""
    line = one_line(text)
    if finding.statement is not None and len(finding.statement.summary) > 1:
        summary = one_line(finding.statement.summary)
        line = line.replace(summary, summary_line(summary))
    return prose_line(line)


def title(finding: Finding) -> str:
    """The title of a finding."""
    return shown(finding, finding.title)


def description(finding: Finding) -> str:
    """The description of a finding without the call site, which reports show separately."""
    text = shown(finding, finding.description)
    for words, site in (("at", finding.call_site), ("called from", finding.call_site and finding.call_site.caller)):
        if site is not None:
            text = text.replace(f", {words} {place(site)}", "").replace(f", {words} {one_line(str(site))};", ";")
    return text


def route(finding: Finding) -> str:
    """The route of a finding, empty for work outside requests."""
    return "" if finding.route == semconv.WINDOW_SPAN else one_line(finding.route)


def place(site: CallSite) -> str:
    """``shop.py:88 in list_orders``."""
    return f"{one_line(site.file)}:{site.line} in {one_line(site.function)}"


def also(others: Iterable[MergedFinding], main: Finding) -> Iterator[tuple[Finding, str, str]]:
    """Other findings with the same cause; those that read the same are one.

    Returns:
        Each with its title, the relationship in it, and its place if that is another one.
    """
    told: dict[tuple[str, str, str], list[Finding]] = {}
    for merged in others:
        other = merged.finding
        text = title(other)
        if other.relationship and other.relationship not in text:
            text += f" ({one_line(other.relationship)})"
        site = other.call_site
        where = "" if site is None or str(site) == str(main.call_site) else place(site)
        told.setdefault((other.rule, text, where), []).append(other)
    for (_, text, where), same in told.items():
        yield same[0], text if len(same) == 1 else f"{text}, {len(same)} of them", where


def general_callers(findings: Iterable[MergedFinding]) -> frozenset[str]:
    """Callers that three or more lines share, such as a dispatcher of requests."""
    lines: dict[str, set[str]] = {}
    for merged in findings:
        site = merged.finding.call_site
        if site is not None and site.caller is not None:
            lines.setdefault(str(site.caller), set()).add(str(site))
    return frozenset(caller for caller, sites in lines.items() if len(sites) >= _GENERAL)


def caller(finding: Finding, general: frozenset[str]) -> str:
    """Where the line of a finding is called from, if that says more than the line itself; else empty."""
    site = finding.call_site
    if site is None or site.caller is None or str(site.caller) in general or str(site.caller) == str(site):
        return ""
    return place(site.caller)
