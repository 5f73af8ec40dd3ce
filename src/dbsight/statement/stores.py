"""Calls of Elasticsearch, MongoDB and S3: an operation, its target, and the shape of a body.

The shape of a body keeps its keys and hides its values, so that calls that differ in values are one statement.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dbsight.model import Statement
from dbsight.model.deferred import pattern
from dbsight.statement.identity import fingerprint
from dbsight.statement.non_sql import hide_values

if TYPE_CHECKING:
    from dbsight.model import Kind

S3: Final = "s3"
MONGODB: Final = "mongodb"
SEARCH: Final = frozenset(("elasticsearch", "opensearch"))

UNKNOWN: Final = "?"
"""The shape of a body that the span does not have."""

_ELASTICSEARCH: Final[dict[str, Kind]] = {
    **dict.fromkeys(
        ("search", "msearch", "get", "get_source", "mget", "count", "exists", "scroll", "explain"), "select"
    ),
    **dict.fromkeys(("knn_search", "search_template", "terms_enum", "esql.query", "sql.query", "eql.search"), "select"),
    **dict.fromkeys(("index", "create", "bulk", "reindex"), "insert"),
    **dict.fromkeys(("update", "update_by_query"), "update"),
    **dict.fromkeys(("delete", "delete_by_query"), "delete"),
    **dict.fromkeys(("indices.create", "indices.delete", "indices.put_mapping", "indices.put_settings"), "ddl"),
}
_MONGODB: Final[dict[str, Kind]] = {
    **dict.fromkeys(("find", "aggregate", "count", "distinct", "getMore", "mapReduce"), "select"),
    **dict.fromkeys(("update", "findAndModify", "findandmodify", "bulkWrite"), "update"),
    "insert": "insert",
    "delete": "delete",
    **dict.fromkeys(("create", "createIndexes", "drop", "dropIndexes", "dropDatabase", "collMod"), "ddl"),
    **dict.fromkeys(("commitTransaction", "abortTransaction"), "transaction"),
}
_S3: Final[tuple[tuple[str, Kind], ...]] = (
    ("CreateBucket", "ddl"),
    ("DeleteBucket", "ddl"),
    ("Get", "select"),
    ("List", "select"),
    ("Head", "select"),
    ("Select", "select"),
    ("Delete", "delete"),
    ("Put", "insert"),
    ("Upload", "insert"),
    ("Copy", "insert"),
    ("CreateMultipart", "insert"),
    ("CompleteMultipart", "insert"),
)
_VALUES: Final = pattern(r"\[\s*\?(?:\s*,\s*\?)*\s*\]")
_PINGS: Final = frozenset(("ping", "hello", "isMaster", "ismaster", "info", "HeadBucket"))
_SETUP: Final = frozenset(("buildInfo", "endSessions", "saslStart", "saslContinue", "getParameter", "connectionStatus"))
_CATALOGUE: Final = (
    *("listCollections", "listDatabases", "listIndexes", "collStats", "dbStats"),
    *("cat.", "cluster.", "nodes.", "indices.get", "indices.exists", "indices.stats", "ListBuckets"),
)


@lru_cache(maxsize=2_000)
def read_call(system: str, operation: str, target: str, shape: str) -> Statement:
    """The statement of a call.

    Args:
        system: ``elasticsearch``, ``opensearch``, ``mongodb`` or ``s3``.
        operation: ``search``, ``find``, ``GetObject`` …
        target: The index, collection or bucket; empty if unknown.
        shape: As ``shape_of`` gives it; ``UNKNOWN`` where the span does not have the body;
            empty where there is none.
    """
    summary = f"{operation} {target}".strip()[:255]
    text = f"{summary} {shape}".strip()
    kind = _kind(system, operation)
    targets = (target,) if target else ()
    return Statement(
        system,
        text,
        summary,
        fingerprint(f"{system} {text}"),
        kind=kind,
        targets=targets,
        written=targets if kind in {"insert", "update", "delete"} else (),
        ping=operation in _PINGS,
        setup=operation in _SETUP,
        catalogue=operation.startswith(_CATALOGUE),
        operation=operation,
    )


def shape_of(body: str) -> str:
    """A body, JSON or a Python literal, without its values; lists of values are one."""
    return _VALUES.sub("[?]", hide_values(body))


def _kind(system: str, operation: str) -> Kind:
    if system == S3:
        return next((kind for start, kind in _S3 if operation.startswith(start)), "other")
    return (_MONGODB if system == MONGODB else _ELASTICSEARCH).get(operation, "other")
