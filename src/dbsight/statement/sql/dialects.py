"""Quotes, comments and placeholders of each SQL dialect, compiled into the pattern that finds the next token.

The pattern only says where a token ends and of which sort it is; what it means is the scanner's and the grammar's
business. Every alternative is written so that a failed attempt costs time linear in what it read: a string that is
not closed fails once and is then taken whole, to the end of the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from dbsight.model.deferred import computed

if TYPE_CHECKING:
    from collections.abc import Callable

    Match = Callable[..., re.Match[str] | None]

# The groups of the pattern, in its order.
WORD: Final = 1
"""A plain name or keyword, dots included: ``select``, ``orders.id``. First, because most tokens are words."""
COMMA: Final = 2
MARK: Final = 3
"""Parentheses, semicolons, and brackets where they are arrays."""
COMPARISON: Final = 4
QUOTED: Final = 5
"""A name with quotes in it: ``"Order"."id"``, ``[dbo].[Orders]``, ``public."Order"``."""
STRING: Final = 6
"""A closed string, with its prefix: ``'x'``, ``N'x'``, ``E'x'``; a bare UUID where a dialect may have them."""
NUMBER: Final = 7
PLACEHOLDER: Final = 8
LETTER: Final = 9
"""Letters that open what the scanner must close: ``q'[`` in Oracle, an ``E'`` that no quote closes."""
CAST: Final = 10
"""``::numeric(10, 2)``."""
COMMENT: Final = 11
"""Comments, as many as stand together."""
OPENER: Final = 12
"""What opens a comment, dollar string or quote that the alternatives above could not close by themselves."""
BESIDE: Final = 13
"""A word right beside a quote that is none of its own: ``IN'x'``."""
OPERATOR: Final = 14

# Every character beyond ASCII may stand in a name; a negated ASCII set is the fastest way to say so.
_FIRST = r"[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f]"
_NEXT = r"[^\x00-\x23\x25-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"  # letters, digits, _ and $
_LINK = r"[^\x00-\x23\x25-\x2d\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"  # and the dot
_WIDE_LINK = r"[^\x00-\x22\x25-\x2d\x2f\x3a-\x3f\x5b-\x5e\x60\x7b-\x7f]"  # and # and @
_SPACE = r"[ \t\r\n\f\v]"
_SOLID = r"[^ \t\r\n\f\v]"
_NAME = f"{_FIRST}{_NEXT}*"
_CHAIN = f"{_FIRST}{_LINK}*"
_PLAIN_CHAIN = _FIRST + r"[^\x00-\x2d\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]*"  # without $
_WIDE_CHAIN = f"{_FIRST}{_WIDE_LINK}*"
# With strings in dollars: a$b is a name, and in a.$$b$$ the name ends with the dot.
_DOLLAR_CHAIN = rf"{_NAME}(?:\.{_NAME})*\.?"
_NEVER = "(?!)"
_FLAGS = re.ASCII | re.DOTALL

_PLAIN = r"'[^']*(?:''[^']*)*'(?!')"
_ESCAPED = r"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'(?!')"
_ESCAPED_DOUBLE = r'"[^"\\]*(?:(?:""|\\.)[^"\\]*)*"(?!")'
_DOUBLE = r'"[^"]*(?:""[^"]*)*"(?!")'
_BACKTICK = r"`[^`]*(?:``[^`]*)*`(?!`)"
_BRACKET = r"\[[^\]]*(?:\]\][^\]]*)*\](?!\])"

_NEXT_LINE = r"(?:[ \t\f]|--[^\r\n]*)*[\r\n](?:[ \t\r\n\f\v]|--[^\r\n]*)*"

_NESTING = r"/\*[^*/]*(?:(?:\*(?!/)|/(?!\*))[^*/]*)*\*/"  # one without another comment inside
_BLOCK = r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/"
_BLOCK_NOT_EXECUTABLE = r"/\*(?!M?!)[^*]*\*+(?:[^/*][^*]*\*+)*/"
_DASHES = r"--[^\n]*"

_PERCENT = r"%s(?![A-Za-z0-9_$])|%\([^()'\"\s]{1,128}\)[sbtd]|%[bt](?![A-Za-z0-9_$])"
_COLON = rf":{_NAME}"
# At most five digits: no database takes more parameters, and a longer number is a value.
_COLON_NUMBER = r":\d{1,5}(?![\w.])"
_DOLLAR = r"\$\d{1,5}(?![\w.])"
_TAG = r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$"

# Letters belong to it, whatever they mean: 0x1F, 1e5, 1_000, 5n.
_NUMBER = r"(?:\d|\.\d)(?:[^\x00-\x2d\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]|(?<=[eE])[-+](?=\d))*"
# Cassandra writes UUIDs bare.
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

_ZONE = r"(?:\s+(?i:with(?:out)?\s+time\s+zone|precision|varying)\b)?"
_CAST = (
    rf"::\s*(?:{_NAME}|{_DOUBLE})(?:\.(?:{_NAME}|{_DOUBLE}))*(?!{_NEXT}|['\"&]){_ZONE}"
    rf"(?:\s*\(\s*\d+\s*(?:,\s*-?\d+\s*)?\))?{_ZONE}(?:\s*\[\d*\])*"
)


class Dialect:
    """How one family of databases writes SQL. Each pattern is compiled when it is first used.

    Args:
        name: ``postgresql``, ``mysql``, ``sqlite``, ``sql_server``, ``oracle``, ``ansi`` or ``other``.
        string: A closed string, with its prefix.
        letter: Letters and a quote that open what the scanner must close.
        quoted: A quoted name.
        placeholder: A bound value.
        opener: What opens a comment, dollar string or quote that is not closed.
        beside: What must not follow a plain word.
        chain: A plain name, dots included.
        careful: The same behind or before a quote.
        unlike: What no word begins with.
        mark: Parentheses, semicolons, and brackets where they are arrays.
        number: A number.
        cast: ``::type``.
        comments: Comments that end.
        before_dot: What is a name only where a dot follows.
        nests: Whether ``/* /* */ */`` is one comment.
        escapes: Whether a backslash escapes inside ``'…'``; None when it cannot be known.
        double: What ``"…"`` is: an identifier, a string, or either (SQLite takes an unknown identifier for a string).
        string_tables: Whether ``FROM 'artists'`` names a table.
        select_into: Whether ``SELECT … INTO name`` makes a table.
    """

    def __init__(
        self,
        name: str,
        *,
        string: str,
        letter: str,
        quoted: str,
        placeholder: str,
        opener: str,
        beside: str = rf"{_LINK}|['\"`]",
        chain: str = _CHAIN,
        careful: str = "",
        unlike: str = "",
        mark: str = "[();]",
        number: str = _NUMBER,
        cast: str = _NEVER,
        comments: str = f"{_DASHES}|{_BLOCK}",
        before_dot: str = _NEVER,
        nests: bool = False,
        escapes: bool | None = False,
        double: Literal["identifier", "string", "either"] = "identifier",
        string_tables: bool = False,
        select_into: bool = False,
    ) -> None:
        self.name = name
        self.nests = nests
        self.escapes = escapes
        self.double = double
        self.string_tables = string_tables
        self.select_into = select_into
        self._string = string
        self._letter = letter
        self._quoted = quoted
        self._placeholder = placeholder
        self._opener = opener
        self._beside = beside
        self._chain = chain
        self._careful = careful or chain
        self._unlike = unlike
        self._mark = mark
        self._number = number
        self._cast = cast
        self._comments = comments
        # The names of a chain, once one of them has quotes.
        link = rf"(?:{self._careful}|{quoted})"
        if before_dot != _NEVER:
            link = rf'(?:{self._careful}|{quoted}|"[^"\\]*")'
        names = rf"(?:{self._careful}(?<=\.))?(?:{quoted})(?:\.{{1,2}}{link})*"
        self._names = names if before_dot == _NEVER else rf"{names}|{before_dot}(?:\.{link})+"
        literal = r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[nN]?'[^'\\]*(?:''[^'\\]*)*'|[-+][\d.]+|\.\d+|(?i:true|false)"
        self._bound = rf"(?:{placeholder}|(?i:null|default))"
        self._literal = literal
        self._suffix = rf"(?:{cast})?"
        self._either = rf"(?:{self._bound}|{literal}){self._suffix}"

    @computed
    def match(self) -> Match:
        """Finds the token at a position; its ``lastindex`` is one of the groups above. None at the end."""
        # A word beside a quote may be the prefix of a string or the beginning of a quoted name: the first alternative
        # leaves it to later ones.
        return re.compile(
            rf"{_SPACE}*(?:({self._unlike}{self._chain}(?!{self._beside}))"
            rf"|(,)"
            rf"|({self._mark})"
            rf"|([<>=!]+)"
            rf"|({self._names})"
            rf"|({self._string})"
            rf"|({self._number})"
            rf"|({self._placeholder})"
            rf"|({self._letter})"
            rf"|({self._cast})"
            rf"|((?:{self._comments})(?:{_SPACE}*(?:{self._comments}))*)"
            rf"|({self._opener})"
            rf"|({self._careful})"
            rf"|(::|[|&^~]+|{_SOLID}))",
            _FLAGS,
        ).match

    @computed
    def columns(self) -> Match:
        """Finds a list of plain columns with their labels (group 1), or of quoted ones (group 2)."""
        label = rf"(?:{_SPACE}+[Aa][Ss]{_SPACE}+{_NAME})?"
        # A word that a comma follows is a column, unless it is a value.
        column = rf"(?!(?i:true|false|null|default)\b){_NAME}(?:\.{_NAME})?{label}(?={_SPACE}*[,)])"
        dotted = rf"{_NAME}\.{_NAME}(?:\.{_NAME})*{label}(?!{self._beside}|{_SPACE}*\()"
        quoted_column = rf"(?:{self._quoted})(?:\.(?:{self._quoted}))+(?!\.)"
        return re.compile(
            rf"{_SPACE}*((?:{column}{_SPACE}*,{_SPACE}*)*(?:{dotted}|{column}))"
            rf"|{_SPACE}*({quoted_column}(?:, {quoted_column})*)",
            _FLAGS,
        ).match

    @computed
    def more(self) -> Match:
        """Finds ``, value`` any number of times, up to a comma or parenthesis."""
        return re.compile(rf"(?:\s*,\s*{self._either})+(?=\s*[,)\]])", _FLAGS).match

    @computed
    def more_rows(self) -> Match:
        """Finds ``, (value, …)`` any number of times."""
        row = rf"\s*,\s*\(\s*{self._either}(?:\s*,\s*{self._either})*\s*\)"
        return re.compile(rf"(?:{row})+(?=\s*(?:[,;)]|\Z|[A-Za-z]))", _FLAGS).match

    @computed
    def value(self) -> re.Pattern[str]:
        """One simple value: group 1 a placeholder or NULL, group 2 a literal; or, group 3, the beginning of a row."""
        return re.compile(rf"({self._bound}){self._suffix}|({self._literal}){self._suffix}|(\()", _FLAGS)

    @computed
    def spaces(self) -> re.Pattern[str]:
        """Finds white space, and (group 1) quoted names, whose white space is theirs."""
        return re.compile(rf"({self._quoted}|\"[^\"]*\"|'[^']*')|\s+", re.DOTALL)

    @computed
    def filling(self) -> Match:
        """Finds up to a thousand tokens that open and close nothing: what a long list is made of."""
        return re.compile(
            rf"(?:\s+|{self._unlike}{self._chain}(?!{self._beside})|{self._names}|{self._string}|{self._number}"
            rf"|{self._placeholder}|{self._cast}|{self._comments}|[,.<>=!+*%|&^~]|-(?!-)|/(?![*/])){{1,1000}}",
            _FLAGS,
        ).match


POSTGRESQL: Final = Dialect(
    "postgresql",
    # A string that goes on in the next line keeps the escapes of its beginning.
    string=rf"[eE]{_ESCAPED}(?:{_NEXT_LINE}{_ESCAPED})*(?!{_NEXT_LINE}')|(?:[nNbBxX]|[uU]&)?{_PLAIN}",
    letter="[eEnNbBxX]'|[uU]&'",
    beside=rf"{_LINK}|['\"`&$]",
    chain=_PLAIN_CHAIN,
    careful=_DOLLAR_CHAIN,
    quoted=_DOUBLE,
    placeholder=rf"\?|{_DOLLAR}|{_PERCENT}|{_COLON}",
    cast=_CAST,
    mark=r"[();\[\]]",
    comments=rf"--[^\r\n]*|{_NESTING}",
    opener=rf"/\*|{_TAG}|['\"]",
    nests=True,
    select_into=True,
)

MYSQL: Final = Dialect(
    "mysql",
    string=rf"(?:[nNbBxX]|_[A-Za-z0-9]+\ *)?(?:{_ESCAPED}|{_ESCAPED_DOUBLE})",
    letter=r"[nNbBxX]['\"]|_[A-Za-z0-9]+\ *['\"]",
    quoted=_BACKTICK,
    before_dot=r'"[^"\\]*"(?=\.)',  # ANSI_QUOTES: nothing but a name can stand before a dot
    chain=f"(?:@@)?{_CHAIN}",
    placeholder=rf"\?|{_PERCENT}|{_COLON}|{_COLON_NUMBER}|@{_NAME}",
    comments=rf"--(?=[ \t\r\n\f\v]|\Z)[^\n]*|\#[^\n]*|{_BLOCK_NOT_EXECUTABLE}",
    opener=r"/\*(?:M?!\d*)?|['\"`]",
    escapes=True,
    double="string",
)

SQLITE: Final = Dialect(
    "sqlite",
    string=rf"[xX]?{_PLAIN}",
    letter="[xX]'",
    beside=rf"{_LINK}|['\"`\[]",
    quoted=rf"{_DOUBLE}|{_BACKTICK}|\[[^\]]*\]",
    placeholder=rf"\?\d{{0,5}}(?![\w.])|{_PERCENT}|{_COLON}|{_COLON_NUMBER}|[@$]{_NAME}|{_DOLLAR}",
    opener=r"/\*|['\"`\[]",
    double="either",
    string_tables=True,
)

SQL_SERVER: Final = Dialect(
    "sql_server",
    string=rf"[nN]?{_PLAIN}",
    letter="[nN]'",
    beside=rf"{_WIDE_LINK}|['\"`\[]",
    quoted=rf"{_BRACKET}|{_DOUBLE}",
    chain=rf"(?:@@|\#\#?)?{_WIDE_CHAIN}",
    number=rf"\$?{_NUMBER}",  # $12.50 is money
    placeholder=rf"\?|@{_NEXT}+|{_PERCENT}|{_COLON}|{_COLON_NUMBER}",
    comments=rf"{_DASHES}|{_NESTING}",
    opener=r"/\*|['\"\[]",
    nests=True,
    select_into=True,
)

ORACLE: Final = Dialect(
    "oracle",
    string=rf"[nN]?{_PLAIN}",
    letter="[nN]?[qQ]'|[nN]'",
    beside=rf"{_WIDE_LINK}|['\"`]",
    quoted=_DOUBLE,
    chain=_WIDE_CHAIN,  # orders@archive is a table behind a database link
    placeholder=rf"\?|{_COLON}|{_COLON_NUMBER}|:\"[^\"]*\"|{_PERCENT}",
    opener=r"/\*|['\"]",
)


def _unknown(name: str, double: Literal["identifier", "string"]) -> Dialect:
    """The union of them all: where two readings differ, the rest of the text is hidden."""
    is_name = double == "identifier"
    string = _PLAIN if is_name else rf"(?:{_PLAIN}|{_DOUBLE})"
    return Dialect(
        name,
        string=rf"(?:[nNbBxXrR]|[uU]&)?{string}|[eE]{_ESCAPED}|{_UUID}",
        letter="[nN]?[qQ]'|[eEnNbBxXrR]['\"]|[uU]&['\"]",
        beside=rf"{_LINK}|['\"`&$]",
        unlike=rf"(?!{_UUID})",
        quoted=rf"{_DOUBLE}|{_BACKTICK}" if is_name else _BACKTICK,
        before_dot=_NEVER if is_name else r'"[^"\\]*"(?=\.)',
        chain=rf"(?:@@)?{_PLAIN_CHAIN}",
        careful=rf"(?:@@)?{_DOLLAR_CHAIN}",
        number=rf"{_NUMBER}|\$(?!\d{{1,5}}(?![\w.]))\d{_NEXT}*(?:\.\d+)?",
        placeholder=rf"\?\d{{0,5}}(?![\w.])|{_PERCENT}|{_COLON}|(?<![\w\]\[)\"]){_COLON_NUMBER}|{_DOLLAR}|@{_NAME}",
        cast=_CAST,
        mark=r"[();\[\]]",
        comments=rf"{_DASHES}|{_NESTING}",
        opener=rf"/\*|{_TAG}|['\"`]|\#|//",
        nests=True,
        escapes=None,
        double=double,
        string_tables=True,
        select_into=True,
    )


ANSI: Final = _unknown("ansi", "identifier")
OTHER: Final = _unknown("other", "string")
