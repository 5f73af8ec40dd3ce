"""Names in quotes and texts in JSON, as MySQL and MariaDB read and write them in each ``sql_mode``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from dbsight.plans.errors import ExplainError, ExplainRefusedError

if TYPE_CHECKING:
    from dbsight.model import Plan
    from dbsight.plans.options import Session

_PARTS: Final = re.compile(
    r"(?P<other>'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`|--(?=\s|$)[^\n]*|\#[^\n]*|/\*.*?\*/)|\"(?P<name>(?:[^\"]|\"\")*)\"",
    re.DOTALL,
)
_LINE: Final = re.compile(r'(?P<start>\s*"\w+": )(?:"(?P<text>.*)"|\["(?P<list>.*)"\])(?P<end>,?)')
_ESCAPED: Final = re.compile(r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')


def has_ansi_quotes(session: Session) -> bool:
    """Whether double quotes stand around names on this connection, as in ``sql_mode = ANSI``."""
    if session.system not in ("mysql", "mariadb"):
        return False
    ((mode,),) = session.rows("SELECT @@SESSION.sql_mode")
    return "ANSI_QUOTES" in str(mode)


def with_backticks(text: str) -> str:
    """A statement or a condition whose names have backticks instead of double quotes: the same in each mode."""

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return found[0]
        plain = name.replace('""', '"').replace("`", "``")
        return f"`{plain}`"

    return _PARTS.sub(replaced, text)


def readable(text: str, session: Session) -> str:
    """A statement with backticks around its names, where the connection reads double quotes as such.

    Raises:
        ExplainRefusedError: With backslashes in it as well, it is not certain where a string ends.
    """
    if '"' not in text or not has_ansi_quotes(session):
        return text
    if "\\" in text:
        raise ExplainRefusedError("names in double quotes, and a backslash beside them: cannot be read safely")
    return with_backticks(text)


def with_readable_names(plan: Plan) -> None:
    """Put backticks around the names in the conditions of a plan from a connection with ``ANSI_QUOTES``."""
    for node in plan.nodes():
        node.condition = node.condition and with_backticks(node.condition)
        node.filter = node.filter and with_backticks(node.filter)
        node.keys = tuple(map(with_backticks, node.keys))


def read_json(text: str) -> dict[str, Any]:
    """What ``FORMAT=JSON`` returned. MariaDB escapes neither quotes nor backslashes in conditions and names.

    It writes one property per line: what stands between the first and the last quote of a line is the text.

    Raises:
        ExplainError: It is not JSON in that form either.
    """
    try:
        answer: dict[str, Any] = json.loads("\n".join(map(_escaped, text.split("\n"))))
    except ValueError as error:
        raise ExplainError("the database returned a plan that is not JSON") from error
    return answer


def _escaped(line: str) -> str:
    found = _LINE.fullmatch(line)
    if not found:
        return line
    if found["list"] is not None:
        texts = ", ".join(map(_quoted, found["list"].split('", "')))
        return f"{found['start']}[{texts}]{found['end']}"
    return f"{found['start']}{_quoted(found['text'])}{found['end']}"


def _quoted(text: str) -> str:
    return f'"{text}"' if _ESCAPED.fullmatch(text) else json.dumps(text)
