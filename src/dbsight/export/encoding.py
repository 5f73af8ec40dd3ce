"""OTLP encoding that encodes the common parts of spans only once.

Half of the cost of a query span is its encoding, in the exporter's thread, which holds the GIL. Spans that share their
attributes (``model.SharedAttributes``) differ only in ids and times: the common part is encoded once and cached on the
attributes; ids and times are appended per span. Name, kind and status of spans with the same name come from the stock
encoder; attributes are encoded here, with a cache for frequent values, and so are roots and the events of findings.
All other spans use the stock encoder. A collector receives the same data.

The wire format of ids, times and attributes is written here (``opentelemetry/proto/trace/v1/trace.proto``, messages
``Span`` and ``KeyValue``): field numbers and types of a stable protocol never change. The bytes are not parsed
into messages again: the exporters are given a message that contains them as unknown fields.
"""

from __future__ import annotations

import importlib
from struct import Struct
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import DEFAULT_TRACE_STATE

from dbsight import semconv
from dbsight.export.encodable import Careful, clean_resource, clean_scope, clean_span, encode_with, is_encodable
from dbsight.model import SharedAttributes, TextAttributes
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    Encode = Callable[[Sequence[ReadableSpan]], Any]

# Key bytes are field number * 8 + wire type: trace_id 1, span_id 2 and parent_span_id 4 are bytes of known length,
# start_time_unix_nano 7 and end_time_unix_nano 8 are fixed64, little-endian.
_OWN = Struct("<2s8ssQsQ")
"""The fields that differ in each span, but for those that it has in common with others below the same parent."""
_TIMES = Struct("<sQsQ")
_TIME = Struct("<sQ")
_NUMBER = Struct("<sd")
_FLOAT = Struct("<d")
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START, _END = b"\x39", b"\x41"
_BELOW = len(_TRACE_ID) + 16 + len(_PARENT_ID) + 8 + _OWN.size  # bytes of all but what spans share, with a parent
_RESOURCE_SPANS = b"\x0a"  # of ExportTraceServiceRequest, field 1
_SCOPE_SPANS = b"\x12"  # of ResourceSpans, field 2
_SPANS = b"\x12"  # of ScopeSpans, field 2
_ATTRIBUTES = b"\x4a"  # Span.attributes, field 9
_EVENTS = b"\x5a"  # Span.events, field 11
_KEY, _VALUE = b"\x0a", b"\x12"  # of KeyValue, fields 1 and 2
_STRING, _BOOL, _INT, _DOUBLE, _ARRAY = b"\x0a", b"\x10", b"\x18", b"\x21", b"\x2a"  # of AnyValue, fields 1 to 5
_ELEMENT = b"\x0a"  # of ArrayValue, field 1
_EVENT_TIME, _EVENT_NAME, _EVENT_ATTRIBUTES = b"\x09", b"\x12", b"\x1a"  # of Event, fields 1, 2 and 3
_FINDING = _EVENT_NAME + bytes((len(semconv.FINDING_EVENT),)) + semconv.FINDING_EVENT.encode()
_PLAIN = frozenset((str, int, float, bool))
_KNOWN_TYPES = _PLAIN | {tuple}
_IDS = ("trace_id", "span_id", "parent_span_id")
_UNSIGNED = 2**64 - 1
_TRACE_STATE = 4
"""Where it stands in a ``SpanContext``, which is a tuple."""

_MAX_KEPT = 10_000
"""Maximum number of attributes, and of span names, that are cached in encoded form."""
_MAX_SCOPES = 200
"""The same of resources with their scopes."""
_MAX_TEXTS, _LONGEST_TEXT = 2_000, 300
"""The same of texts of single operations, and their maximum length in characters: 1 MB at most."""


