"""DDL and commands: what follows CREATE, CALL, BEGIN or EXPLAIN.

Each function takes a word while the grammar is in one state, and returns True when the word must be hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.statement.sql.clauses import EXPLAINED, OPENERS
from dbsight.statement.sql.states import CREATE, NOTHING, OBJECT, OPAQUE
from dbsight.statement.sql.vocabulary import (
    BEGIN_MODES,
    BETWEEN,
    BODIES,
    CHANGING,
    LISTING,
    MODIFIERS,
    RESERVED,
    TABLES,
    TRANSACTION_WORDS,
    TYPE_OPTIONAL,
    TYPES,
)

if TYPE_CHECKING:
    from dbsight.statement.sql.clauses import Handler
    from dbsight.statement.sql.grammar import Grammar


def read_object(grammar: Grammar, token: str, low: str, handler: Handler | None) -> bool | None:
    """OBJECT: the type of an object and its name."""
    if not grammar.object and _is_type(grammar, token, low):
        return None
    if low in BETWEEN:
        return None
    if low in RESERVED:
        grammar.expect = OPAQUE
        return handler(grammar, token, low) if handler else None
    grammar.parts.append(token)
    _name(grammar, token, low)
    return None


def _is_type(grammar: Grammar, token: str, low: str) -> bool:
    """Whether a word belongs to the type of the object; False for its name, where the type may be left out."""
    if low in TYPES:
        grammar.object = low
        if low == "session":
            grammar.kind = "other"  # ALTER SESSION
    elif low in MODIFIERS:
        return True
    elif grammar.op in TYPE_OPTIONAL and low != "materialized":
        grammar.object = "table"
        return False
    elif not token[0].isalpha():
        return True  # DEFINER=`root`@`localhost`
    elif low != "materialized":
        grammar.object = low  # a type that is not known
    grammar.parts.append(token)
    return True


def _name(grammar: Grammar, token: str, low: str) -> None:
    """The name of an object of DDL was read."""
    kind = grammar.object
    if kind in TABLES:
        grammar.target(token, low, written=grammar.op in CHANGING)
    grammar.expect = OPAQUE
    if grammar.op in LISTING:
        grammar.listed = OBJECT
        grammar.expect = NOTHING
    elif grammar.op == CREATE:
        grammar.endless = kind in BODIES
        if kind in TABLES or kind == "index":
            grammar.expect = NOTHING


def read_command_target(grammar: Grammar, token: str, low: str, handler: Handler | None) -> None:
    """COMMAND: what CALL, USE, PRAGMA … is about."""
    grammar.parts.append(token)
    grammar.called.append(low)
    grammar.expect = OPAQUE


def read_transaction(grammar: Grammar, token: str, low: str, handler: Handler | None) -> bool | None:
    """TRANSACTION: the rest of BEGIN, ROLLBACK TO and their like."""
    if grammar.opener in ("prepare", "declare"):
        grammar.expect = NOTHING
        if low == "transaction":
            grammar.kind = "transaction"
            grammar.parts.append(token)
        return None
    if low in TRANSACTION_WORDS:
        grammar.parts.append(token)
        return None
    grammar.expect = OPAQUE
    if grammar.opener == "begin" and low not in BEGIN_MODES:
        grammar.block = True
        grammar.kind = None
        if low in OPENERS:
            return grammar.start(token, low, handler)
        grammar.kind = "other"  # BEGIN audit(:1); END; is how Oracle calls a procedure
        grammar.parts.append(token)
        grammar.called.append(low)
    return None


def read_explained(grammar: Grammar, token: str, low: str, handler: Handler | None) -> bool | None:
    """EXPLAINING: the options of EXPLAIN, and the statement behind them."""
    return grammar.start(token, low, handler) if low in EXPLAINED else None
