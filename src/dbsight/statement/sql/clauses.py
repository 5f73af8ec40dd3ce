"""Keywords: what each does to the grammar's state.

A handler is called with the grammar, the token as written and in lower case, before the token joins the identity: the
last entry of ``identity`` is the token in front of it. It returns True when the token is a value that must be hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.statement.sql.states import (
    COMMAND,
    COPY,
    CREATE,
    CTE,
    DELETE,
    DELETING,
    EXPLAINING,
    FETCH,
    INDEXED,
    INSERT,
    INTO,
    LIMIT,
    LOAD,
    MERGE,
    NOTHING,
    OBJECT,
    OPAQUE,
    ROWNUM,
    SECRET,
    SELECT,
    TABLE,
    TRANSACTION,
    UPDATE,
    WITH,
)
from dbsight.statement.sql.vocabulary import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.model import Kind
    from dbsight.statement.sql.grammar import Grammar

    Handler = Callable[[Grammar, str, str], bool | None]


def _pass(grammar: Grammar, token: str, low: str) -> None:
    """A word that changes nothing."""


# -- Inside a statement -------------------------------------------------------------------------------------------
def _clause(grammar: Grammar, token: str = "", low: str = "") -> None:
    """Any word that ends a list of tables."""
    grammar.listed = grammar.expect = grammar.want = NOTHING
    grammar.rows = 0
    grammar.names = False


def _returning(grammar: Grammar, token: str, low: str) -> None:
    _clause(grammar)
    grammar.names = True


def _select(grammar: Grammar, token: str, low: str) -> None:
    _clause(grammar)
    grammar.op = SELECT
    grammar.parts.append(token)
    if not (grammar.kind or grammar.inner):
        grammar.kind = "select"


def _from(grammar: Grammar, token: str, low: str) -> None:
    op = grammar.op
    if grammar.identity[-2:] in (["is", "distinct"], ["not", "distinct"]):
        return  # a comparison: IS NOT DISTINCT FROM
    if op in (SELECT, UPDATE):
        grammar.listed = grammar.expect = TABLE
        grammar.want = NOTHING
    elif op == DELETE:
        grammar.expect = INTO if grammar.expect == DELETING else TABLE
        grammar.listed = TABLE
    elif op == COPY:
        grammar.written.extend(grammar.targets[-1:])
        grammar.expect = OPAQUE


def _join(grammar: Grammar, token: str, low: str) -> None:
    if grammar.listed == TABLE:  # not SELECT STRAIGHT_JOIN
        grammar.expect = TABLE
        grammar.joining = True


def _on(grammar: Grammar, token: str, low: str) -> None:
    grammar.joining = False
    grammar.expect = INDEXED if grammar.op == CREATE and grammar.object == "index" else NOTHING


def _using(grammar: Grammar, token: str, low: str) -> None:
    if not grammar.joining and grammar.op in (DELETE, MERGE):
        grammar.listed = grammar.expect = TABLE
    else:
        grammar.joining = False
        grammar.expect = NOTHING


def _into(grammar: Grammar, token: str, low: str) -> None:
    if grammar.op == SELECT:
        grammar.listed = NOTHING
        grammar.expect = INTO if grammar.dialect.select_into else NOTHING
    elif grammar.op == LOAD:
        grammar.expect = INTO


def _values(grammar: Grammar, token: str, low: str) -> None:
    _clause(grammar)
    grammar.rows = 1


def _with(grammar: Grammar, token: str, low: str) -> None:
    before = grammar.identity[-1] if grammar.identity else ""
    if before == "(" or grammar.op == INSERT or (grammar.op == CREATE and before == "as"):
        grammar.expect = CTE
    else:
        grammar.expect = NOTHING  # WITH (NOLOCK), WITH ROLLUP


def _as(grammar: Grammar, token: str, low: str) -> None:
    grammar.body = grammar.op == WITH


def _limit(grammar: Grammar, token: str, low: str) -> None:
    _clause(grammar)
    if grammar.top:
        grammar.want = LIMIT


def _offset(grammar: Grammar, token: str, low: str) -> None:
    _clause(grammar)
    if grammar.top:
        grammar.offset = True


def _fetch(grammar: Grammar, token: str, low: str) -> None:
    _clause(grammar)
    if grammar.top:
        grammar.want = FETCH


def _row(grammar: Grammar, token: str, low: str) -> None:
    if grammar.want == FETCH:
        grammar.bound(1)  # FETCH FIRST ROW ONLY


def _top(grammar: Grammar, token: str, low: str) -> None:
    before = grammar.identity[-1] if grammar.identity else ""
    if grammar.top and grammar.dialect.name in _TOP_DIALECTS and before in _BEFORE_TOP:
        grammar.want = FETCH


def _rownum(grammar: Grammar, token: str, low: str) -> None:
    if grammar.top and grammar.dialect.name == "oracle":
        grammar.want = ROWNUM


def truth(grammar: Grammar, token: str, low: str) -> bool:
    """TRUE and FALSE are values (the semantic conventions name Boolean literals), but ``IS TRUE`` is an operator."""
    identity = grammar.identity
    before = identity[-1] if identity else ""
    return not (before == "is" or (before == "not" and len(identity) > 1 and identity[-2] == "is"))


def by(grammar: Grammar, token: str, low: str) -> None:
    """``IDENTIFIED BY tiger``: Oracle takes a password without quotes."""
    before = grammar.identity[-1] if grammar.identity else ""
    if before == "identified":
        grammar.expect = SECRET
    else:
        grammar.names = before in ("order", "group", "partition")


_TOP_DIALECTS = frozenset({"sql_server", "ansi", "other"})
_BEFORE_TOP = frozenset({"select", "distinct", "all", "update", "delete", "insert", "into"})

KEYWORDS: Final[dict[str, Handler]] = {
    # Words that only say where an operand begins: what follows them is no binary minus.
    **dict.fromkeys(
        words(
            "all and any asc between both case collate cross desc distinct div else escape exists full glob if ilike in"
            " inner is lateral leading left like match mod natural next not null only or outer over overlaps partition"
            " percent regexp return right rlike similar some then to trailing when xor"
        ),
        _pass,
    ),
    **dict.fromkeys(
        words(
            "where set group order having window qualify output option union intersect except minus for"
            " connect model pivot unpivot prewhere settings"
        ),
        _clause,
    ),
    "select": _select,
    "returning": _returning,
    "from": _from,
    "join": _join,
    "straight_join": _join,
    "apply": _join,
    "on": _on,
    "using": _using,
    "into": _into,
    "values": _values,
    "with": _with,
    "as": _as,
    "limit": _limit,
    "offset": _offset,
    "fetch": _fetch,
    "row": _row,
    "rows": _row,
    "top": _top,
    "rownum": _rownum,
    "true": truth,
    "false": truth,
    "by": by,
}


# -- At the start of a statement ----------------------------------------------------------------------------------
def _write(grammar: Grammar, token: str, op: str, kind: Kind, expect: int) -> None:
    _clause(grammar)
    grammar.op = op
    grammar.expect = expect
    grammar.parts.append(token)
    if not (grammar.kind or grammar.inner):
        grammar.kind = kind


def _insert(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, INSERT, "insert", INTO)


def _update(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, UPDATE, "update", INTO)
    grammar.listed = TABLE


def _delete(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, DELETE, "delete", DELETING)
    grammar.listed = DELETING


def _merge(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, MERGE, "update", INTO)


def _start_with(grammar: Grammar, token: str, low: str) -> None:
    grammar.expect = CTE


def _start_values(grammar: Grammar, token: str, low: str) -> None:
    _values(grammar, token, low)
    if not grammar.inner:
        grammar.parts.append(token)
        grammar.kind = grammar.kind or "select"


def _start_table(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, SELECT, "select", TABLE)


def _start_from(grammar: Grammar, token: str, low: str) -> None:
    """``FROM orders SELECT total`` in DuckDB, ``from orders`` in Hibernate's language."""
    grammar.op = SELECT
    grammar.listed = grammar.expect = TABLE
    grammar.parts.append("select" if token.islower() else "SELECT")
    grammar.kind = grammar.kind or "select"


