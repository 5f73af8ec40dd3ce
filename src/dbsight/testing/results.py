"""What is known of each test when a session ends: the slowest tests, and every finding once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbsight.detect.suppressions import read_baseline
from dbsight.formatting import counted, seconds
from dbsight.model import SEVERITIES
from dbsight.testing.expectations import described
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.model import Finding
    from dbsight.testing.watch import Watch

_WORST: Final = 5
_MOST: Final = 50
"""Findings that are printed; all are in the files."""


@dataclass(slots=True)
class Found:
    """A finding as plain values: it crosses the border between processes.

    Attributes:
        id: Stable across runs.
        rule: Name of the rule.
        severity: ``info``, ``warning`` or ``error``.
        title: One line.
        lines: As ``described`` prints it.
        file: Of the line of code, empty when unknown.
        line: From 1; 0 when unknown.
        description: What was seen.
        suggestion: Code to paste.
        impact: s that the fix saves, of all tests together.
        tests: Names of the tests that showed it, the first ones.
        count: In how many tests it was seen.
        route: The request in which it was seen first.
        function: Of the line of code, empty when unknown.
        query: ``SELECT orders``, empty when it is about no query.
    """

    id: str
    rule: str
    severity: str
    title: str
    lines: list[str]
    file: str = ""
    line: int = 0
    description: str = ""
    suggestion: str = ""
    impact: float = 0.0
    tests: list[str] = field(default_factory=list)
    count: int = 1
    route: str = ""
    function: str = ""
    query: str = ""

    @classmethod
    def of(cls, found: Finding, test: str) -> Found:
        """Made from a finding of one test."""
        site = found.call_site
        return cls(
            found.id,
            found.rule,
            found.severity,
            found.title,
            described(found),
            site.file if site is not None else "",
            site.line if site is not None else 0,
            found.description,
            found.suggestion,
            found.impact,
            [test],
            route=found.route,
            function=site.function if site is not None else "",
            query=found.statement.summary if found.statement is not None else "",
        )


@dataclass(slots=True)
class TestResult:
    """What one test did.

    Attributes:
        test: Its name, as the runner prints it.
        queries: Of its body, to SQL databases.
        seconds: s in the database.
        findings: Those that are not in the baseline.
    """

    __test__ = False

    test: str
    queries: int
    seconds: float
    findings: list[Found]

    @classmethod
    def of(cls, test: str, watch: Watch, findings: Iterable[Finding]) -> TestResult:
        """Made from the watch of a test that is over."""
        return cls(test, watch.count(), watch.seconds(), [Found.of(found, test) for found in findings])

    def plain(self) -> dict[str, Any]:
        """As values that JSON and pytest-xdist know."""
        return {
            "test": self.test,
            "queries": self.queries,
            "seconds": self.seconds,
            "findings": [asdict(found) for found in self.findings],
        }

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> TestResult:
        """Made from ``plain``."""
        return cls(
            values["test"], values["queries"], values["seconds"], [Found(**found) for found in values["findings"]]
        )


class Session:
    """The results of all tests.

    Args:
        baseline: File of known findings that are not reported, None without one.

    Raises:
        ValueError: The baseline exists and is none, or cannot be read.
    """

    def __init__(self, baseline: Path | None = None) -> None:
        self.results: list[TestResult] = []
        self.findings: dict[str, Found] = {}
        self.known: frozenset[str] = frozenset()
        if baseline is not None and baseline.exists():
            try:
                self.known = read_baseline(baseline)
            except (OSError, ValueError) as error:
                raise ValueError(f"baseline {baseline}: {error}") from None

    def news(self, findings: Iterable[Finding]) -> list[Finding]:
        """Findings that the baseline does not know."""
        return [found for found in findings if found.id not in self.known]

    def add(self, result: TestResult) -> None:
        """Take in one test; what several found is one finding."""
        self.results.append(result)
        for found in result.findings:
            known = self.findings.get(found.id)
            if known is None:
                self.findings[found.id] = found
            else:
                known.count += 1
                known.impact += found.impact
                if found.tests[0] not in known.tests and len(known.tests) < _WORST:
                    known.tests += found.tests

    def ranked(self) -> list[Found]:
        """The findings: the most severe first, of these the one that saves most."""
        ranks = {severity: rank for rank, severity in enumerate(reversed(SEVERITIES))}
        return sorted(self.findings.values(), key=lambda found: (ranks[found.severity], -found.impact))  # type: ignore[index]

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        queries = counted(sum(result.queries for result in self.results), "query", "queries")
        spent = sum(result.seconds for result in self.results)
        lines = [f"{queries} in {counted(len(self.results), 'test')}, {seconds(spent)} in the database"]
        worst = sorted((each for each in self.results if each.queries), key=lambda each: -each.queries)[:_WORST]
        if worst:
            width = max(len(str(each.queries)) for each in worst)
            lines += ["", "most queries:"]
            lines += [f"  {each.queries:>{width}}  {seconds(each.seconds):>8}  {each.test}" for each in worst]
        ranked = self.ranked()
        for found in ranked[:_MOST]:
            lines += ["", *found.lines]
            more = f" and {counted(found.count - 1, 'more test')}" if found.count > 1 else ""
            lines.append(f"      in {found.tests[0]}{more}")
        if len(ranked) > _MOST:
            lines += ["", f"… and {counted(len(ranked) - _MOST, 'more finding')}"]
        lines += ["", counted(len(ranked), "finding") if ranked else "no findings"]
        return lines

    def annotations(self) -> list[str]:
        """The findings in the notation of GitHub Actions, which shows them beside the lines of a pull request."""
        levels = {"info": "notice", "warning": "warning", "error": "error"}
        return [
            f"::{levels[found.severity]} file={_property(found.file)},line={found.line},"
            f"title={_property(f'dbsight: {found.title}')}::{_data(_told(found))}"
            for found in self.ranked()
            if found.file
        ]

    def write_sarif(self, path: Path) -> None:
        """Write the findings as SARIF 2.1.0.

        Raises:
            OSError: The file cannot be written.
        """
        path.write_text(json.dumps(sarif(self.ranked()), indent=1) + "\n", encoding="utf-8")


def _told(found: Found) -> str:
    return f"{found.description}\n{found.suggestion}".strip()


def _data(text: str) -> str:
    """https://docs.github.com/en/actions: what stands after the second pair of colons."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(findings: Sequence[Found]) -> dict[str, Any]:
    """Findings in the format that code scanning services read: SARIF 2.1.0."""
    levels = {"info": "note", "warning": "warning", "error": "error"}
    rules = sorted({found.rule for found in findings})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "dbsight",
                        "version": __version__,
                        "informationUri": "https://github.com/dbsight/dbsight",
                        "rules": [
                            {
                                "id": rule,
                                "helpUri": f"https://github.com/dbsight/dbsight/blob/main/docs/rules.md#{rule}",
                            }
                            for rule in rules
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": found.rule,
                        "ruleIndex": rules.index(found.rule),
                        "level": levels[found.severity],
                        "message": {"text": _told(found) or found.title},
                        "partialFingerprints": {"dbsight/v1": found.id},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": Path(found.file).as_posix()},
                                    "region": {"startLine": max(1, found.line)},
                                }
                            }
                        ]
                        if found.file
                        else [],
                    }
                    for found in findings
                ],
            }
        ],
    }
