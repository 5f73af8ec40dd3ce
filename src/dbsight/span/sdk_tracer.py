"""What only spans of the SDK's tracers need.

It imports the SDK, and is imported with the first tracer: where nobody makes spans, as while tests are watched, the
SDK is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import opentelemetry.sdk.trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import Tracer as SDKTracer
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased
from opentelemetry.trace import NonRecordingSpan

from dbsight.span.emission import emit, hand_over, span_class
from dbsight.span.synthetic_root import SyntheticRoot

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

__all__ = [
    "SPANS",
    "Decision",
    "SDKTracer",
    "SyntheticRoot",
    "Wrapping",
    "emit",
    "follows_parent",
    "hand_over",
    "is_benign",
    "measures_itself",
    "span_class",
]

SPANS = frozenset((NonRecordingSpan, getattr(opentelemetry.sdk.trace, "_Span", NonRecordingSpan)))
"""What is in a context nearly always; private names, without which ``get_current_span`` is asked."""

_HARMLESS = (SpanProcessor, BatchSpanProcessor, SimpleSpanProcessor)
"""Processors that do nothing when a span starts, nor as it is ending."""


class Wrapping(SpanProcessor):
    """A processor of ours around others: what it does at the start of a span does not concern query spans.

    Attributes:
        processors: The wrapped ones; replaced whole when one is added.
    """

    processors: tuple[SpanProcessor, ...] = ()
    _batching: tuple[tuple[SpanProcessor, ...] | None, bool] = (None, False)

    def batches(self) -> bool:
        """Whether all wrapped processors export in batches, so that nobody waits for a span."""
        known, batching = self._batching
        processors = self.processors
        if known is not processors:
            batching = all(type(each).on_end is BatchSpanProcessor.on_end for each in processors)
            self._batching = (processors, batching)
        return batching


def follows_parent(sampler: Sampler) -> bool:
    """Whether below a local parent this sampler always decides as for the parent: parent based, as by default.

    Private names of ``ParentBased`` are read; without them, the sampler is asked every time.
    """
    sampler = getattr(sampler, "inner", sampler)  # ours around the provider's: it changes nothing below a parent
    return (
        isinstance(sampler, ParentBased)
        and type(sampler).should_sample is ParentBased.should_sample
        and getattr(sampler, "_local_parent_sampled", None) is ALWAYS_ON
        and getattr(sampler, "_local_parent_not_sampled", None) is ALWAYS_OFF
    )


def measures_itself(sdk: SDKTracer) -> bool:
    """Whether the SDK counts the spans that it starts; it can only count those that it makes."""
    metrics = getattr(sdk, "_tracer_metrics", None)
    return metrics is not None and not type(metrics).__name__.startswith("NoOp")


def is_benign(processor: SpanProcessor) -> bool:
    """Return whether a processor ignores the start of spans: its hooks are known not to need it."""
    kind = type(processor)
    return issubclass(kind, Wrapping) or (
        any(kind.on_start is known.on_start for known in _HARMLESS)
        and any(kind._on_ending is known._on_ending for known in _HARMLESS)
    )
