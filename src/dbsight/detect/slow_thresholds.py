"""When a query counts as slow: the limits of its database system, and the exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.detect.suppressions import Overrides

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.model import Operation, QueryClass

_MAX_SYSTEMS = 100


class SlowThresholds:
    """The slow and very slow limits in force.

    Attributes:
        lowest: s; the lowest limit of any system: a normal query costs one comparison.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits: dict[str, tuple[float, float]] = {}
        self._overrides = Overrides(settings)
        self.lowest = min(
            *(settings.limits(system)[0] for system in ("", *settings.slow_query_thresholds)),
            *self._overrides.every("slow_query_threshold"),
            *self._overrides.every("very_slow_query_threshold"),
        )

    def of(self, system: str) -> tuple[float, float]:
        """Return the slow and very slow limits of a database system, s."""
        limits = self._limits.get(system)
        if limits is None:
            limits = self._settings.limits(system)
            if len(self._limits) < _MAX_SYSTEMS:
                self._limits[system] = limits
        return limits

    def over(self, operation: Operation, route: str = "") -> tuple[float, float]:
        """Return the slow and very slow limits of an operation, s, with overrides for its fingerprint, tables or route.

        Args:
            operation: The operation.
            route: Name of its unit of work as far as it is known.
        """
        slow, very_slow = self.of(operation.database.system)
        value, statement = self._overrides.value, operation.statement
        own = value("slow_query_threshold", statement, route, None)
        own_very = value("very_slow_query_threshold", statement, route, None)
        if own is None and own_very is None:
            return slow, very_slow
        slow = min(slow, own_very) if own is None else own
        return slow, max(slow, very_slow if own_very is None else own_very)

    def classify(self, operation: Operation, route: str = "") -> tuple[QueryClass | None, float | None]:
        """Return the class of an operation and the limit that it exceeded; ``(None, None)`` for a normal one.

        Statements that wait by design, pings and connection setup are never slow.
        """
        if operation.duration < self.lowest:
            return None, None
        slow, very_slow = self.over(operation, route)
        statement = operation.statement
        if operation.duration < slow or statement.blocking or statement.ping or statement.setup:
            return None, None
        return ("very_slow", very_slow) if operation.duration >= very_slow else ("slow", slow)
