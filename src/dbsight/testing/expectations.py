"""``with assert_queries(3):`` and ``with assert_no_findings():``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from dbsight.config import FailOn, parsers
from dbsight.formatting import counted, seconds
from dbsight.model import SEVERITIES
from dbsight.report.layout import clip
from dbsight.testing.watch import Watch, grouped, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from dbsight.model import Finding, Operation

_MOST_GROUPS = 20
_WIDEST = 160


__unittest = True  # unittest leaves our frames out of its tracebacks


class Expectation(Watch):
    """A watch that judges at its end, unless the block raised by itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True  # pytest shows the line of the test instead
        super().__exit__(kind, error, traceback)
        if kind is None:
            self.judge()

    def _again(self) -> Self:
        return self.fresh_copy()  # count the queries of each call of a decorated function separately

    def judge(self) -> None:
        """Raise AssertionError where the expectation is not met."""
        raise NotImplementedError


class assert_queries(Expectation):  # noqa: N801 - reads as a statement
    """Expect a number of queries: a context manager and a decorator, for sync and async code.

    Args:
        exactly: Queries that must run.
        at_most: Queries that may run, instead of an exact number.
        system: Count the queries of one database system alone (``postgresql``, ``redis``); None counts those of all
            SQL databases.

    Raises:
        TypeError: Neither number, or both, were given.
        AssertionError: Another number ran; the message lists the queries with their lines.

    Example:
        >>> with assert_queries(0):
        ...     pass
    """

    def __init__(self, exactly: int | None = None, *, at_most: int | None = None, system: str | None = None) -> None:
        if (exactly is None) == (at_most is None):
            raise TypeError("assert_queries() needs a number, or at_most=")
        super().__init__()
        self._exactly = exactly
        self._at_most = at_most
        self._system = system

    def judge(self) -> None:
        """Compare."""
        __tracebackhide__ = True
        count = self.count(self._system)
        if self._exactly is not None and count != self._exactly:
            expected = f"{self._exactly} {'was' if self._exactly == 1 else 'were'} expected"
        elif self._at_most is not None and count > self._at_most:
            expected = f"at most {self._at_most} may run"
        else:
            return
        raise AssertionError(failure(f"{ran(count)}, {expected}", self.operations(self._system), self.findings()))


class assert_no_findings(Expectation):  # noqa: N801 - reads as a statement
    """Expect that no rule finds anything: a context manager and a decorator, for sync and async code.

    Args:
        rules: Rules to fail on; without any, every enabled rule.
        severity: Least severity to fail on: ``info``, ``warning`` or ``error``.
        allow: Rules whose findings are known and wanted.

    Raises:
        ValueError: There is no such severity.
        AssertionError: Something was found; the message names queries, lines and fixes.

    Example:
        >>> with assert_no_findings():
        ...     pass
    """

    def __init__(self, *rules: str, severity: str = "warning", allow: Iterable[str] = ()) -> None:
        if severity not in SEVERITIES:
            raise ValueError(f"severity is one of {', '.join(SEVERITIES)}, not {severity}")
        super().__init__(allow=allow)
        self._conditions = [FailOn(rule, severity) for rule in rules or ("all",)]

    def judge(self) -> None:
        """Let the rules look."""
        __tracebackhide__ = True
        found = failing(self.findings(), self._conditions)
        if found:
            raise AssertionError(failure(f"{counted(len(found), 'finding')}; {ran(self.count())}", (), found))


def conditions(value: str | Iterable[str]) -> tuple[FailOn, ...]:
    """Read what to fail on, as ``OTEL_DBSIGHT_FAIL_ON`` is read: ``n_plus_one``, ``n_plus_one:error``, ``warning``.

    Raises:
        ValueError: It is not such a list.
    """
    words = value if isinstance(value, str) else ",".join(value)
    try:
        return parsers.fail_on.read(words)
    except ValueError:
        raise ValueError(f"fail_on is {parsers.fail_on.expects}, not {words!r}") from None


def failing(findings: Iterable[Finding], on: Sequence[FailOn]) -> list[Finding]:
    """The findings that meet one of the conditions."""
    return [found for found in findings if any(each.holds(found.rule, found.severity) for each in on)]


def ran(count: int) -> str:
    """``3 queries ran``."""
    return f"{counted(count, 'query', 'queries')} ran"


def found_in_test(findings: Sequence[Finding]) -> str:
    """``2 findings in this test``."""
    return f"{counted(len(findings), 'finding')} in this test"


def failure(head: str, operations: Iterable[Operation], findings: Iterable[Finding] = ()) -> str:
    """The message of a failure: the queries grouped, then what was found in them, and the fixes."""
    lines = [head]
    groups = grouped(operations)
    for group in groups[:_MOST_GROUPS]:
        lines += ["", f"  {group.count} × {group.summary}" + (f"  at {group.site}" if group.site else "")]
        if group.text != group.summary:
            lines.append(f"      {clip(' '.join(group.text.split()), _WIDEST)}")
    if len(groups) > _MOST_GROUPS:
        lines += ["", f"  … and {counted(len(groups) - _MOST_GROUPS, 'more query', 'more queries')}"]
    for found in findings:
        lines += ["", *described(found)]
    return "\n".join(lines)


def described(found: Finding) -> list[str]:
    """A finding in lines: severity and title, description, line of code, and the fix to paste."""
    places = [
        (words, place(site))
        for words, site in (("at", found.call_site), ("called from", found.call_site and found.call_site.caller))
        if site is not None
    ]
    description = found.description
    for words, where in places:  # stated below, where it can be copied
        description = description.replace(f", {words} {where}", "")
    lines = [f"  {found.severity}: {found.title}  [{found.rule}]", f"      {description}"]
    lines += [f"      {words} {where}" for words, where in places]
    if found.impact > 0:
        lines.append(f"      saves ~{seconds(found.impact)}")
    if found.suggestion.strip():
        fix = textwrap.dedent(found.suggestion).strip("\n").splitlines()
        lines += [f"      fix  {fix[0]}"] if len(fix) == 1 else ["      fix", *(f"          {line}" for line in fix)]
    return lines


def duration(value: float | str) -> float:
    """Seconds from a number, or from text with a unit: ``200ms``.

    Raises:
        ValueError: It is none.
    """
    return float(parsers.duration.read(value))