class Encoder(Careful):
    """``encode_spans`` of the stock exporters, faster for spans that share their attributes.

    Args:
        stock: The stock encoder, for everything else.
    """

    def __init__(self, stock: Encode) -> None:
        super().__init__(stock, clean_span)
        # Imported here, because protobuf is only installed with an exporter that needs it.
        self._empty = importlib.import_module("google.protobuf.empty_pb2").Empty
        self._frames: dict[tuple[Any, ...], bytes] = {}
        # With what they are the encoded form of: it must live as long as its identity is remembered.
        self._scopes: dict[tuple[int, int], tuple[Resource, InstrumentationScope | None, bytes, bytes]] = {}
        self._attributes: dict[tuple[str, Any], bytes] = {}
        self._texts: dict[str, bytes] = {}
        self._text_names: tuple[str, ...] = ()  # for which these were encoded

    def __call__(self, spans: Sequence[ReadableSpan]) -> Any:
        """Encode spans. On an error, the stock encoder encodes them in encodable form.

        Returns:
            A message that is serialised to the bytes of an ``ExportTraceServiceRequest``.
        """
        try:
            return self._encode(spans)
        except Exception:
            clean = [clean_span(span) for span in spans]
            try:
                message = self.stock(clean)
            except Exception:
                return self._one_by_one(([each] for each in clean), [])
            if all(one is other for one, other in zip(clean, spans, strict=True)):
                failed("export.encoding")  # where the stock encoder did not
            return message

    def _encode(self, spans: Sequence[ReadableSpan]) -> Any:
        alike: dict[tuple[int, int], tuple[ReadableSpan, list[bytes]]] = {}
        roots: dict[tuple[int, int], tuple[ReadableSpan, list[bytes]]] = {}
        others: list[Any] = []
        pieces: list[bytes] = []
        resource = scope = parent = None
        family, rest = b"", 0  # consecutive spans with the same parent share these bytes; how many others are known
        for span in spans:
            attributes: Any = span._attributes
            above = span._parent
            # A context is a tuple: indexing is cheaper than a property.
            context: tuple[Any, ...] = span._context  # type: ignore[assignment]
            kind = type(attributes)
            text = b""
            if kind is SharedAttributes:
                shared = attributes
            elif kind is TextAttributes and attributes.changed is None:
                shared = attributes.shared
                if shared.texts != self._text_names:
                    self._texts, self._text_names = {}, shared.texts
                text = self._texts.get(attributes.text) or self._text(attributes.text)
            else:
                shared = None
            # One that comes after another below the same parent is alike in more than its attributes.
            if (
                shared is None
                or above is not parent
                or above is None
                or context[_TRACE_STATE] is not DEFAULT_TRACE_STATE
                or span._events
                or span._links
            ):
                if shared is None or not _is_alike(span):
                    whole = self._of_root(span)
                    if whole is None:
                        others.append(clean_span(span))
                    else:
                        key = id(span._resource), id(span._instrumentation_scope)
                        roots.setdefault(key, (span, []))[1].extend(whole)
                    continue
                parent = above
                family = _TRACE_ID + context[0].to_bytes(16, "big")
                if above is not None:
                    family += _PARENT_ID + above.span_id.to_bytes(8, "big")
                rest = len(family) + _OWN.size
            if span._resource is not resource or span._instrumentation_scope is not scope:
                resource, scope = span._resource, span._instrumentation_scope
                pieces = alike.setdefault((id(resource), id(scope)), (span, []))[1]
            head, common = shared.encoded or self._common(span, shared)
            if text or above is None:
                length = rest + len(common) + len(text)
                head = _HEADS[length] if length < _KNOWN_VARINTS else _SPANS + _varint(length)
            own = _OWN.pack(_SPAN_ID, context[1].to_bytes(8, "big"), _START, span._start_time, _END, span._end_time)
            pieces += (head, family, own, common, text)
        if not alike and not roots:
            return self.stock(others)
        parts = [self.stock(others).SerializeToString()]
        for first, encoded in (*alike.values(), *roots.values()):
            parts += self._under_scope_of(first, encoded)
        return self._carrying(b"".join(parts))

    def _under_scope_of(self, span: ReadableSpan, spans: Sequence[bytes]) -> Sequence[bytes]:
        """One element of ``resource_spans``: resource, scope and schema as the stock encoder writes them, and spans."""
        resource, scope = span._resource, span._instrumentation_scope
        key = id(resource), id(scope)
        known = self._scopes.get(key)
        if known is None or known[0] is not resource or known[1] is not scope:
            frame = self.stock((_bare(span),)).resource_spans[0]
            scope_spans = frame.scope_spans[0]
            del scope_spans.spans[:]
            of_scope = scope_spans.SerializeToString()
            del frame.scope_spans[:]
            known = (resource, scope, frame.SerializeToString() + _SCOPE_SPANS, of_scope)
            _keep(self._scopes, key, known, _MAX_SCOPES)
        _, _, about, of_scope = known
        length = len(of_scope) + sum(map(len, spans))
        about += _varint(length)
        return _RESOURCE_SPANS, _varint(len(about) + length), about, of_scope, *spans

    def _of_root(self, span: ReadableSpan) -> list[bytes] | None:
        """A rebuilt root, in pieces, with its findings if any; None if the stock encoder must see the span."""
        context, parent, events, attributes = span._context, span._parent, span._events, span._attributes
        if (
            type(attributes) is not dict  # another type may have dropped some
            or type(events) is not tuple
            or context is None
            or context.trace_state
            or span._links
            or span.dropped_links
            or not all(event.name == semconv.FINDING_EVENT for event in events)
            or clean_resource(span._resource) is not span._resource
            or clean_scope(span._instrumentation_scope) is not span._instrumentation_scope
        ):
            return None
        try:
            parts = [
                _TRACE_ID + context.trace_id.to_bytes(16, "big"),
                _SPAN_ID + context.span_id.to_bytes(8, "big"),
                _TIMES.pack(_START, span._start_time, _END, span._end_time),
                self._frame(span),
            ]
            if parent is not None:
                parts.append(_PARENT_ID + parent.span_id.to_bytes(8, "big"))
            parts += map(self._plain, attributes.items())
            for event in events:
                encoded = self._event(event)
                parts += (_EVENTS, _varint(len(encoded)), encoded)
        except Exception:
            return None
        return [_SPANS, _varint(sum(map(len, parts))), *parts]

    def _event(self, event: Event) -> bytes:
        """One event of a finding, without its key and length.

        Raises:
            ValueError: An attribute is not plain, or cannot be encoded as it is.
        """
        parts = [_TIME.pack(_EVENT_TIME, event.timestamp), _FINDING]
        for attribute in (event.attributes or {}).items():
            name, value = attribute
            if type(value) is str and name == semconv.FINDING_DESCRIPTION:  # differs from request to request
                encoded = _text_attribute(name, _checked(value))
            else:
                encoded = self._plain(attribute)
            parts += (_EVENT_ATTRIBUTES, encoded[1:])
        return b"".join(parts)

    def _plain(self, attribute: tuple[str, Any]) -> bytes:
        """One attribute of a root or of a finding.

        Raises:
            ValueError: It is not plain, or cannot be encoded as it is.
        """
        name, value = attribute
        kind = type(value)
        if kind is float:
            return _number_attribute(name, value)
        # What was encoded before needs no check. A truth value is equal to a number, and is not cached.
        known = self._attributes.get(attribute) if kind is str or kind is int else None
        return self._known((name, _checked(value))) if known is None else known

    def _carrying(self, request: bytes) -> Any:
        """Return a message that serialises to these bytes, because unknown fields are preserved."""
        message = self._empty()
        message.ParseFromString(request)
        if message.ByteSize() != len(request):
            raise ValueError("this protobuf does not keep unknown fields")
        return message

    def _text(self, text: str) -> bytes:
        """A text of its own under each of its names, cached if it may recur: keys that are read are read again."""
        encoded = b"".join([_text_attribute(name, text) for name in self._text_names])
        if len(text) <= _LONGEST_TEXT:
            _keep(self._texts, text, encoded, _MAX_TEXTS)
        return encoded

    def _common(self, span: ReadableSpan, attributes: SharedAttributes) -> tuple[bytes, bytes]:
        """Encode what similar spans share: everything except ids, times, and a text of its own.

        Returns:
            The key and the length of a span with a parent and without a text, and the encoded part.
        """
        if clean_span(span) is not span:
            raise ValueError("not to be encoded as it is")
        parts = [self._frame(span)]
        for attribute in attributes.items():
            plain = type(attribute[1]) in _PLAIN
            parts.append(self._known(attribute) if plain else self._stock_attribute(span, attribute[0]))
        common = b"".join(parts)
        attributes.encoded = (_SPANS + _varint(_BELOW + len(common)), common)
        return attributes.encoded

    def _frame(self, span: ReadableSpan) -> bytes:
        """Name, kind, status and flags, cached."""
        status, parent = span._status, span._parent
        key = (span._name, span._kind, status.status_code, status.description, parent is not None and parent.is_remote)
        frame = self._frames.get(key)
        if frame is None:
            if not is_encodable(key[0]) or not is_encodable(key[3]):
                raise ValueError("not to be encoded as it is")
            message = self._message(_bare(span, name=span._name, parent=parent, kind=span._kind, status=status))
            for name in _IDS:
                message.ClearField(name)
            frame = message.SerializeToString()
            _keep(self._frames, key, frame)
        return frame

    def _known(self, attribute: tuple[str, Any]) -> bytes:
        """One element of ``Span.attributes`` with a plain value, cached if it may recur."""
        name, value = attribute
        kind = type(value)
        # Each text differs; recurring ones are cached with their attributes. A truth value is equal to a number.
        if (kind is not str and kind is not int) or name == semconv.DB_QUERY_TEXT:
            return _attribute(name, value)
        known = self._attributes.get(attribute)
        if known is None:
            known = _attribute(name, value)
            _keep(self._attributes, attribute, known)
        return known

    def _message(self, span: ReadableSpan) -> Any:
        return self.stock((span,)).resource_spans[0].scope_spans[0].spans[0]

    def _stock_attribute(self, span: ReadableSpan, name: str) -> bytes:
        """Encode one attribute of an uncommon type with the stock encoder."""
        found = [each.SerializeToString() for each in self._message(span).attributes if each.key == name]
        return b"".join([_ATTRIBUTES + _varint(len(each)) + each for each in found])


