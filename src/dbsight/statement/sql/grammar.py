"""What a statement does: a state machine over words, parentheses, commas and semicolons.

It reads just enough of SQL to know its operations and their targets, in any dialect, and never fails: what it does not
know, it passes by. Where a word stands decides what it is, so that ``FROM update`` names a table and ``FOR UPDATE``
none. Expressions are not looked into, but for the SELECTs in them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern
from dbsight.statement.sql.clauses import OPENERS, by, truth
from dbsight.statement.sql.ddl import read_command_target, read_explained, read_object, read_transaction
from dbsight.statement.sql.secret_words import is_secret
from dbsight.statement.sql.states import (
    ALIAS,
    COMMAND,
    CTE,
    DELETE,
    DELETING,
    EXPLAINING,
    HINT,
    INDEXED,
    INSERT,
    INTO,
    LIMIT,
    LIMITED,
    NOTHING,
    OBJECT,
    OPAQUE,
    ROWNUM,
    SECRET,
    SELECT,
    START,
    TABLE,
    TRANSACTION,
    UPDATE,
    WITH,
)
from dbsight.statement.sql.vocabulary import (
    ALIASED,
    DEFINING,
    HINTS,
    INTO_OPTIONS,
    NAMELESS,
    NAMELESS_WORDS,
    NOTED,
    OPTIONS,
    RESERVED,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.model import Kind
    from dbsight.statement.sql.clauses import Handler
    from dbsight.statement.sql.dialects import Dialect

_BARE: Final = str.maketrans(dict.fromkeys("\"'`[]"))
_QUOTED: Final = pattern(r"""(["'`])((?:(?!\1).|\1\1)*)\1|\[((?:[^\]]|\]\])*)\]""", re.DOTALL)


def bare(name: str) -> str:
    """A name without its quotes: ``"public"."Order"`` is ``public.Order``."""
    if name[0].isalnum() and name[-1].isalnum() and '"' not in name:
        return name
    if '""' in name or "``" in name or "]]" in name:
        return _QUOTED.sub(
            lambda found: (found[2] or "").replace(found[1] * 2, found[1]) if found[1] else found[3], name
        )
    return name.translate(_BARE)


class Grammar:
    """The state, and what was found.

    Attributes:
        expect: What the next word means (``states``); the scanner asks ``expected`` while it is not NOTHING.
        want: What the next value means.
        names: Whether the words of a list are names, whatever their quotes: the columns of ORDER BY, or of a table.
        rows: 1 right after VALUES, 2 once its first row is over.
        listed: What a comma makes expected.
        identity: The normalised tokens so far; shared with the scanner.
        parts: The summary of the current statement.
    """

    __slots__ = (
        "aliases",
        "block",
        "body",
        "called",
        "ctes",
        "dialect",
        "endless",
        "expect",
        "explain",
        "identity",
        "inner",
        "joining",
        "kind",
        "kinds",
        "limit",
        "listed",
        "mark",
        "named",
        "names",
        "object",
        "offset",
        "op",
        "opener",
        "openers",
        "parts",
        "rows",
        "stack",
        "summaries",
        "targets",
        "tentative",
        "top",
        "want",
        "writes",
        "written",
    )

    def __init__(self, dialect: Dialect, identity: list[str]) -> None:
        self.dialect = dialect
        self.identity = identity
        self.ctes: set[str] = set()
        self.targets: list[str] = []
        self.written: list[str] = []
        self.called: list[str] = []
        self.summaries: list[str] = []
        self.kinds: list[Kind] = []
        self.openers: list[str] = []
        self.limit: int | None = None
        self.offset = False
        self.block = False
        self.stack: list[tuple[str, int, bool, int, bool, int, bool, bool]] = []
        self._begin()

    def _begin(self) -> None:
        """A new statement begins."""
        self.mark = len(self.identity)
        self.writes = len(self.written)
        self.expect: int = START
        self.op = ""
        self.opener = ""
        self.object = ""
        self.listed: int = NOTHING
        self.top = True
        self.inner = self.body = self.joining = self.explain = self.endless = False
        self.want: int = NOTHING
        self.rows = 0
        self.named = ""
        self.names = False
        self.kind: Kind | None = None
        self.parts: list[str] = []
        self.aliases: dict[str, str] = {}
        self.tentative: list[tuple[int, str]] = []

    # -- Words ----------------------------------------------------------------------------------------------------
    def expected(self, token: str, low: str, handler: Handler | None) -> bool | None:
        """Take a word while something is expected.

        Args:
            token: As written.
            low: In lower case; as written when it is quoted.
            handler: Its keyword's handler, None for a name.

        Returns:
            True when the word is a value that must be hidden.
        """
        expect = self.expect
        if expect == ALIAS:
            if handler is None and low not in RESERVED:
                self.aliases[low] = self.named
                self.expect = NOTHING
            elif low != "as":
                self.expect = NOTHING
                return handler(self, token, low) if handler else None
            return None
        if expect == OPAQUE:
            if is_secret(self, low):
                return True
            return handler(self, token, low) if handler in (truth, by) else None
        return _STATES[expect](self, token, low, handler)

    def start(self, token: str, low: str, handler: Handler | None) -> bool | None:
        """START: the word that opens a statement."""
        opener = OPENERS.get(low)
        if not self.opener or self.block or self.explain:
            self.opener = low
        self.expect = NOTHING
        if opener is not None:
            return opener(self, token, low)
        if self.dialect.name == "sql_server" and low.startswith(("sp_", "xp_")):
            self.opener, self.expect = "exec", OPAQUE  # a batch may begin with the name of a procedure
        if self.op != WITH and not self.parts and token.isalpha() and token.isascii() and len(token) <= 32:
            self.parts.append(token)  # a command that is not known: its first word
            self.kind = "other"
        return None

    def _cte(self, token: str, low: str, handler: Handler | None) -> None:
        if low == "recursive":
            return
        self.ctes.add(low.translate(_BARE).lower())
        self.op = WITH
        self.listed = CTE
        self.expect = NOTHING

    def _table(self, token: str, low: str, handler: Handler | None) -> bool | None:
        expect = self.expect
        if low in RESERVED:
            return handler(self, token, low) if handler else None
        if expect != TABLE:
            if self.identity[-1] != "into":
                if low in OPTIONS:
                    return None
            elif low == "table" or (self.op == SELECT and low in INTO_OPTIONS):
                return None
        self.expect = ALIAS if self.op in ALIASED else NOTHING
        if self.ctes and low.translate(_BARE).lower() in self.ctes:
            self.named = ""
            return None
        if expect != TABLE and self.op in (UPDATE, DELETE):
            self.tentative.append((len(self.parts), low))
        self.parts.append(token)
        self.target(token, low, written=expect != TABLE)
        return None

    def target(self, token: str, low: str, *, written: bool) -> None:
        """A table was named."""
        if low == "dual":
            self.named = ""
            return
        self.named = name = bare(token)
        self.targets.append(name)
        if written:
            self.written.append(name)

    def _secret(self, token: str, low: str, handler: Handler | None) -> bool:
        return True

    def _hint(self, token: str, low: str, handler: Handler | None) -> bool | None:
        self.expect = NOTHING
        if low in HINTS and self.named:
            self.targets.append(self.named)
            return None
        return handler(self, token, low) if handler else None

    def _indexed(self, token: str, low: str, handler: Handler | None) -> None:
        if low != "only":
            self.target(token, low, written=True)
            self.expect = NOTHING

    # -- Marks and values -----------------------------------------------------------------------------------------
    def open(self, before: str) -> None:
        """Enter a parenthesis; ``before`` is the token in front of it."""
        expect = self.expect
        op, listed, top, inner = "", NOTHING, False, self.inner
        within = after = NOTHING
        if before in NOTED or ("." in before and before.rpartition(".")[2] in NOTED):
            self.called.append(before.rpartition(" ")[2])
        if not (expect or self.body):
            if before == "top":  # DELETE TOP (10)
                after = expect
        elif expect == OPAQUE:
            within = after = OPAQUE
        elif before == "top":
            after = expect
        elif self.body and self.op == WITH:
            within = after = START
            inner = True
        elif expect == START:
            within, top = START, self.top
        elif expect == TABLE:
            within = listed = TABLE
            op, top = self.op, self.top
        elif expect == ALIAS and before != "as":
            within = HINT if self.dialect.name == "sql_server" else NOTHING
            if self.named and self.targets and self.targets[-1] == self.named:
                self.called.append(self.targets.pop().lower())  # a table function
        elif expect == EXPLAINING:
            within, after = OPAQUE, EXPLAINING
        elif expect in (OBJECT, COMMAND):
            after = expect
        names = self._holds_names(before)
        self.stack.append((self.op, self.listed, self.top, self.rows, self.inner, after, self.joining, self.names))
        self.names = names
        self.op, self.listed, self.top, self.inner = op, listed, top, inner
        self.expect = within
        self.rows = 0
        self.body = self.joining = False

    def _holds_names(self, before: str) -> bool:
        """Whether a parenthesis holds nothing but names: of the columns of a table, mostly."""
        if before in ("using", "conflict"):
            return True
        if self.kind == "ddl" and (self.names or self.op in DEFINING):
            return before not in ("check", "default")
        if self.op == INSERT:
            return bool(self.named) and not self.rows and bare(before).lower() == self.named.lower()
        if self.opener == "pragma":
            return not before.endswith("key")
        return self.op == WITH and not self.body

    def close(self) -> None:
        """Leave a parenthesis; one that was never opened is passed by."""
        if self.stack:
            outer = self.stack.pop()
            self.op, self.listed, self.top, self.rows, self.inner, self.expect, self.joining, self.names = outer
        if self.want == LIMITED:
            self.want = NOTHING

    def comma(self) -> None:
        """Pass a comma: another table, another CTE, or the second number of a LIMIT."""
        if self.listed:
            if self.expect != OPAQUE:
                self.expect = self.listed
        elif self.want == LIMITED:
            self.offset = True
            self.want = LIMIT

    def semicolon(self) -> None:
        """End the statement, unless the semicolon stands inside parentheses or a routine's body."""
        ends = not (self.stack or self.endless)
        if ends:
            self.finish()
        if self.identity and self.identity[-1] != ";":
            self.identity.append(";")
        if ends:
            self._begin()

    def literal(self) -> None:
        """A literal stands where a name was expected: no name comes any more."""
        expect = self.expect
        if expect == SECRET:
            self.expect = OPAQUE
        elif expect == OBJECT and self.object:
            self.expect = OPAQUE  # CREATE USER 'bob'@'%'
        elif expect in (TABLE, INTO, ALIAS, COMMAND, HINT):
            self.expect = NOTHING

    def bound(self, value: int | None) -> None:
        """Take the value that LIMIT, FETCH, TOP or ROWNUM waits for: -1 for a parameter, None when it says nothing."""
        if self.want == ROWNUM and value is not None and value > 0 and self.identity[-1] == "<":
            value -= 1
        self.limit = value
        self.want = LIMITED if self.want == LIMIT else NOTHING

    # -- The end of a statement -----------------------------------------------------------------------------------
    def finish(self) -> None:
        """Settle the statement that ends here."""
        identity = self.identity
        opener = self.opener
        self._resolve_aliases()
        if opener in NAMELESS:  # names that the client made up are no part of what the statement is
            identity[self.mark :] = [word for word in identity[self.mark :] if word in NAMELESS_WORDS]
        elif opener == "declare" and "cursor" in identity[self.mark + 2 : self.mark + 8]:
            del identity[self.mark + 1]
        if self.explain and "analyze" not in identity[self.mark : self.mark + 8]:
            del self.written[self.writes :]
            self.kind = "select"
        if self.parts:
            self.summaries.append(" ".join(self.parts))
        if len(identity) > self.mark:
            self.kinds.append(self.kind or "other")
            self.openers.append(f"{opener} {self.object}" if self.object else opener)

    def _resolve_aliases(self) -> None:
        """``UPDATE o SET … FROM orders o`` writes orders."""
        for place, low in reversed(self.tentative):
            table = self.aliases.get(low)
            if table and table != low:
                del self.parts[place]
                name = bare(low)
                for names in (self.targets, self.written):
                    names[:] = [known for known in names if known.lower() != name]
                self.written.append(table)


_STATES: Final[dict[int, Callable[[Grammar, str, str, Handler | None], bool | None]]] = {
    START: Grammar.start,
    CTE: Grammar._cte,
    TABLE: Grammar._table,
    INTO: Grammar._table,
    DELETING: Grammar._table,
    OBJECT: read_object,
    COMMAND: read_command_target,
    TRANSACTION: read_transaction,
    EXPLAINING: read_explained,
    SECRET: Grammar._secret,
    HINT: Grammar._hint,
    INDEXED: Grammar._indexed,
}
