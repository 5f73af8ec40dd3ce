"""Make telemetry encodable in OTLP: replace unsupported values, so that one invalid record never loses others.

A lone surrogate in a name, an event, a status or a message makes the stock encoders raise, and the whole batch is lost;
in an attribute the key is dropped and an error logged. Here every text, key and number is checked before it is
encoded, which for ASCII texts is the check of a flag. Records that still fail are encoded one by one; only the invalid
ones are dropped and counted.

Records are read through the SDK's public names. A record is copied before it is changed, because other exporters get
the same object.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status

from dbsight.safety import dropped, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link

_T = TypeVar("_T")

LONGEST: Final = 1_048_576
"""Maximum characters, bytes or elements of one value: collectors accept four megabytes per batch of spans."""

DROPPED: Final = "telemetry that cannot be encoded"

_DEPTH: Final = 20
_HUGE_BITS: Final = 4_096
_PLAIN: Final = frozenset((bool, float, type(None)))


def is_encodable(value: Any, depth: int = 0) -> bool:
    """Return whether OTLP can encode a value unchanged."""
    kind = type(value)
    if kind is str:
        return len(value) <= LONGEST and (value.isascii() or _is_utf8(value))
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind is tuple or kind is list:
        return depth < _DEPTH and len(value) <= LONGEST and all(is_encodable(each, depth + 1) for each in value)
    if kind is dict:
        return depth < _DEPTH and _are_encodable(value, depth + 1)
    return kind in _PLAIN or (kind is bytes and len(value) <= LONGEST)


def encodable(value: Any, depth: int = 0) -> Any:
    """Convert a value to one that OTLP can encode.

    Pairs of surrogates become the character that they encode, lone ones U+FFFD; integers of more than 64 bits and
    values of other types become text; values that are too long are truncated.
    """
    if is_encodable(value):
        return value
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {encodable(_text_of(key)): encodable(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (str, bytes, memoryview)):
        return [encodable(each, depth + 1) for each in tuple(value)[:LONGEST]]
    return _encodable_scalar(value)


def _encodable_scalar(value: Any) -> Any:
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, memoryview)):
        return bytes(value[:LONGEST])
    text = _text_of(value)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and value.bit_length() > _HUGE_BITS:  # Python refuses to convert longer integers to text
        return f"an integer of {value.bit_length()} bits"
    try:
        return str(value)
    except Exception:
        return type(value).__name__


def _are_encodable(attributes: Any, depth: int = 0) -> bool:
    if not attributes:
        return True
    # Use the mapping inside bounded attributes: each access to these takes a lock.
    for key, value in getattr(attributes, "_dict", attributes).items():
        if type(key) is not str or not (key.isascii() or is_encodable(key)):
            return False
        if type(value) is str and len(value) <= LONGEST and value.isascii():
            continue
        if not is_encodable(value, depth):
            return False
    return True


def _attributes(attributes: Any) -> Any:
    return attributes if _are_encodable(attributes) else _bounded(attributes, encodable(dict(attributes)))


# -- Spans ------------------------------------------------------------------------------------------------------------
def clean_span(span: ReadableSpan) -> Any:
    """Return the span in encodable form: itself, or a copy."""
    changed: dict[str, Any] = {}
    if not is_encodable(span._name):
        changed["_name"] = encodable(span._name)
    attributes = _attributes(span._attributes)
    if attributes is not span._attributes:
        changed["_attributes"] = attributes
    if not is_encodable(span._status.description):
        changed["_status"] = Status(span._status.status_code, encodable(span._status.description))
    for name, clean in (("_events", _clean_event), ("_links", _clean_link)):
        parts = getattr(span, name)
        cleaned = _each(clean, parts)
        if cleaned is not parts:
            changed[name] = _bounded(parts, cleaned)
    resource, scope = clean_resource(span._resource), clean_scope(span._instrumentation_scope)
    if resource is not span._resource:
        changed["_resource"] = resource
    if scope is not span._instrumentation_scope:
        changed["_instrumentation_scope"] = scope
    return _changed(span, changed)


def _bounded(before: Any, after: Any) -> Any:
    """A replacement for bounded attributes or a bounded list, with the same number of dropped elements."""
    count = getattr(before, "dropped", 0)
    if not count:
        return after
    bounded = copy(before)
    for name in ("_dict", "_dq"):
        if hasattr(bounded, name):
            setattr(bounded, name, type(getattr(bounded, name))(after))
    return bounded


def _clean_event(event: Event) -> Any:
    if is_encodable(event.name) and _are_encodable(event.attributes):
        return event
    return _changed(event, {"_name": encodable(event.name), "_attributes": _attributes(event.attributes)})


def _clean_link(link: Link) -> Any:
    attributes = _attributes(link.attributes)
    return link if attributes is link.attributes else _changed(link, {"_attributes": attributes})


def _changed(record: Any, fields: Mapping[str, Any]) -> Any:
    if not fields:
        return record
    made: Any = copy(record)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


_clean: dict[int, Any] = {}
"""Resources and scopes known to be encodable, by identity; many spans share each."""

_MAX_CLEAN: Final = 200


def _noted(record: _T) -> _T:
    if len(_clean) >= _MAX_CLEAN:
        _clean.clear()
    _clean[id(record)] = record
    return record


def clean_resource(resource: Resource) -> Any:
    """Return the resource in encodable form."""
    if _clean.get(id(resource)) is resource:
        return resource
    if _are_encodable(resource.attributes) and is_encodable(resource.schema_url):
        return _noted(resource)
    return Resource(encodable(dict(resource.attributes)), encodable(resource.schema_url))


def clean_scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    """Return the scope in encodable form."""
    if scope is None or _clean.get(id(scope)) is scope:
        return scope
    texts = (scope.name, scope.version, scope.schema_url)
    if is_encodable(texts) and _are_encodable(scope.attributes):
        return _noted(scope)
    return InstrumentationScope(
        encodable(scope.name), encodable(scope.version), encodable(scope.schema_url), _attributes(scope.attributes)
    )


# -- Log records ------------------------------------------------------------------------------------------------------
def clean_log(readable: Any) -> Any:
    """Return the log record in encodable form: itself, or a copy."""
    record = readable.log_record
    fields: dict[str, Any] = {}
    for name in ("body", "severity_text", "event_name"):
        value = getattr(record, name, None)
        if not is_encodable(value):
            fields[name] = encodable(value)
    if not _are_encodable(record.attributes):
        fields["attributes"] = encodable(dict(record.attributes))
    return _replaced(
        readable,
        log_record=_changed(record, fields),
        resource=clean_resource(readable.resource),
        instrumentation_scope=clean_scope(readable.instrumentation_scope),
    )


# -- Metrics ----------------------------------------------------------------------------------------------------------
def clean_metrics(data: Any) -> Any:
    """Return metrics in encodable form: the same tree, or a copy with changed records."""
    return _replaced(data, resource_metrics=_each(_clean_group, data.resource_metrics))


def _clean_group(group: Any) -> Any:
    return _replaced(
        group, resource=clean_resource(group.resource), scope_metrics=_each(_clean_scoped, group.scope_metrics)
    )


def _clean_scoped(scoped: Any) -> Any:
    return _replaced(scoped, scope=clean_scope(scoped.scope), metrics=_each(_clean_metric, scoped.metrics))


def _clean_metric(metric: Any) -> Any:
    points = _each(_clean_point, metric.data.data_points)
    return _replaced(
        metric,
        name=encodable(metric.name),
        description=encodable(metric.description),
        unit=encodable(metric.unit),
        data=_replaced(metric.data, data_points=points),
    )


def _clean_point(point: Any) -> Any:
    fields = {"attributes": _attributes(point.attributes), "exemplars": _each(_clean_exemplar, point.exemplars)}
    value = getattr(point, "value", None)
    if isinstance(value, int) and not is_encodable(value):
        fields["value"] = float(value)
    return _replaced(point, **fields)


def _clean_exemplar(exemplar: Any) -> Any:
    return _replaced(exemplar, filtered_attributes=_attributes(exemplar.filtered_attributes))


def _each(clean: Callable[[Any], Any], records: Any) -> Any:
    """Clean each record; return the same list if none changed."""
    cleaned = [clean(each) for each in records or ()]
    return cleaned if any(one is not other for one, other in zip(cleaned, records or (), strict=True)) else records


def _replaced(record: Any, **fields: Any) -> Any:
    """Replace fields of a data class; return the same object if none changed."""
    changed = {name: value for name, value in fields.items() if value is not getattr(record, name)}
    return dataclasses.replace(record, **changed) if changed else record


# -- Encoders ---------------------------------------------------------------------------------------------------------
class Careful:
    """A stock encoder of a list of records that skips only the records that cannot be encoded.

    Args:
        stock: ``encode_spans`` or ``encode_logs`` of the stock exporters.
        clean: Function that makes one record encodable.
    """

    def __init__(self, stock: Callable[[Any], Any], clean: Callable[[Any], Any]) -> None:
        self.stock = stock
        self.clean = clean

    def __call__(self, records: Sequence[Any]) -> Any:
        """Encode the records.

        Returns:
            The message of the stock encoder.
        """
        records = [self.clean(each) for each in records]
        try:
            return self.stock(records)
        except Exception:
            return self._one_by_one(([each] for each in records), [])

    def _one_by_one(self, singles: Iterable[Any], nothing: Any) -> Any:
        """Encode batches of one record each.

        Args:
            singles: The batches.
            nothing: An empty batch.
        """
        request = self.stock(nothing)
        lost = 0
        for single in singles:
            part = self._alone(single)
            if part is None:
                lost += 1
            else:
                request.MergeFrom(part)
        if lost:
            dropped(DROPPED, lost)
        return request

    def _alone(self, single: Any) -> Any:
        try:
            return self.stock(single)
        except Exception:
            return None  # lost: counted above


class CarefulMetrics(Careful):
    """The same for metrics, which are passed as one tree.

    Args:
        stock: ``encode_metrics`` of the stock exporters.
        clean: Function that makes a tree encodable.
    """

    def __call__(self, data: Any) -> Any:
        """Encode the tree, or its metrics one by one."""
        data = self.clean(data)
        try:
            return self.stock(data)
        except Exception:
            return self._one_by_one(_singly(data), dataclasses.replace(data, resource_metrics=[]))


def _singly(data: Any) -> Iterable[Any]:
    """Metrics as trees of one metric each."""
    for group in data.resource_metrics:
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                one = dataclasses.replace(scoped, metrics=[metric])
                yield dataclasses.replace(data, resource_metrics=[dataclasses.replace(group, scope_metrics=[one])])


@guard
def encode_with(exporter: object, name: str, make: Callable[[Any], Careful]) -> bool:
    """Let an OTLP exporter of the SDK encode with another encoder.

    Its module calls the encoder by a global name (opentelemetry-exporter-otlp 1.42 to 1.45), which is set to what
    ``make`` returns for the stock encoder. Exporters only serialise the returned message.

    Args:
        exporter: An exporter.
        name: ``encode_spans``, ``encode_logs`` or ``encode_metrics``.
        make: Called with the stock encoder.

    Returns:
        Whether it was installed; False for an exporter that works differently, which is not changed.
    """
    for kind in type(exporter).__mro__:
        if not kind.__module__.startswith("opentelemetry.exporter.otlp.proto."):
            continue
        module = importlib.import_module(kind.__module__)
        stock = getattr(module, name, None)
        if callable(stock):
            if not isinstance(stock, Careful):
                setattr(module, name, make(stock))
            return True
    return False
