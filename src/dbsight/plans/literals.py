"""A statement with its values in it, for a planner and a parser alone: it is explained, never executed or reported."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from dbsight.plans.errors import ExplainError

_PLACEHOLDERS: Final = {
    "qmark": r"\?",
    "format": r"%s",
    "pyformat": r"%\((?P<name>[^)]+)\)s",
    "named": r"(?<!:):(?P<name>[A-Za-z_]\w*)",
    "numeric": r"(?<!:):(?P<number>\d+)",
    "numeric_dollar": r"\$(?P<number>\d+)",
}
_SKIPPED: Final = r"(?P<skipped>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/)"


def with_literals(text: str, parameters: Any, paramstyle: str, system: str, *, hidden: bool = False) -> str:
    """Put values in the place of their placeholders.

    Args:
        text: The statement as the driver takes it.
        parameters: Its values, by position or name; None where there are none.
        paramstyle: The driver's.
        system: ``db.system.name``.
        hidden: Put a placeholder of the form ``:value`` in the place of each instead.

    Raises:
        ExplainError: A value cannot be written as a literal with certainty, or there are fewer than placeholders.
    """
    if not parameters:
        return text
    if paramstyle not in _PLACEHOLDERS:
        raise ExplainError(f"placeholders of style {paramstyle} cannot be replaced")
    percent = r"|(?P<percent>%%)" if paramstyle in ("format", "pyformat") else ""
    pattern = re.compile(f"{_SKIPPED}|(?P<placeholder>{_PLACEHOLDERS[paramstyle]}){percent}", re.DOTALL)
    positions = iter(range(len(parameters)))

    def replaced(match: re.Match[str]) -> str:
        if match["skipped"] is not None:
            return match["skipped"].replace("%%", "%") if percent else match["skipped"]
        if match["placeholder"] is None:
            return "%"
        if hidden:
            return ":value"
        groups = match.groupdict()
        try:
            if groups.get("name") is not None:
                value = parameters[groups["name"]]
            elif groups.get("number") is not None:
                value = parameters[int(groups["number"]) - 1]
            else:
                value = parameters[next(positions)]
        except (KeyError, IndexError, TypeError, StopIteration) as error:
            raise ExplainError("a placeholder has no value") from error
        return literal(value, system)

    if not isinstance(parameters, (Mapping, Sequence)):
        raise ExplainError("values are neither a sequence nor a mapping")
    return pattern.sub(replaced, text)


def literal(value: Any, system: str) -> str:  # noqa: PLR0911 - one per type
    """One value as SQL.

    Raises:
        ExplainError: It is of a type, or contains characters, that databases read in different ways.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper() if system == "postgresql" else str(int(value))
    if isinstance(value, (int, Decimal)):
        return str(value) if value >= 0 else f"({value})"
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN
        return repr(value) if value >= 0 else f"({value!r})"
    if isinstance(value, dt.datetime):
        return f"'{value.isoformat(sep=' ')}'"
    if isinstance(value, (dt.date, dt.time, uuid.UUID)):
        return f"'{value}'"
    if isinstance(value, (bytes, bytearray)) and system != "postgresql":
        return f"X'{bytes(value).hex()}'"
    if isinstance(value, str) and "\0" not in value and "\\" not in value:
        return "'" + value.replace("'", "''") + "'"
    raise ExplainError(f"a value of type {type(value).__name__} cannot be written as a literal")
