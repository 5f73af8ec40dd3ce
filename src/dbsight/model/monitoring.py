"""What the process learns over time: alerts, and recommendations ranked by the time that they save."""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from dbsight.model.finding import Category, Effort

Priority = Literal["low", "medium", "high"]

PRIORITIES: tuple[Priority, ...] = ("low", "medium", "high")
"""From the least to the most urgent."""


class AlertSeverity(str, Enum):
    """Severity of an alert; each member equals its value."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @classmethod
    def _missing_(cls, value: object) -> AlertSeverity:
        """Take a name in other letters; tell which there are."""
        if isinstance(value, str) and value.lower() in list(cls):
            return cls(value.lower())
        raise ValueError(f"{value!r} is not one of {', '.join(each.value for each in cls)}")


@record(frozen=True)
class Alert:
    """A threshold that was crossed, or is no longer.

    Attributes:
        severity: How serious it is.
        message: What was measured and what the limit is, in one sentence.
        metric_name: ``error_rate``, ``connection_pool_usage``, ``query_duration`` …
        current_value: What was measured: s, a share from 0 to 1, or a count, depending on the metric.
        threshold_value: The limit, in the same unit.
        subject: What it is about where there are several: the name of a pool, the fingerprint of a query; else empty.
        at_ns: When it was raised or cleared, ns since the epoch.
        state: ``raised`` or ``cleared``.
    """

    severity: AlertSeverity
    message: str
    metric_name: str
    current_value: float
    threshold_value: float
    subject: str = ""
    at_ns: int = 0
    state: Literal["raised", "cleared"] = "raised"


@record()
class RouteTotals:
    """The requests, jobs and other windows of one route over the life of the process.

    Attributes:
        route: As in ``WindowSummary``; ``other`` for those that found no room.
        windows: How many ended.
        calls: Operations in all of them together.
        db_time: s in the database.
        duration: s; the durations of all windows added.
        max_calls: Operations of the one that had the most.
        findings: Findings at warning or above.
    """

    route: str
    windows: int = 0
    calls: int = 0
    db_time: float = 0.0
    duration: float = 0.0
    max_calls: int = 0
    findings: int = 0


@record(frozen=True)
class Recommendation:
    """One change that would help, merged from findings and totals.

    Attributes:
        id: Stable across processes and runs: that of the finding, or of the rule about totals.
        priority: ``high``, ``medium`` or ``low``.
        title: What is wrong, in one line.
        category: As for findings.
        description: What was seen, in a sentence or two.
        impact: s that the change would have saved so far.
        effort: How much work the change is.
        details: ``suggestion``, ``count``, ``rule``, ``call_site`` and the like, where they are known.
    """

    id: str
    priority: Priority
    title: str
    category: Category
    description: str
    impact: float
    effort: Effort
    details: dict[str, Any] = field(default_factory=dict)
