"""The slowest window of each route, with its queries: what reports draw."""

from __future__ import annotations

from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Final

from dbsight.model import Step, WindowExample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Operation, WindowSummary

MAX_EXAMPLES: Final = 30
"""Routes with an example; with more, those with findings and with the longest durations are kept."""

MAX_STEPS: Final = 200
"""Operations kept of one window."""

_LONGER: Final = 1.1
"""How many times longer than the known window one must be to replace it, so that few windows are copied."""


class Examples:
    """Examples of windows, bounded; threads may call everything at any time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, the lock included: in a forked child it may belong to a thread that does not exist."""
        self._lock = RLock()
        self._examples: dict[str, WindowExample] = {}

    def offer(self, summary: WindowSummary, operations: Sequence[Operation]) -> None:
        """Keep a closed window if it is the slowest of its route.

        Args:
            summary: Of the window.
            operations: Of the window, as far as they are known.
        """
        if not operations:
            return
        known = self._examples.get(summary.route)
        if known is not None and summary.duration <= known.duration * _LONGER:
            return
        ids = tuple(dict.fromkeys(found.id for found in summary.findings))
        if known is not None and known.findings and not ids:
            return
        with self._lock:
            if known is None and len(self._examples) >= MAX_EXAMPLES:
                least = min(self._examples.values(), key=_worth)
                if _worth(least) >= (bool(ids), summary.duration):
                    return
                self._examples.pop(least.route, None)
            self._examples[summary.route] = example_of(summary, operations)

    def all(self) -> list[WindowExample]:
        """All examples, those that took longest first."""
        with self._lock:
            return sorted(map(replace, self._examples.values()), key=lambda each: -each.duration)


def example_of(summary: WindowSummary, operations: Sequence[Operation]) -> WindowExample:
    """One closed window as it is shown.

    Args:
        summary: Of the window.
        operations: Of the window, as far as they are known.
    """
    return WindowExample(
        summary.route,
        f"{summary.trace_id:032x}",
        summary.start_ns,
        summary.duration,
        summary.request,
        summary.calls,
        summary.db_time,
        tuple(dict.fromkeys(found.id for found in summary.findings)),
        _steps(operations, summary.start_ns),
    )


def _worth(example: WindowExample) -> tuple[bool, float]:
    return bool(example.findings), example.duration


def _steps(operations: Sequence[Operation], start_ns: int) -> tuple[Step, ...]:
    first = sorted(operations, key=lambda each: each.start_ns)[:MAX_STEPS]
    return tuple(
        Step(
            max(0.0, (each.start_ns - start_ns) / 1e9),
            each.duration,
            max(0.0, (each.end_ns - start_ns) / 1e9),
            each.statement,
            each.pool_wait,
            each.connect_time,
            each.fetch_time,
            each.rows,
            each.error_type or "",
            each.call_site,
        )
        for each in first
    )
