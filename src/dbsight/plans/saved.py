"""Statements of saved reports: their values are unknown, and so is the style of their driver's placeholders."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dbsight.plans.errors import ExplainError
from dbsight.plans.literals import literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER: Final = re.compile(
    r"(?P<skipped>\"(?:[^\"]|\"\")*\"|`[^`]*`)"
    r"|(?P<percent>%%)|%\((?P<pyformat>[^)]+)\)s|(?P<format>%s)|\$(?P<number>\d+)|(?<![:\w]):(?P<named>[A-Za-z_]\w*)|(?P<qmark>\?)(?![|&])"
)


def with_values(text: str, values: Mapping[str, Any], system: str) -> tuple[str, int]:
    """Put values in the place of placeholders, and write those that have none as the database does.

    Args:
        text: The sanitised text of a statement: its literals are ``?``, next to the driver's own placeholders.
        values: By name; of placeholders without one by their position in the text, ``"1"`` for the first.
        system: ``db.system.name``.

    Returns:
        The text, and how many placeholders without a value it has: ``$1``, ``$2`` … on PostgreSQL, else ``?``.

    Raises:
        ExplainError: There is no such placeholder, or the planner of this database needs all values.
    """
    left: dict[str, str] = {}
    used: set[str] = set()
    place = 0

    def replaced(match: re.Match[str]) -> str:
        nonlocal place
        if match["skipped"] is not None:
            return match["skipped"]
        if match["percent"] is not None:  # how drivers with %s write one
            return "%"
        place += 1
        name = match["pyformat"] or match["named"] or (f"${match['number']}" if match["number"] else str(place))
        key = name if name in values else str(place)
        if key in values:
            used.add(key)
            return literal(values[key], system)
        if system != "postgresql":
            left[f"{place}"] = name
            return "?"
        return left.setdefault(name, f"${len(left) + 1}")

    written = _PLACEHOLDER.sub(replaced, text)
    unknown = sorted(values.keys() - used)
    if unknown:
        raise ExplainError(f"the statement has no placeholder {unknown[0]}")
    if left and system in ("mysql", "mariadb"):
        wanted = " ".join(f"-p {name}=VALUE" for name in left.values())
        raise ExplainError(f"MySQL and MariaDB plan a statement with its values only: add {wanted}")
    return written, len(left)
