"""From one text to one Statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.model import Statement
from dbsight.statement.identity import SUMMARY_LIMIT, fingerprint
from dbsight.statement.salt import SALT
from dbsight.statement.spelling import ELLIPSIS
from dbsight.statement.sql.dialects import ANSI, MYSQL, ORACLE, OTHER, POSTGRESQL, SQL_SERVER, SQLITE
from dbsight.statement.sql.scanner import Scanner
from dbsight.statement.sql.traits import is_catalogue, is_ping, is_setup, is_waiting
from dbsight.statement.sql.vocabulary import words

if TYPE_CHECKING:
    from dbsight.model import Kind
    from dbsight.statement.sql.dialects import Dialect

READ_LIMIT: Final = 65_536
"""Characters of a text that are read, long lists apart; what comes after is unknown, the statement ``truncated``."""

TEXT_LIMIT: Final = 8_192
"""Characters of the sanitised text that are kept; a longer one ends in an ellipsis."""

_DIALECTS: Final[dict[str, Dialect]] = {
    **dict.fromkeys(("postgresql", "cockroachdb", "aws.redshift", "cockroach", "redshift"), POSTGRESQL),
    **dict.fromkeys(("mysql", "mariadb"), MYSQL),
    "sqlite": SQLITE,
    **dict.fromkeys(("microsoft.sql_server", "mssql"), SQL_SERVER),
    **dict.fromkeys(("oracle.db", "oracle"), ORACLE),
    **dict.fromkeys(
        words(
            "ibm.db2 db2 derby firebirdsql firebird h2database h2 hsqldb actian.ingres sap.hana hanadb sap.maxdb maxdb"
            " teradata trino snowflake vertica duckdb"
        ),
        ANSI,
    ),
}


def dialect_of(system: str) -> Dialect:
    """The dialect of a ``db.system.name``; the union of all dialects for one that is not known."""
    return _DIALECTS.get(system, OTHER)


_WRITING: Final = frozenset(("insert", "update", "delete", "ddl"))

_NOTHING: Final[frozenset[str]] = frozenset()


def read_sql(text: str, system: str, *, longer: bool) -> Statement:
    """Read one text of SQL.

    Args:
        text: The query, unwrapped.
        system: ``db.system.name``; one that is not known is read as the union of all dialects.
        longer: Whether the query goes on behind the text.

    Returns:
        The statement. Its text holds no literal.
    """
    dialect = dialect_of(system)
    scanner = Scanner(text, dialect, READ_LIMIT)
    scanner.scan()
    if scanner.truncated and scanner.doubt >= 0:
        # A quote was left open behind a string that a backslash may or may not have ended: believe neither reading.
        doubt = scanner.doubt
        scanner = Scanner(text[:doubt], dialect, doubt)
        scanner.scan(rest=text[doubt:])
    grammar = scanner.grammar
    identity = scanner.identity
    if identity and identity[-1] == ";":
        identity.pop()
    literals = scanner.literals
    idle = not grammar.targets  # what names a table neither pings nor sets up
    return Statement(
        system,
        _shortened(scanner.sanitised(), cut=longer or scanner.stopped),
        _summary(grammar.summaries),
        fingerprint(" ".join(identity)),
        kind=_kind(grammar.kinds),
        targets=_distinct(grammar.targets),
        written=_distinct(grammar.written),
        limit=grammar.limit,
        offset=grammar.offset,
        in_length=scanner.in_length,
        ping=idle and is_ping(grammar, identity),
        setup=idle and is_setup(grammar),
        catalogue=is_catalogue(grammar, identity),
        blocking=is_waiting(grammar),
        truncated=longer or scanner.truncated,
        literals=hash((SALT, *literals)) or 1 if literals else 0,
        allowed=frozenset(scanner.allowed) if scanner.allowed else _NOTHING,
    )


def _shortened(text: str, *, cut: bool) -> str:
    if len(text) <= TEXT_LIMIT - len(ELLIPSIS) or (len(text) <= TEXT_LIMIT and not cut):
        return text + ELLIPSIS if cut else text
    return text[: TEXT_LIMIT - len(ELLIPSIS)] + ELLIPSIS


def _distinct(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names)) if len(names) > 1 else tuple(names)


def _summary(summaries: list[str]) -> str:
    summary = "; ".join(summaries)
    if len(summary) <= SUMMARY_LIMIT:
        return summary
    # Cut where a token ends; a name in quotes may hold blanks and is cut at one of them.
    return summary[: SUMMARY_LIMIT + 1].rpartition(" ")[0].rstrip(";")


def _kind(kinds: list[Kind]) -> Kind:
    """Of several statements, the first that writes tells what they are for, else the first that reads."""
    for kind in kinds:
        if kind in _WRITING:
            return kind
    return "select" if "select" in kinds else kinds[0] if kinds else "other"
