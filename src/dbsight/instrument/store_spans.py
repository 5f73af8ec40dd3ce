"""What the spans of clients of Elasticsearch, MongoDB and S3 say: an operation, its target, and its values.

* Elasticsearch's clients make spans themselves (``elastic_transport``, scope ``elasticsearch-api``), of kind INTERNAL;
  they have the body of a search where ``OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_CAPTURE_SEARCH_QUERY=raw`` is set.
* ``opentelemetry-instrumentation-pymongo``: the command, and with ``capture_statement`` its filter as a Python literal.
* ``opentelemetry-instrumentation-botocore``: spans of remote procedure calls, without ``db.system``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.trace import SpanKind

from dbsight import semconv
from dbsight.statement.parameters import hash_parameters
from dbsight.statement.stores import MONGODB, S3, SEARCH, UNKNOWN, read_call, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from dbsight.model import Statement

_NATIVE: Final = "elasticsearch"
"""How the scope of spans begins that Elasticsearch's clients make themselves."""
_COLLECTION: Final = "db.collection.name"
_LARGEST: Final = 100_000
"""Characters of a body that are looked at."""


class StoreCall(NamedTuple):
    """One call of a store.

    Attributes:
        system: ``elasticsearch``, ``opensearch``, ``mongodb`` or ``s3``.
        statement: What was called.
        parameters: Salted hash of its values, None when they are unknown.
        cursor: It fetches more rows of an earlier call.
    """

    system: str
    statement: Statement
    parameters: int | None
    cursor: bool = False


def is_store_span(span: ReadableSpan, attributes: Mapping[str, Any]) -> bool:
    """Whether this is a span of a store that does not look like one of a database."""
    if span.kind is SpanKind.CLIENT:
        return attributes.get("rpc.system") == "aws-api" and attributes.get("rpc.service") == "S3"
    made_by = span.instrumentation_scope
    return (
        span.kind is SpanKind.INTERNAL
        and made_by is not None
        and made_by.name.startswith(_NATIVE)
        and semconv.DB_SYSTEM_NAME in attributes
    )


def read_store(span: ReadableSpan, system: str, attributes: Mapping[str, Any]) -> StoreCall | None:
    """Read a span of a store; None for other systems."""
    if system in SEARCH:
        return _search(span, system, attributes)
    if system == MONGODB:
        return _mongodb(span, attributes)
    if attributes.get("rpc.service") == "S3":
        return _s3(attributes)
    return None


def _search(span: ReadableSpan, system: str, attributes: Mapping[str, Any]) -> StoreCall:
    operation = str(attributes.get(semconv.DB_OPERATION_NAME) or span.name)
    index = str(attributes.get(semconv.DB_OPERATION_INDEX) or attributes.get(_COLLECTION) or "")
    body = str(attributes.get(semconv.DB_QUERY_TEXT) or attributes.get(semconv.DB_STATEMENT) or "")[:_LARGEST]
    values = [body] if body else []
    for name, value in attributes.items():
        if name.startswith(semconv.DB_OPERATION_PARAMETER) and name != semconv.DB_OPERATION_INDEX:
            values.append(str(value))
    shape = shape_of(body) if body else "" if values else UNKNOWN
    statement = read_call(system, operation, index, shape)
    return StoreCall(system, statement, hash_parameters(values) if values else None)


def _mongodb(span: ReadableSpan, attributes: Mapping[str, Any]) -> StoreCall:
    text = str(attributes.get(semconv.DB_QUERY_TEXT) or attributes.get(semconv.DB_STATEMENT) or "")[:_LARGEST]
    command, _, body = text.partition(" ")
    operation = str(attributes.get(semconv.DB_OPERATION_NAME) or attributes.get(semconv.DB_OPERATION) or "")
    if body and command.startswith(("{", "[")):
        command, body = "", text
    operation = operation or command or span.name.rpartition(".")[2]
    if not body.startswith(("{", "[")):
        body = ""  # of getMore, the collection
    collection = str(attributes.get("db.mongodb.collection") or attributes.get(_COLLECTION) or "")
    statement = read_call(MONGODB, operation, collection, shape_of(body) if body else UNKNOWN)
    parameters = hash_parameters([body]) if body else None
    return StoreCall(MONGODB, statement, parameters, cursor=operation == "getMore")


def _s3(attributes: Mapping[str, Any]) -> StoreCall:
    operation = str(attributes.get("rpc.method") or "")
    bucket, key = attributes.get("aws.s3.bucket"), attributes.get("aws.s3.key")
    statement = read_call(S3, operation, str(bucket) if bucket else "", UNKNOWN)
    return StoreCall(S3, statement, hash_parameters([str(key)]) if key else None)
