"""Functions with side effects on MySQL and MariaDB: those of a statement, and those of the views that it reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.plans.errors import ExplainRefusedError
from dbsight.plans.options import quoted
from dbsight.plans.permission import LASTING, called, mentioned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.plans.options import Options, Session

_PAIR: Final = re.compile(r"([\w$]+|`(?:[^`]|``)+`)\s*\.\s*(?=([\w$]+|`(?:[^`]|``)+`))")


def check_functions(session: Session, text: str, options: Options) -> None:
    """Refuse what calls a function that may write, lock, or wait.

    With ``analyze``, the statement is executed. Without it, planners call some of the functions all the same: those of
    a derived table of one row, as in ``SELECT * FROM (SELECT SLEEP(10)) AS one`` or a view like it, and those of
    conditions on rows that are found by their key.

    Raises:
        ExplainRefusedError: It does; the message names the function.
    """
    names = {name.lower() for each in (text, *_views(session, text)) for name in called(each)}
    lasting = next((name for name in sorted(names) if LASTING.fullmatch(name)), None)
    if lasting:
        raise ExplainRefusedError(
            f"{lasting}() has effects that a rollback does not undo, and may be called for a plan"
        )
    if options.rollback or not names:
        return
    # READS SQL DATA, NO SQL and DETERMINISTIC are promises; a function without any of them may do anything.
    rows = session.rows(
        "SELECT routine_name FROM information_schema.routines WHERE routine_type = 'FUNCTION'"  # noqa: S608 - quoted
        f" AND routine_name IN ({_listed(names)}) AND (sql_data_access = 'MODIFIES SQL DATA'"
        " OR (sql_data_access = 'CONTAINS SQL' AND is_deterministic = 'NO'))"
    )
    if rows:
        raise ExplainRefusedError(
            f"{rows[0][0]}() is declared neither DETERMINISTIC nor READS SQL DATA: it may have side effects, and may be"
            " called for a plan. Declare it, or pass analyze=True and rollback=True"
        )


def _listed(names: set[str]) -> str:
    if any("\\" in name for name in names):
        raise ExplainRefusedError("a name with a backslash in it cannot be looked up safely")
    return ", ".join(map(quoted, sorted(names)))


def _views(session: Session, text: str) -> Iterator[str]:
    """Definitions of the views that a text names, and of those that they name."""
    ((current,),) = session.rows("SELECT DATABASE()")
    texts = [text]
    asked: set[tuple[str, str]] = set()
    for each in texts:  # which grows
        pairs = {(_bare(schema), _bare(name)) for schema, name in _PAIR.findall(each)}
        pairs |= {(str(current or ""), name) for name in mentioned(each)}
        found = _definitions(session, sorted(pairs - asked))
        asked |= pairs
        texts += found
        yield from found


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _definitions(session: Session, pairs: list[tuple[str, str]]) -> list[str]:
    """Definitions of those that are views. One look-up each: MariaDB would open every table of the server otherwise."""
    found: list[str] = []
    for start in range(0, len(pairs), 50):
        looked_up = (
            "SELECT view_definition FROM information_schema.views"  # noqa: S608 - quoted
            f" WHERE table_schema = {_listed({schema})} AND table_name = {_listed({name})}"
            for schema, name in pairs[start : start + 50]
        )
        found += [str(row[0]) for row in session.rows(" UNION ALL ".join(looked_up))]
    return found
