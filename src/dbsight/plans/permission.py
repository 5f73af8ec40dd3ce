"""What may be explained, and what may be executed for it: decided from the text before anything is sent.

This is the first line of defence; the second is the database's own, a read-only transaction that is rolled back. Where
the two can disagree, or a text can be read in two ways, the statement is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.plans.errors import ExplainRefusedError
from dbsight.statement.sql.reader import READ_LIMIT, dialect_of
from dbsight.statement.sql.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPENERS: Final = frozenset(("select", "with", "insert", "update", "delete", "replace", "merge", "values", "table"))
_WRITING: Final = frozenset(("insert", "update", "delete", "merge", "into"))
_ASSIGNMENT: Final = re.compile(r"@\S*\s*:\s*=")
_LOCKING: Final = re.compile(
    r"\bfor (?:no key )?(?:update|share)\b|\bfor key share\b|\block in (?:share|exclusive) mode\b"
)
_DOUBTFUL: Final = re.compile(r"--|/\*|[#\\$\[]")
"""What databases read in different ways: with it, a semicolon in a string may end the statement."""

_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`")
_EXECUTABLE_COMMENT: Final = re.compile(r"/\*M?!")
_NAME: Final = r"[^\W\d][\w$]*|\"(?:[^\"]|\"\")+\"|`(?:[^`]|``)+`|\[[^\]]+\]"
_CALLS: Final = re.compile(rf"({_NAME})\s*\(")
_NAMES: Final = re.compile(_NAME)
_COMMENT: Final = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)

LASTING: Final = re.compile(
    r"dblink\w*|pg_(?:try_)?advisory_\w+|pg_(?:terminate|cancel)_backend|pg_sleep\w*|lo_(?:import|export)|pg_file_\w+"
    r"|pg_(?:reload_conf|rotate_logfile|promote|switch_wal|create_restore_point|wal_replay_\w+|stat_reset\w*|logical_\w+"
    r"|replication_\w+|(?:create|copy)_\w*replication_slot|drop_replication_slot|sync_replication_slots|backup_\w+"
    r"|start_backup|stop_backup|export_snapshot|log_\w+|stat_\w*reset|prewarm)|setval|ts_stat|ts_rewrite"
    r"|set_config|query_to_xml\w*|get_lock|release_(?:all_)?locks?|sleep|benchmark|load_file|load_extension|sys_exec"
    r"|sys_eval|lastval|writefile|edit|fts3_tokenizer",
    re.IGNORECASE,
)
"""Functions whose effect outlives a rollback, that block, or that run a text: never executed."""


def check_text(text: str, system: str) -> list[str]:
    """Refuse what is more or other than one statement that databases explain.

    Args:
        text: The statement.
        system: ``db.system.name``.

    Returns:
        Its normalised tokens, without literals, keywords in lower case.

    Raises:
        ExplainRefusedError: It is several statements, no query, or cannot be read with certainty.
    """
    if "\0" in text:
        raise ExplainRefusedError("a statement with a NUL character cannot be read with certainty")
    if system in ("mysql", "mariadb") and _EXECUTABLE_COMMENT.search(text):
        raise ExplainRefusedError("a comment that the server executes (/*! … */) cannot be explained safely")
    scanner = Scanner(text, dialect_of(system), READ_LIMIT)
    scanner.scan()
    if scanner.truncated or scanner.stopped:
        raise ExplainRefusedError("the statement is too long, or a quote or comment in it is not closed")
    tokens = scanner.identity
    if ";" in tokens[:-1]:
        raise ExplainRefusedError("only one statement can be explained at a time")
    body = text.rstrip().rstrip(";")
    if ";" in body and (scanner.doubt >= 0 or _DOUBTFUL.search(body) or ";" in _QUOTED.sub("", body)):
        raise ExplainRefusedError("a semicolon in a string, and comments or escapes beside it: cannot be read safely")
    first = next((each for each in tokens if each != "("), "")
    if first not in _OPENERS:
        raise ExplainRefusedError(
            f"databases explain SELECT, INSERT, UPDATE, DELETE and the like, not {first.upper() or 'nothing'}"
        )
    return tokens


def check_execution(text: str, tokens: Sequence[str], *, rollback: bool) -> None:
    """Refuse to execute what changes data or takes locks.

    Args:
        text: The statement.
        tokens: What ``check_text`` returned.
        rollback: Whether the caller wants changes to be made and rolled back.

    Raises:
        ExplainRefusedError: It does more than read; the message says what.
    """
    lasting = next((name for name in called(text) if LASTING.fullmatch(name)), None)
    if lasting:
        raise ExplainRefusedError(f"{lasting}() has effects that a rollback does not undo: explain without analyze")
    if rollback:
        return
    writing = not _WRITING.isdisjoint(tokens)
    numbers = any(name.lower() == "nextval" for name in called(text))
    if writing or numbers or tokens[0] == "replace" or _ASSIGNMENT.search(text):
        raise ExplainRefusedError(
            "analyze executes the statement, and this one writes: explain without analyze, or pass rollback=True"
        )
    if _LOCKING.search(" ".join(tokens)):
        raise ExplainRefusedError(
            "analyze executes the statement, and this one locks rows: explain without analyze, or pass rollback=True"
        )


def called(text: str) -> set[str]:
    """Names in front of a parenthesis, without quotes: all functions that a text calls, and more."""
    names: set[str] = set()
    for candidate in (text, _COMMENT.sub(" ", text)):
        names.update(map(_bare, _CALLS.findall(candidate)))
    return names


def mentioned(text: str) -> set[str]:
    """All names in a text, without quotes: of tables and views, and more."""
    return {*map(_bare, _NAMES.findall(text))}


def _bare(name: str) -> str:
    mark = name[0]
    if mark in '"`':
        return name[1:-1].replace(mark * 2, mark)
    return name[1:-1] if mark == "[" else name