def _load(grammar: Grammar, token: str, low: str) -> None:
    """``LOAD DATA INFILE … INTO TABLE t`` in MySQL."""
    _write(grammar, token, LOAD, "insert", NOTHING)


def _define(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, low, "ddl" if low in _DDL else "other", OBJECT)
    grammar.object = ""


def _command(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, low, "other", COMMAND)


def _alone(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, low, "ddl" if low in _DDL else "other", OPAQUE)


def _copy(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, low, "other", TABLE)


def _transaction(grammar: Grammar, token: str, low: str) -> None:
    if low == "end" and grammar.block:
        grammar.expect = OPAQUE  # closes a block, not a transaction
        return
    _write(grammar, token, low, "transaction", TRANSACTION)


def _name_aside(grammar: Grammar, token: str, low: str) -> None:
    _write(grammar, token, low, "transaction" if low == "savepoint" else "other", OPAQUE)


def _prepare(grammar: Grammar, token: str, low: str) -> None:
    """``DECLARE c CURSOR FOR SELECT``, ``PREPARE s AS SELECT``, ``PREPARE TRANSACTION``: what comes tells."""
    grammar.parts.append(token)
    grammar.expect = TRANSACTION


def _explain(grammar: Grammar, token: str, low: str) -> None:
    grammar.parts.append(token)
    grammar.explain = True
    grammar.expect = EXPLAINING


_DDL = words("create alter drop truncate rename comment grant revoke")

OPENERS: Final[dict[str, Handler]] = {
    **dict.fromkeys(
        words(
            "create alter drop truncate rename lock vacuum analyze analyse reindex optimize cluster refresh",
        ),
        _define,
    ),
    **dict.fromkeys(words("call exec execute use pragma listen unlisten notify describe desc attach detach"), _command),
    **dict.fromkeys(words("show set reset discard grant revoke comment waitfor kill do unlock flush"), _alone),
    **dict.fromkeys(words("begin commit rollback end abort start release xa"), _transaction),
    **dict.fromkeys(words("savepoint fetch close move deallocate"), _name_aside),
    **dict.fromkeys(words("insert replace upsert"), _insert),
    "select": _select,
    "update": _update,
    "delete": _delete,
    "merge": _merge,
    "with": _start_with,
    "values": _start_values,
    "table": _start_table,
    "from": _start_from,
    "copy": _copy,
    "load": _load,
    "prepare": _prepare,
    "declare": _prepare,
    "explain": _explain,
}

EXPLAINED: Final = words("select insert replace update delete merge with values table")
"""Words that begin what EXPLAIN explains."""
