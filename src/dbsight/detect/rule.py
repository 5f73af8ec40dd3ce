"""The base classes of rules.

A rule's docstring is its documentation: the first line says what it reports, a drawing shows the pattern, and
``Anti-pattern:`` and ``Best practice:`` give code. A test checks this form, and the page in ``docs/`` is
generated from it.
"""

from __future__ import annotations

import inspect
import textwrap
from abc import ABC
from typing import TYPE_CHECKING, Any, ClassVar

from dbsight.detect.identity import identity
from dbsight.model import PRIORITY_OF, SEVERITIES, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.detect.repetition import Repetition
    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, ExplainedQuery, Operation, Priority, Severity, Snapshot
    from dbsight.recording import OpenWindow


class Rule(ABC):
    """Common part of all rules.

    Attributes:
        name: As in settings, attributes and docs: ``n_plus_one``.
        category: The category of its findings.
        settings: Names of the settings that it reads, for the docs.
    """

    name: ClassVar[str]
    category: ClassVar[Category]
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Settings) -> None:
        self.configuration = settings

    @classmethod
    def severities(cls) -> list[tuple[Severity, str]]:
        """The severities of its findings, and when each applies, as its docstring lists them under ``Severity:``."""
        found: list[tuple[Severity, str]] = []
        for line in cls._section("Severity"):
            name, colon, condition = line.partition(": ")
            severity = next((each for each in SEVERITIES if each == name), None)
            if colon and severity is not None:
                found.append((severity, condition))
            elif found:
                found[-1] = (found[-1][0], f"{found[-1][1]} {line}")
        return found

    @classmethod
    def priority(cls) -> Priority:
        """How urgent its most severe finding is: ``low``, ``medium`` or ``high``."""
        severities = [severity for severity, _ in cls.severities()]
        return PRIORITY_OF[max(severities, key=SEVERITIES.index)] if severities else "medium"  # python -OO

    @classmethod
    def fires(cls) -> tuple[str, ...]:
        """Where it is run: ``query``, ``window`` (a request, a task, a part of a script), ``process``, ``plan``."""
        if issubclass(cls, SnapshotRule):
            return ("process",)
        if issubclass(cls, PlanRule):
            return ("plan",)
        methods = {"visit": "query", "complete": "window", "conclude": "window"}
        own = [method for method in methods if getattr(cls, method) is not getattr(WindowRule, method)]
        return tuple(dict.fromkeys(methods[method] for method in own))

    @classmethod
    def _section(cls, heading: str) -> list[str]:
        """The lines below a heading of its docstring."""
        for paragraph in (inspect.getdoc(cls) or "").split("\n\n"):
            first, _, body = paragraph.partition("\n")
            if first == f"{heading}:":
                return textwrap.dedent(body).splitlines()
        return []

    def finding(self, key: tuple[object, ...], **fields: Any) -> Finding:
        """A finding of this rule.

        Args:
            key: Two letters, and what identifies the fault beside the rule: its id is made of it.
            fields: The other fields of ``Finding``.
        """
        prefix, *parts = key
        return Finding(rule=self.name, id=identity(str(prefix), self.name, *parts), category=self.category, **fields)


class WindowRule(Rule):
    """A rule that checks operations and the windows that they belong to.

    One instance serves all windows and threads, so it keeps no state about a window.

    Attributes:
        of_events: ``complete`` only checks events, and is skipped if there are none.
        of_repetition: ``complete`` is skipped if no query ran more than once; it is skipped as well if the rule
            ``concerns`` no operation of the window.
    """

    of_events: ClassVar[bool] = False
    of_repetition: ClassVar[bool] = False

    def finding_in(
        self, window: Window, about: Operation | Repetition, key: tuple[object, ...], **fields: Any
    ) -> Finding:
        """As ``finding``, with statement, database and line of an operation or a repetition of it, and its window."""
        return self.finding(
            key,
            statement=about.statement,
            database=about.database,
            call_site=about.call_site,
            trace=f"{window.trace_id:032x}",
            route=window.name,
            **fields,
        )

    def visit(self, operation: Operation, window: OpenWindow | None) -> Finding | None:
        """Check one operation that took at least as long as the lowest limit; this is the hot path.

        Returns:
            A finding about this operation, for its own span.
        """
        return None

    def concerns(self, shape: Shape) -> bool:
        """Whether the rule may have something to say of an operation that looks like this, which is asked once."""
        return True

    def complete(self, window: Window) -> Iterable[Finding]:
        """Check a window when it closes, or when it reached its bounds and is about to be emptied."""
        return ()

    def ended(self, window: OpenWindow | Window) -> None:
        """Note of the process what must be noted as the root of a window ends; it is judged some time later.

        It is called for windows without such a root, and for a part of one, just before ``complete``.
        """

    def conclude(self, window: OpenWindow, route: str) -> Iterable[Finding]:
        """Check the totals of a window when it closes and its route is known.

        Its operations were passed to ``complete`` before and are no longer available.
        """
        return ()


class PlanRule(Rule):
    """A rule that looks at the plan of a query, on a thread of its own, some time after the query ran."""

    def judge(self, explained: ExplainedQuery) -> Iterable[Finding]:
        """Look at one plan."""
        return ()

    def about(self, explained: ExplainedQuery, id: str) -> Finding:  # noqa: A002 - what a finding calls it
        """A finding about the query, without its texts."""
        operation = explained.operation
        return Finding(
            rule=self.name,
            id=id,
            severity="warning",
            category=self.category,
            title="",
            description="",
            impact=0.0,
            statement=operation.statement,
            database=operation.database,
            call_site=operation.call_site,
            relationship=operation.relationship,
            trace=f"{operation.context.trace_id:032x}" if operation.context is not None else "",
            route=explained.route,
            plan=explained.summary,
        )


class SnapshotRule(Rule):
    """A rule that checks the totals of the process, every ten seconds and at exit.

    Attributes:
        withdraws: Findings that the rule no longer reports are withdrawn.
    """

    withdraws: ClassVar[bool] = False

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Check the totals. The same fault has the same id every time, and is reported once."""
        return ()