def _checked(value: Any) -> Any:
    if type(value) not in _KNOWN_TYPES or not is_encodable(value):
        raise ValueError("not to be encoded here")
    return value


def _bare(span: ReadableSpan, name: str = "", **kept: Any) -> ReadableSpan:
    """A span with the same resource and scope, and nothing else but what is kept."""
    resource, scope = span._resource, span._instrumentation_scope
    return ReadableSpan(name, span._context, resource=resource, instrumentation_scope=scope, **kept)


def _keep(kept: dict[Any, Any], key: Any, encoded: Any, most: int = _MAX_KEPT) -> None:
    if len(kept) >= most:
        kept.clear()
    kept[key] = encoded


def _attribute(name: str, value: Any) -> bytes:
    """One element of ``Span.attributes``: a text, a truth value, a number, an integer of 64 bits, a tuple of these."""
    key, encoded = name.encode(), _any_value(value)
    pair = _KEY + _varint(len(key)) + key + _VALUE + _varint(len(encoded)) + encoded
    return _ATTRIBUTES + _varint(len(pair)) + pair


def _any_value(value: Any) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return _STRING + _varint(len(text)) + text
    if isinstance(value, bool):
        return _BOOL + _varint(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise OverflowError("an integer of more than 64 bits")
        return _INT + _varint(value & _UNSIGNED)
    if isinstance(value, tuple):
        elements = b"".join([_ELEMENT + _varint(len(each)) + each for each in map(_any_value, value)])
        return _ARRAY + _varint(len(elements)) + elements
    return _NUMBER.pack(_DOUBLE, value)


def _text_attribute(name: str, text: str) -> bytes:
    """The same for a text that differs each time: the constant part is cached, lengths are read."""
    key = _names.get(name)
    if key is None:
        encoded = name.encode()
        key = _names[name] = _KEY + _varint(len(encoded)) + encoded + _VALUE
    value = text.encode()
    length = len(value)
    if length > _KNOWN_VARINTS - 100:
        return _attribute(name, text)
    size = _VARINTS[length]
    inner = _VARINTS[1 + len(size) + length]
    pair = len(key) + len(inner) + 1 + len(size) + length
    return b"".join((_ATTRIBUTES, _VARINTS[pair], key, inner, _STRING, size, value))


def _number_attribute(name: str, number: float) -> bytes:
    """The same for a floating-point number: all before its eight bytes is cached."""
    head = _heads.get(name)
    if head is None:
        head = _heads[name] = _attribute(name, 0.0)[: -_FLOAT.size]
    return head + _FLOAT.pack(number)


_names: dict[str, bytes] = {}
"""The encoded first part of attributes whose values are not cached, by name."""

_heads: dict[str, bytes] = {}
"""That of attributes that are floating-point numbers."""


def _is_alike(span: ReadableSpan) -> bool:
    attributes: Any = span._attributes
    kind = type(attributes)
    ordinary = kind is SharedAttributes or (kind is TextAttributes and attributes.changed is None)
    context, parent = span._context, span._parent
    if not ordinary or context is None or span._events or span._links:
        return False
    _, _, _, _, trace_state, _ = context
    # The common case; other classes need a call.
    if trace_state is not DEFAULT_TRACE_STATE and trace_state:
        return False
    if parent is None:
        return True
    _, _, remote, _, _, _ = parent
    return not remote  # according to the flags


def _varint(number: int) -> bytes:
    """Encode a non-negative number as a protobuf varint: seven bits per byte, the lowest first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_KNOWN_VARINTS = 2_048
_VARINTS = tuple(map(_varint, range(_KNOWN_VARINTS)))
"""The varints of common lengths."""
_HEADS = tuple([_SPANS + length for length in _VARINTS])
"""Key and length of spans of common lengths."""


def install_encoder(exporter: object) -> bool:
    """Install this encoder in an OTLP span exporter of the SDK; returns as ``encode_with``."""
    return bool(encode_with(exporter, "encode_spans", Encoder))
