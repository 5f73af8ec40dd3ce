"""Values that are written without quotes: passwords, settings of an application, arguments of a procedure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern
from dbsight.statement.sql.vocabulary import words

if TYPE_CHECKING:
    from dbsight.statement.sql.grammar import Grammar

_ASSIGNING: Final = frozenset(("=", "to", ":=", "("))
_SETTING: Final = words("set alter create grant pragma declare change")
_KEY: Final = pattern(r"pass|pwd|secret|token|key\b|credential|auth_?string", re.IGNORECASE)
_PASSWORDS: Final = words("password passwd old_password pwd")
_ABOUT_PASSWORDS: Final = words(
    "expire expired history reuse require current lock default interval never optional unbounded policy null none for"
    " to file externally globally and retain discard old account must_change hashed = day"
)
"""What may follow PASSWORD and is no password."""

_EXECUTED: Final = words(
    "output out default null with recompile result sets none undefined as at login user using into immediate true false"
)
"""What may follow EXEC and the name of a procedure, and is no argument."""

_NEAR: Final = 8  # tokens between IDENTIFIED and the password


def is_secret(grammar: Grammar, low: str) -> bool:
    """Whether a word behind the name of an object, or within a command, is a value.

    Args:
        grammar: Its ``identity`` ends in front of the word.
        low: The word in lower case.
    """
    identity = grammar.identity
    before = identity[-1] if identity else ""
    opener = grammar.opener
    if opener in ("exec", "execute") and grammar.dialect.name in ("sql_server", "ansi", "other"):
        return low not in _EXECUTED
    if before in _PASSWORDS:
        return low not in _ABOUT_PASSWORDS
    if opener == "attach":
        return before == "key"
    if before in ("by", "as", "using", "replace") and "identified" in identity[-_NEAR:]:
        return True
    return opener in _SETTING and _is_told(grammar, before)


def _is_told(grammar: Grammar, before: str) -> bool:
    """Whether this is what a setting is set to, and may be anything: that of an application has a dot in its name."""
    identity = grammar.identity
    if before in _ASSIGNING:
        key = identity[-2] if len(identity) > 1 else ""
        return (
            ("." in key and grammar.opener != "pragma") or _KEY.search(key) is not None or "password" in identity[-5:]
        )
    # SET app.k = a, b; elsewhere a comma separates assignments.
    return (
        before == "," and grammar.opener == "set" and identity[-2:-1] == ["?"] and grammar.dialect.name == "postgresql"
    )
