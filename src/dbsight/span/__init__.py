"""Creates one span from an operation and its verdict.

A query span has no children. Therefore no SDK span is started: the data of the span is recorded before the call, and
when the query ends, one ``ReadableSpan`` is built and passed to the processors (5 µs on the caller's thread instead of
19 to 26). If a processor implements ``on_start``, the tracer is not the SDK's, or the SDK's own metrics are enabled,
the ordinary path is taken. Both give the same span.

Private names of the SDK that are used here: ``Tracer._span_limits``, ``Tracer._is_enabled``,
``Tracer._instrumentation_scope``, ``SynchronousMultiSpanProcessor._span_processors``, ``SpanProcessor._on_ending``,
``BatchSpanProcessor._batch_processor`` and its queue; of the API, the ContextVar of the current context and the key of
the current span. Verified with opentelemetry-sdk 1.42 to 1.45; if one is missing, all queries take the ordinary path,
and spans are handed over one by one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dbsight.span.attributes import (
    changing_attributes,
    code_attributes,
    exception_event,
    finding_attributes,
    finding_event,
    plan_attributes,
    verdict_attributes,
)
from dbsight.span.factory import PendingSpan, SpanFactory
from dbsight.span.pending import PendingQuery
from dbsight.span.template import SpanTemplate, template_of

if TYPE_CHECKING:
    from dbsight.span.sdk_tracer import SyntheticRoot, Wrapping, emit, hand_over

__all__ = [
    "PendingQuery",
    "PendingSpan",
    "SpanFactory",
    "SpanTemplate",
    "SyntheticRoot",
    "Wrapping",
    "changing_attributes",
    "code_attributes",
    "emit",
    "exception_event",
    "finding_attributes",
    "finding_event",
    "hand_over",
    "plan_attributes",
    "template_of",
    "verdict_attributes",
]

_OF_THE_SDK = frozenset({"SyntheticRoot", "Wrapping", "emit", "hand_over"})
"""Names whose modules import the SDK."""


def __getattr__(name: str) -> Any:
    if name in _OF_THE_SDK:
        return getattr(importlib.import_module("dbsight.span.sdk_tracer"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
