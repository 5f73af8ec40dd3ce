"""From query text to sanitised text, identity and literals: one pass, a token at a time.

The pattern of the dialect finds where a token ends; this module decides what becomes of it. Three things come out of
the pass: the text with literals hidden, comments gone and white space collapsed; the *identity*, a list of normalised
tokens that is the same for the same query however its values are written; and the literals themselves, for their hash.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern
from dbsight.statement.sql.ambiguous_tokens import is_ambiguous, read_letter, read_opener
from dbsight.statement.sql.clauses import KEYWORDS
from dbsight.statement.sql.dialects import (
    BESIDE,
    CAST,
    COMMA,
    COMMENT,
    COMPARISON,
    LETTER,
    MARK,
    NUMBER,
    OPENER,
    OPERATOR,
    PLACEHOLDER,
    QUOTED,
    STRING,
    WORD,
)
from dbsight.statement.sql.grammar import Grammar
from dbsight.statement.sql.list_collapsing import (
    EXTRA,
    ROW,
    Frame,
    Nesting,
    close_list,
    comma_in_list,
    frame_for,
    leave_list,
    skip_list,
)
from dbsight.statement.sql.quoted_words import is_name
from dbsight.statement.sql.states import COMMAND, COPY, DELETING, INSERT, INTO, SELECT, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.statement.sql.dialects import Dialect

_NAMING: Final = frozenset({TABLE, INTO, DELETING})
_BEFORE_COLUMNS: Final = frozenset(("select", "distinct"))
_PREFIXES: Final = frozenset(("e", "q", "nq"))
_QUOTES: Final = frozenset("'\"")
_SKIPS: Final = 4  # lists; no query has more that are so long
_NAME_LIMIT: Final = 130  # characters; no database has longer names
_COMPARISONS: Final = frozenset("=<>!|&+-*/%")
_SIGNS: Final = frozenset("+-")
_NO_OPERAND: Final = frozenset(KEYWORDS) - {"null", "true", "false", "row", "rows", "rownum"}
_COMMA = pattern(r"\s*,\s*")
_MODIFIER = pattern(r"(?<!\w)\d+", re.ASCII)
_DIGIT_NAME = pattern(r"\d+(?![eE]\d+\Z|[xX])\w*[A-Za-z_]\w*")
_ALLOW = pattern(r"dbsight:\s*allow\s+(\w+(?:\s*,\s*\w+){0,31})", re.IGNORECASE)


def _ends_no_operand(token: str) -> bool:
    """Whether a sign behind this token belongs to what follows it."""
    return token[-1] in "(,;[+-*/%<>=!|&^~:" or token in _NO_OPERAND


class Scanner:
    """One pass over one text.

    Attributes:
        text: What is read.
        out: Pieces of the sanitised text; ``copied`` is where the next piece begins.
        identity: Normalised tokens.
        literals: The literals as written, in order.
        grammar: What the statement does.
        frame: The IN list, row or array that the scanner is in; None in any other parenthesis.
        cut: Where the identity and the text ended before the latest comma of a list.
        limit: Characters that are read at most, long lists apart.
        skips: How many more lists may be skipped once the limit is reached.
        nesting: What lists in lists have in common.
        in_length: The length of the longest IN list.
        allowed: Rules named by ``dbsight: allow`` comments.
        doubt: Where the first string begins that ends elsewhere if a backslash means something else than it should; -1
            without.
        bare_until: Where a line ends that is known to hold no quote.
        names: Words in double quotes that are known to be names (SQLite).
        executable: How many ``/*! … */`` are open.
        stopped: The text is longer than what is read of it.
        truncated: The end is missing, or was hidden because it could be read in two ways.
    """

    __slots__ = (
        "allowed",
        "bare_until",
        "copied",
        "cut",
        "dialect",
        "doubt",
        "executable",
        "frame",
        "frames",
        "grammar",
        "identity",
        "in_length",
        "limit",
        "literals",
        "names",
        "nesting",
        "out",
        "skips",
        "stopped",
        "text",
        "truncated",
    )

    def __init__(self, text: str, dialect: Dialect, limit: int) -> None:
        self.text = text
        self.limit = min(limit, len(text))
        self.skips = _SKIPS
        self.nesting = Nesting()
        self.dialect = dialect
        self.out: list[str] = []
        self.copied = 0
        self.identity: list[str] = []
        self.literals: list[str] = []
        self.grammar = Grammar(dialect, self.identity)
        self.frames: list[Frame | None] = []
        self.frame: Frame | None = None
        self.cut: tuple[int, int] = (0, 0)
        self.in_length = 0
        self.allowed: set[str] = set()
        self.truncated = False
        self.names: set[str] = set()
        self.stopped = False
        self.executable = 0
        self.doubt = -1
        self.bare_until = 0

    def scan(self, rest: str = "") -> None:
        """Read the whole text.

        Args:
            rest: What stood behind the text and is hidden unread.
        """
        position = self._read(0)
        while position < len(self.text) and (behind := skip_list(self, position)):
            position = self._read(behind)
        self.stopped = position < len(self.text)
        if self.frames:
            leave_list(self, position)
        self.out.append(self.text[self.copied : position])
        if rest:
            self.out.append("?")
            self.literals.append(rest)
            self.identity.append("?")
        self.grammar.finish()
        if rest or self.limit < len(self.text) or self.grammar.stack:
            self.truncated = True

    def _read(self, position: int) -> int:
        """Read from a position up to the limit, which grows by the long lists on the way.

        Returns:
            The position behind the last token.
        """
        text = self.text
        match = self.dialect.match
        handler_of = KEYWORDS.get
        tokens = _TOKENS
        grammar = self.grammar
        add = self.identity.append
        limit = self.limit
        while position < limit and (found := match(text, position)) is not None:
            group = found.lastindex
            start, position = found.span(group)  # type: ignore[arg-type]  # one of the groups always matches
            if group == WORD:
                token = text[start:position]
                low = token.lower()
                handler = handler_of(low)
                if handler is None:
                    if grammar.expect and grammar.expected(token, low, None):
                        self.hide(start, position)
                    else:
                        add(low)
                elif grammar.expected(token, low, handler) if grammar.expect else handler(grammar, token, low):
                    self.hide(start, position)
                else:
                    add(low)
                    if grammar.op == SELECT and low in _BEFORE_COLUMNS:
                        position = self._columns(position)
            elif group == COMMA:
                if grammar.listed or grammar.want:
                    grammar.comma()
                if self.frame is None and grammar.rows != 2:
                    add(",")
                else:
                    position = comma_in_list(self, start)
                    limit = self.limit
            else:
                position = tokens[group](self, start, position)  # type: ignore[index]  # as above
        return position if position >= limit else len(text)  # else nothing but white space is left

    def sanitised(self) -> str:
        """The text without literals and comments, every stretch of white space one blank."""
        text = "".join(self.out).strip()
        if not ("  " in text or "\n" in text or "\t" in text or "\r" in text or "\f" in text or "\v" in text):
            return text
        if '"' in text or "'" in text or "`" in text or "[" in text:
            return self.dialect.spaces.sub(lambda found: found[1] or " ", text)
        return " ".join(text.split())

    # -- What becomes of a token ----------------------------------------------------------------------------------
    def hide(self, start: int, end: int) -> int:
        """Put ``?`` in place of a literal and remember it."""
        self.out += (self.text[self.copied : start], "?")
        self.copied = end
        self.literals.append(self.text[start:end])
        self.identity.append("?")
        if self.grammar.expect:
            self.grammar.literal()
        return end

    def hide_rest(self, start: int) -> int:
        """Hide everything from here on: a quote that is not closed, or that could be read in two ways."""
        self.truncated = True
        return self.hide(start, len(self.text))

    def _columns(self, position: int) -> int:
        """Take a list of plain columns in one step: the select list of an ORM."""
        found = self.dialect.columns(self.text, position)
        if found is None:
            return position
        columns = found.group(found.lastindex)  # type: ignore[arg-type]  # one of the groups always matches
        # The same that its tokens would give one by one, joined.
        if found.lastindex == 1:
            self.identity.append(" ".join(columns.lower().replace(",", " , ").split()))
        else:
            self.identity.append(columns.replace(",", " ,"))
        return found.end()

    def _name(self, start: int, end: int) -> int:
        """A name with quotes in it: its case is part of it, and no keyword is."""
        token = self.text[start:end]
        grammar = self.grammar
        if grammar.expect and grammar.expected(token, token, None):
            return self.hide(start, end)
        self.identity.append(token)
        return end

    def _beside(self, start: int, end: int) -> int:
        """A word that stands right beside a quote: ``IN'x'``."""
        token = self.text[start:end]
        low = token.lower()
        grammar = self.grammar
        handler = KEYWORDS.get(low)
        if grammar.expected(token, low, handler) if grammar.expect else handler and handler(grammar, token, low):
            return self.hide(start, end)
        self.identity.append(low)
        if "." in low and low.rpartition(".")[2] in _PREFIXES:
            return self.hide_rest(end)  # a.q'…: its end is ambiguous
        return end

    def _quoted(self, start: int, end: int) -> int:
        if self.dialect.double == "either" and self.text[start] == '"' and not is_name(self, start, end):
            return self.hide(start, end)
        return self._name(start, end)

    def _string(self, start: int, end: int) -> int:
        text = self.text
        dialect = self.dialect
        if self.grammar.expect in _NAMING and self.grammar.op != COPY and end - start <= _NAME_LIMIT:
            quote = text[start]
            if (quote == "'" and dialect.string_tables) or (quote == '"' and dialect.double != "identifier"):
                return self._name(start, end)
        if text.find("\\", start, end) >= 0 and is_ambiguous(self, start, end):
            if dialect.escapes is None:
                return self.hide_rest(start)
            if self.doubt < 0:
                self.doubt = start
        return self.hide(start, end)

    def _number(self, start: int, end: int) -> int:
        grammar = self.grammar
        token = self.text[start:end]
        if grammar.expect in _NAMING and self.dialect.name == "mysql" and _DIGIT_NAME.fullmatch(token):
            return self._name(start, end)
        behind = self.text[end : end + 1]
        if behind == "$" or (behind in _QUOTES and not token[-1].isdigit()):
            return self.hide_rest(start)  # 1e'…: a number and an escape string, or neither
        identity = self.identity
        signed = ""
        if identity and identity[-1] in _SIGNS and (len(identity) == 1 or _ends_no_operand(identity[-2])):
            # The sign belongs to the value: -5 and 5 are one query.
            signed = identity.pop() + token
            piece = self.text[self.copied : start].rstrip()
            if piece:
                self.out.append(piece[:-1])
                self.copied = start
        if grammar.want:
            grammar.bound(int(token) if token.isdecimal() and not signed and len(token) < 19 else None)
        self.hide(start, end)
        if signed:
            self.literals[-1] = signed
        return end

    def _placeholder(self, start: int, end: int) -> int:
        grammar = self.grammar
        if grammar.want:
            grammar.bound(-1)
        if grammar.expect and grammar.expect != COMMAND:  # EXEC @status = proc
            grammar.literal()
        self.identity.append("?")
        return end

    def _cast(self, start: int, end: int) -> int:
        token = self.text[start:end]
        if self.identity[-1:] != ["?"]:
            self.identity.append("".join(token.split()).lower())
        # Else it is the driver's: asyncpg writes $1::INTEGER where sqlite3 writes ?
        if "(" in token or "[" in token:
            self.out += (self.text[self.copied : start], _MODIFIER.sub("?", token))
            self.copied = end
        return end

    def _operator(self, start: int, end: int) -> int:
        symbol = self.text[start:end]
        if symbol == "*" and self.executable and self.text.startswith("/", end):
            self.executable -= 1
            return self.comment(start, end + 1)
        if self.grammar.expect in _NAMING and symbol[0] in _COMPARISONS:
            self.grammar.literal()  # an expression: no table comes any more
        self.identity.append(symbol)
        return end

    # -- Marks ----------------------------------------------------------------------------------------------------
    def _mark(self, start: int, end: int) -> int:
        char = self.text[start]
        grammar = self.grammar
        if char in "([":
            before = self.identity[-1] if self.identity else ""
            frame = frame_for(self, char, before)
            columns = grammar.op == INSERT and frame is None and not grammar.expect
            self.frames.append(self.frame)
            self.frame = frame
            grammar.open(before)
            self.identity.append(char)
            if columns:
                return self._columns(end)
        elif char in ")]":
            frame = self.frame
            self.frame = self.frames.pop() if self.frames else None
            if frame is not None:
                close_list(self, frame, start, end)
            grammar.close()
            if frame is None or not frame.gone:
                self.identity.append(char)
            if frame is not None and frame.sort in (ROW, EXTRA):
                grammar.rows = 2
        else:
            grammar.semicolon()
        return end

    def comment(self, start: int, end: int) -> int:
        """A comment becomes a blank."""
        text = self.text
        self.out.append(text[self.copied : start] + " ")
        self.copied = end
        if "dbsight" in text[start:end]:
            for found in _ALLOW.finditer(text, start, end):
                self.allowed.update(_COMMA.split(found[1]))
        return end


_TOKENS: Final[dict[int, Callable[[Scanner, int, int], int]]] = {
    MARK: Scanner._mark,
    COMPARISON: Scanner._operator,
    QUOTED: Scanner._quoted,
    STRING: Scanner._string,
    NUMBER: Scanner._number,
    PLACEHOLDER: Scanner._placeholder,
    LETTER: read_letter,
    CAST: Scanner._cast,
    COMMENT: Scanner.comment,
    OPENER: read_opener,
    BESIDE: Scanner._beside,
    OPERATOR: Scanner._operator,
}
