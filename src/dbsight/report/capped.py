"""Limits for the values of attributes of metrics."""

from __future__ import annotations

from typing import Final

from dbsight import safety, semconv

CAP: Final = 500
"""Maximum number of values of an unbounded attribute (summaries, routes); the rest is ``other``."""


class Capped:
    """Keeps the first ``limit`` values; every further one becomes ``other``."""

    def __init__(self, limit: int = CAP) -> None:
        self._limit = limit
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return ``value``, or ``other`` if the limit is reached."""
        if value in self._values:
            return value
        if len(self._values) >= self._limit:
            safety.dropped("metric attribute values")
            return semconv.OTHER
        self._values.add(value)
        return value
