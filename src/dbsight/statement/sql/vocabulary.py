"""The words that SQL is told by; all in lower case."""

from __future__ import annotations

from typing import Final

from dbsight.statement.sql.states import CREATE, DELETE, MERGE, SELECT, UPDATE


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


ALIASED: Final = frozenset({SELECT, UPDATE, DELETE, MERGE})
"""Operations whose tables may go by another name."""

DEFINING: Final = frozenset({CREATE, *["alter", "drop", "rename", "reindex", "analyze"]})
"""DDL in which a word is a name unless it is compared with something."""

RESERVED: Final = words(
    "select from where join on using set values with lateral only left right inner outer full cross natural group order"
    " having limit union except intersect as into and or not if exists rows returning output default when for top"
    " straight_join apply"
)
"""Words that are no table's name, even where one is expected. ``FROM update`` on the other hand names a table."""

OPTIONS: Final = words(
    "ignore replace abort fail rollback low_priority delayed high_priority overwrite local directory table quick"
)
"""What may stand between INSERT, UPDATE or DELETE and INTO or the table."""

INTO_OPTIONS: Final = words("temp temporary unlogged global local table")
"""What may stand between SELECT INTO and the table."""

MODIFIERS: Final = words(
    "or replace temp temporary unique global local unlogged if not exists concurrently clustered nonclustered bitmap"
    " fulltext spatial virtual external foreign recursive definer sql security invoker algorithm undefined merge"
    " editionable noneditionable public only verbose freeze full ignore online offline no_write_to_binlog constraint"
    " force private instance"
)
"""What may stand between CREATE, ALTER, DROP … and the type of the object."""

BETWEEN: Final = words("if not exists only concurrently")
"""What may stand between the type of an object and its name."""

TABLES: Final = words("table tables view")

TYPES: Final = TABLES | words(
    "index database schema sequence function procedure trigger user role type domain extension server keyspace event"
    " policy rule aggregate cast collation tablespace statistics synonym package session system login columnstore"
    " publication subscription operator language owned default"
)
"""What DDL makes and changes."""

TYPE_OPTIONAL: Final = words("truncate lock vacuum analyze analyse reindex optimize cluster refresh rename")
"""Commands that take a table's name without the word TABLE."""

LISTING: Final = words("drop truncate lock vacuum analyze optimize")
"""Commands that take several names."""

CHANGING: Final = words("create alter drop truncate rename")
"""Commands that change the table that they name."""

BODIES: Final = words("function procedure trigger event package rule")
"""Objects whose definition holds statements of its own, semicolons included."""

TRANSACTION_WORDS: Final = words("transaction tran work to savepoint prepared")
"""What belongs to the operation: ``ROLLBACK TO SAVEPOINT``."""

BEGIN_MODES: Final = words("immediate exclusive deferred concurrent isolation read not deferrable distributed")
"""What may follow a BEGIN that opens a transaction; anything else opens a block."""

HINTS: Final = words(
    "nolock readpast rowlock updlock xlock tablock tablockx holdlock readuncommitted readcommitted repeatableread"
    " serializable paglock nowait snapshot index forceseek forcescan noexpand"
)
"""``FROM t (NOLOCK)`` in SQL Server is a table, and no function."""

WAITING_FUNCTIONS: Final = words(
    "pg_sleep pg_sleep_for pg_sleep_until sleep benchmark get_lock pg_advisory_lock pg_advisory_lock_shared"
    " pg_advisory_xact_lock pg_advisory_xact_lock_shared sp_getapplock"
)
"""Functions that wait by design; ``dbms_lock.sleep`` is one of them by its last part."""

SETUP_FUNCTIONS: Final = words("set_config pg_advisory_unlock_all sp_reset_connection sp_set_session_context")
"""Functions that set a connection up, or reset it."""

NOTED: Final = WAITING_FUNCTIONS | SETUP_FUNCTIONS
"""Functions whose call says something about the statement."""

NAMELESS: Final = words("savepoint release rollback fetch close move deallocate")
"""Commands about what the client itself has named; the name is no part of what the statement is."""

NAMELESS_WORDS: Final = NAMELESS | words(
    "to transaction work tran prepared forward backward next prior all from in first last absolute relative ? ;"
)
"""What is left of them."""
