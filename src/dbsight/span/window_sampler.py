"""The sampler around the application's: it has local roots recorded that are not sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, get_current_span

from dbsight import semconv
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes

ROOT_KINDS: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
"""A span of these kinds is a unit of work of its own, even below a local parent."""


class WindowSampler(Sampler):
    """Records local roots that the wrapped sampler drops: unsampled work is judged like any other.

    Such a span is not handed to the wrapped processors, its children stay dropped, and nothing more is exported.

    Args:
        inner: The provider's own sampler; its decisions, attributes and trace state stand.
        recorded: Called with the id of each trace whose root is recorded for dbsight alone.
    """

    def __init__(self, inner: Sampler, recorded: Callable[[int], object]) -> None:
        self.inner = inner
        self._recorded = recorded

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """As the wrapped sampler decides, but RECORD_ONLY instead of DROP for a span that opens a window."""
        result = self.inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is not Decision.DROP or kind is SpanKind.CLIENT:
            return result
        try:
            parent = get_current_span(parent_context).get_span_context()
            if parent.is_valid and not parent.is_remote and kind not in ROOT_KINDS:
                return result
            if name == semconv.WINDOW_SPAN:
                return result
            self._recorded(trace_id)
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        except Exception:
            failed("span.window_sampler")
            return result

    def get_description(self) -> str:
        """As the wrapped sampler's."""
        return self.inner.get_description()
