"""What the analysers say of a query, of a unit of work, and of the process."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from dbsight import semconv
from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model.monitoring import Priority
    from dbsight.model.plan import PlanSummary
    from dbsight.model.query import CallSite, Database, Statement

Severity = Literal["info", "warning", "error"]
Category = Literal["index", "query", "pool", "cache", "workload", "memory", "lock"]
Effort = Literal["low", "medium", "high"]
QueryClass = Literal["slow", "very_slow"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the most severe."""

PRIORITY_OF: dict[Severity, Priority] = {"info": "low", "warning": "medium", "error": "high"}
"""How urgent a finding is by itself. A recommendation is raised to ``high`` where it would save much of the total."""


@record()
class Finding:
    """One fault, with its place and its fix.

    Attributes:
        rule: Name of the rule that made it.
        id: Stable across processes and runs: rule, fingerprint, place. ``n1-7c1e9a40``.
        severity: ``info``, ``warning`` or ``error``.
        category: What part of the system it is about.
        title: One line, without numbers that change from run to run where that can be avoided.
        description: What was seen, in a sentence or two.
        suggestion: Code that can be pasted, empty when there is none.
        impact: s that the fix would save in this window.
        effort: How much work the fix is.
        count: How often it was seen in this window.
        metric: What was measured (``duration``, ``count`` …), empty when nothing was compared.
        current_value: What it was.
        threshold: What it was compared with.
        statement: The statement concerned.
        database: Where it ran.
        call_site: Where in the application.
        relationship: The ORM relationship.
        trace: 32 hexadecimal digits of a trace that shows it.
        route: Name of the window that it was found in, ``GET /orders``.
        plan: The plan of the statement, None when it is not known.
        root: Id of the finding of the same window that has the same cause, empty when there is none.
        details: More numbers for reports, not exported as attributes.
    """

    rule: str
    id: str
    severity: Severity
    category: Category
    title: str
    description: str
    suggestion: str = ""
    impact: float = 0.0
    effort: Effort = "low"
    count: int = 1
    metric: str = ""
    current_value: float | None = None
    threshold: float | None = None
    statement: Statement | None = None
    database: Database | None = None
    call_site: CallSite | None = None
    relationship: str | None = None
    trace: str = ""
    route: str = ""
    plan: PlanSummary | None = None
    root: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def priority(self) -> Priority:
        """How urgent it is: ``low``, ``medium`` or ``high``."""
        return PRIORITY_OF[self.severity]

    @property
    def runbook(self) -> str:
        """Address of the page that describes its rule and leads to a runbook."""
        return f"{semconv.RULES_PAGE}#{self.rule}"


class Verdict:
    """What must stand on a query's own span.

    Attributes:
        query_class: ``slow`` or ``very_slow``, None for a normal query.
        threshold: s; the limit that it crossed.
        findings: The findings about this query alone.
        events: Those of them that are events on the span: all, or none where findings go to the log alone.
    """

    __slots__ = ("events", "findings", "query_class", "threshold")

    def __init__(
        self,
        query_class: QueryClass | None = None,
        threshold: float | None = None,
        findings: tuple[Finding, ...] = (),
        *,
        logged: bool = False,
    ) -> None:
        self.query_class: QueryClass | None = query_class
        self.threshold = threshold
        self.findings = findings
        self.events = () if logged else findings


@record()
class WindowSummary:
    """What is known of one unit of work when it is over.

    Attributes:
        name: Name of its root span; ``dbsight.window`` outside spans.
        route: ``http.route`` with its method, the task's name, or the root's name.
        trace_id: 128-bit integer.
        span_id: Of the root.
        sampled: Whether the root is exported.
        start_ns: When it began, ns since the epoch.
        duration: s.
        calls: Operations in it.
        db_time: s; the sum of their durations.
        findings: All of them: groups' and single queries'.
        request: Whether its root is a SERVER or CONSUMER span.
        concurrency: The most operations that ran at once.
    """

    name: str
    route: str
    trace_id: int
    span_id: int
    sampled: bool
    start_ns: int
    duration: float
    calls: int
    db_time: float
    findings: Sequence[Finding] = ()
    request: bool = False
    concurrency: int = 0


@record()
class MergedFinding:
    """A finding over the life of the process: one id, merged.

    Attributes:
        finding: The one with the largest impact.
        windows: In how many windows it was seen.
        count: Sum of the counts.
        impact: s; sum of the impacts.
        requests: How many of the windows were requests.
    """

    finding: Finding
    windows: int
    count: int
    impact: float
    requests: int = 0
