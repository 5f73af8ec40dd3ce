"""What the grammar expects next, and the operations that it tells apart."""

from __future__ import annotations

from typing import Final

# What the next word means. From TABLE on, a word is taken for a name whatever it says, unless it is reserved.
NOTHING: Final = 0
ALIAS: Final = 1  # the name that a table goes by
START: Final = 2  # the word that opens a statement
OPAQUE: Final = 3  # nothing that is said here is looked at
CTE: Final = 4  # the name of a common table expression
TABLE: Final = 5
INTO: Final = 6  # a table that is written
DELETING: Final = 7  # FROM, or a table that rows are deleted from
OBJECT: Final = 8  # in DDL: the type of an object, then its name
COMMAND: Final = 9  # what CALL, USE, PRAGMA … is about
TRANSACTION: Final = 10  # the rest of BEGIN, ROLLBACK TO …
EXPLAINING: Final = 11  # options of EXPLAIN, then the statement
SECRET: Final = 12  # a password that is written without quotes
HINT: Final = 13  # FROM t (NOLOCK), or the arguments of a table function
INDEXED: Final = 14  # the table of an index

# What the next value means.
LIMIT: Final = 1
LIMITED: Final = 2  # a comma now says that the value was an offset
FETCH: Final = 3
ROWNUM: Final = 4

# Operations whose clauses are read; everything else is told by its opening word alone.
SELECT: Final = "select"
INSERT: Final = "insert"
UPDATE: Final = "update"
DELETE: Final = "delete"
MERGE: Final = "merge"
WITH: Final = "with"
COPY: Final = "copy"
LOAD: Final = "load"
CREATE: Final = "create"
