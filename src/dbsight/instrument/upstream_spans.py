"""Queries that we watch and of which another instrumentation makes the span: OpenTelemetry's own.

Where another distribution runs, its span is the one that users know, and a second one would count everything twice. So
ours makes none; what it knows is written on the other one as that goes to the exporters. A result may still be read
when that span has ended already: the processor then holds it back until the query is over.

Private names of opentelemetry-instrumentation-sqlalchemy, the same in 0.63b0 to 0.66b1: ``EngineTracer``, and
``_otel_span`` on SQLAlchemy's execution context.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from dbsight.model import Operation, Verdict
    from dbsight.span import PendingQuery

UPSTREAM = "opentelemetry.instrumentation.sqlalchemy.engine"
"""The module whose tracers make spans; nothing is made elsewhere before it is imported."""

_MAX_OPEN = 10_000


class Claim:
    """One query between the two instrumentations.

    Args:
        context: Of the other span, below the operation's parent.
        attributes: What a span of ours would have had before the call.
        moved: The other span is a root of its own, and becomes a child of the operation's parent.

    Attributes:
        operation: What ours knows of it, once it was drained.
        verdict: What must stand on its span, once it was drained.
        made: The enriched span, which all processors get.
    """

    __slots__ = (
        "_lock",
        "_over",
        "_span",
        "_waiting",
        "attributes",
        "context",
        "made",
        "moved",
        "operation",
        "verdict",
    )

    def __init__(self, context: SpanContext, attributes: Mapping[str, Any], *, moved: bool) -> None:
        self.context = context
        self.operation: Operation | None = None
        self.attributes = attributes
        self.moved = moved
        self.verdict: Verdict | None = None
        self.made: ReadableSpan | None = None
        self._lock = threading.Lock()
        self._over = False
        self._span: ReadableSpan | None = None
        self._waiting: tuple[Callable[[Claim, ReadableSpan], None], ...] = ()

    def settle(self, operation: Operation, verdict: Verdict | None) -> None:
        """The query is over: hand on the span, if it has ended."""
        self.operation = operation
        self.verdict = verdict
        with self._lock:
            self._over = True
            waiting, self._waiting = self._waiting, ()
        for hand_on in waiting:
            assert self._span is not None
            hand_on(self, self._span)

    def ended(self, span: ReadableSpan, hand_on: Callable[[Claim, ReadableSpan], None]) -> None:
        """The span has ended: hand it on, now or as soon as the query is over."""
        with self._lock:
            self._span = span
            if not self._over:
                self._waiting = (*self._waiting, hand_on)
                return
        hand_on(self, span)


_open: dict[int, Claim] = {}  # by span id


def are_made_elsewhere(connection: Any) -> bool:
    """Whether OpenTelemetry's own instrumentation makes the spans of this connection's queries.

    Asked for each query: it may come after us, and covers no engine that was made before it.
    """
    upstream = sys.modules.get(UPSTREAM)
    if upstream is None:
        return False
    tracer = upstream.EngineTracer
    return any(
        isinstance(getattr(each, "__self__", None), tracer) for each in connection.dispatch.before_cursor_execute
    )


def claim(execution: Any, call: PendingQuery) -> Claim | None:
    """Find the span that was made of a query, before it ends.

    Args:
        execution: SQLAlchemy's execution context.
        call: The query.

    Returns:
        None where it is not recorded.
    """
    span = getattr(execution, "_otel_span", None)
    return claim_span(span, call) if span is not None and span.is_recording() else None


def claim_span(span: Any, call: PendingQuery) -> Claim:
    """Claim a span of another instrumentation that has not ended.

    Args:
        span: The span.
        call: The query of which it was made.
    """
    context = span.get_span_context()
    parent = call.parent
    moved = (
        getattr(span, "parent", None) is None
        and parent is not None
        and parent.trace_flags.sampled is context.trace_flags.sampled
    )
    if moved and parent is not None:
        context = SpanContext(
            parent.trace_id,
            context.span_id,
            is_remote=False,
            trace_flags=context.trace_flags,
            trace_state=context.trace_state,
        )
    made = Claim(context, call.template.attributes, moved=moved)
    if len(_open) >= _MAX_OPEN:  # never claimed: a provider without dbsight's processor
        _open.pop(next(iter(_open)), None)
    _open[context.span_id] = made
    return made


def of(span_id: int) -> Claim | None:
    """The claim on a span that has ended, once."""
    return _open.pop(span_id, None) if _open else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)
