"""Recommendations as log events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import SeverityNumber

from dbsight import semconv
from dbsight.report.log_events import LogEvents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry._logs import LoggerProvider

    from dbsight.model import Recommendation

_MAX_TOLD: Final = 1000


class RecommendationLog:
    """Emits each recommendation of medium or high priority once, as a log event named ``dbsight.recommendation``.

    Args:
        provider: None follows the global one.
    """

    def __init__(self, provider: LoggerProvider | None = None) -> None:
        self._events = LogEvents(provider)
        self._told: set[str] = set()

    def emit(self, recommendations: Iterable[Recommendation]) -> None:
        """Emit those that are new."""
        for each in recommendations:
            if each.priority == "low" or each.id in self._told or len(self._told) >= _MAX_TOLD:
                continue
            self._told.add(each.id)
            attributes: dict[str, Any] = {
                semconv.RECOMMENDATION_ID: each.id,
                semconv.RECOMMENDATION_PRIORITY: each.priority,
                semconv.RECOMMENDATION_CATEGORY: each.category,
                semconv.RECOMMENDATION_DESCRIPTION: each.description,
                semconv.RECOMMENDATION_IMPACT: each.impact,
                semconv.RECOMMENDATION_EFFORT: each.effort,
            }
            if each.details.get("suggestion"):
                attributes[semconv.RECOMMENDATION_SUGGESTION] = each.details["suggestion"]
            self._events.emit(semconv.RECOMMENDATION_EVENT, SeverityNumber.INFO, each.title, attributes)

    def reset(self) -> None:
        """Forget which recommendations were emitted: each is emitted again."""
        self._told.clear()
