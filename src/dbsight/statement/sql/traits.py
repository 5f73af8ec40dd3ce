"""What a statement is for: keeping a connection alive, setting it up, reading the catalogue, waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern
from dbsight.statement.sql.vocabulary import SETUP_FUNCTIONS, WAITING_FUNCTIONS, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.statement.sql.grammar import Grammar

_PING_LENGTH: Final = 12  # tokens; a longer statement does more than test the connection
_PING_WORDS: Final = words(
    "? ( ) , as select from dual sysibm.sysdummy1 version pg_catalog.version now current_timestamp current_date sysdate"
    " getdate getutcdate current_database current_schema current_schemas current_user session_user database schema user"
    " connection_id pg_backend_pid pg_is_in_recovery sqlite_version @@version @@spid @@servername"
)
_PINGS: Final = frozenset(("", "do ?", "values ?", "values ( ? )", "select ?"))

_SETUP_OPENERS: Final = words("pragma set show use reset discard deallocate unlisten describe desc attach detach") | {
    "alter session"
}

_CATALOGUE_SCHEMAS: Final = words("information_schema pg_catalog performance_schema sys syscat sysibm")
_CATALOGUE_TABLES: Final = words(
    "sqlite_master sqlite_schema sqlite_temp_master sqlite_temp_schema sqlite_sequence sqlite_stat1 sqlite_stat4"
    " sysobjects syscolumns sysindexes sysusers"
    " pg_class pg_type pg_attribute pg_attrdef pg_namespace pg_index pg_indexes pg_constraint pg_proc pg_enum pg_range"
    " pg_description pg_depend pg_inherits pg_trigger pg_database pg_roles pg_user pg_authid pg_extension pg_settings"
    " pg_tables pg_views pg_matviews pg_sequence pg_sequences pg_am pg_opclass pg_operator pg_collation pg_language"
    " pg_locks pg_cursors pg_prepared_statements pg_tablespace pg_event_trigger pg_policies pg_rewrite pg_statistic"
    " pragma_table_info pragma_table_xinfo pragma_table_list pragma_index_list pragma_index_info pragma_index_xinfo"
    " pragma_foreign_key_list pragma_database_list"
)
_ORACLE_VIEWS: Final = pattern(
    r"(?:all|user|dba)_(?:tables|tab_columns|tab_cols|tab_comments|tab_identity_cols|col_comments|constraints"
    r"|cons_columns|indexes|ind_columns|ind_expressions|objects|sequences|views|mviews|synonyms|triggers|users|types"
    r"|source|arguments|procedures|dependencies|tab_privs|tab_partitions|lobs)|g?v\$\w+"
)
_CATALOGUE_PRAGMAS: Final = words(
    "table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list database_list"
)
_SHOWN: Final = words(
    "tables columns create index indexes keys databases schemas triggers fields table procedure function events"
)

_WAITING_OPENERS: Final = frozenset(("listen", "copy", "waitfor"))


def last_part(name: str) -> str:
    """The name without its schema, without quotes, in lower case."""
    return name.rpartition(".")[2].strip("\"'`[]").lower()


def is_ping(grammar: Grammar, identity: Sequence[str]) -> bool:
    """Return whether the statement only tests the connection: empty, or a SELECT of a literal or version."""
    if len(identity) > _PING_LENGTH or grammar.targets:
        return False
    if " ".join(identity) in _PINGS:
        return not grammar.openers or grammar.openers[0] != "do" or grammar.dialect.name == "mysql"
    if grammar.kinds != ["select"] or identity[0] != "select":
        return False
    return all(
        word in _PING_WORDS or identity[place - 1] == "as" or word.startswith("@@")
        for place, word in enumerate(identity)
    )


def is_setup(grammar: Grammar) -> bool:
    """Whether all that the statement does is to set the connection up, or to reset it."""
    setup = False
    for opener, kind in zip(grammar.openers, grammar.kinds, strict=True):
        if opener in _SETUP_OPENERS:
            setup = True
        elif (
            kind != "transaction"
            and opener != "close"
            and not SETUP_FUNCTIONS.intersection(map(last_part, grammar.called))
        ):
            return False
    return setup or bool(grammar.openers and SETUP_FUNCTIONS.intersection(map(last_part, grammar.called)))


def is_catalogue(grammar: Grammar, identity: Sequence[str]) -> bool:
    """Whether every table that the statement names belongs to the database's own catalogue."""
    opener = grammar.openers[0] if grammar.openers else ""
    if opener == "pragma":
        return any(last_part(name) in _CATALOGUE_PRAGMAS for name in grammar.called)
    if opener in ("describe", "desc"):
        return True
    if opener == "show":
        return not _SHOWN.isdisjoint(identity[1:4])
    if grammar.targets:
        oracle = grammar.dialect.name == "oracle"
        for target in grammar.targets:  # noqa: SIM110 - most often, the first one decides
            if not _of_catalogue(target.lower(), oracle=oracle):
                return False
        return True
    return any(name in _CATALOGUE_TABLES for name in grammar.called)


def _of_catalogue(target: str, *, oracle: bool) -> bool:
    schema, _, name = target.rpartition(".")
    return (
        name in _CATALOGUE_TABLES
        or name.startswith("pg_stat")
        or (oracle and _ORACLE_VIEWS.fullmatch(name) is not None)
        or (schema != "" and not _CATALOGUE_SCHEMAS.isdisjoint(schema.split(".")))
    )


def is_waiting(grammar: Grammar) -> bool:
    """Whether the statement waits by design: it is never slow."""
    if not _WAITING_OPENERS.isdisjoint(grammar.openers):
        return True
    return bool(grammar.called) and not WAITING_FUNCTIONS.isdisjoint(map(last_part, grammar.called))
