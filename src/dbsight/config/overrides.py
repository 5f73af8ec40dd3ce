"""The two tables that only a file (or an argument) can hold: overrides and the ignore list.

One bad entry costs that entry, not the table.
"""
# ruff: noqa: TRY004 - a parser has one way to say no

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dbsight.config.parsers import Parser, PartlyReadError
from dbsight.config.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

IGNORE_KEYS = ("rule", "fingerprint", "route", "call_site", "reason", "expires")


def overrides(
    parsers: Callable[[], Mapping[str, Parser[Any]]],
) -> Parser[Mapping[str, Mapping[str, Any]]]:
    """Settings that differ for one fingerprint, table or route.

    Args:
        parsers: Gives the settings that can be overridden, by name; asked when a table is read.
    """

    def read(value: object) -> dict[str, dict[str, Any]]:
        if not isinstance(value, Mapping):
            raise ValueError(value)
        known = parsers()
        complaints: list[str] = []
        tables = {}
        for pattern, table in value.items():
            if isinstance(pattern, str) and isinstance(table, Mapping):
                tables[pattern] = _override(pattern, table, known, complaints)
            else:
                complaints.append(f'overrides."{pattern}" is not a table; ignored')
        if complaints:
            raise PartlyReadError(tables, complaints)
        return tables

    return Parser('tables such as [overrides."GET /orders"]', read, _show_size)


def _override(
    pattern: str, table: Mapping[str, object], known: Mapping[str, Parser[Any]], complaints: list[str]
) -> dict[str, Any]:
    values = {}
    for name, raw in table.items():
        label = f'overrides."{pattern}".{name}'
        parser = known.get(name)
        if parser is None:
            complaints.append(f"{label} cannot be overridden{did_you_mean(name, known)}; ignored")
            continue
        try:
            values[name] = parser.read(raw)
        except ValueError:
            complaints.append(f"{label} = {raw!r} is not {parser.expects}; ignored")
    return values


def _ignore(value: object) -> tuple[dict[str, Any], ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ValueError(value)
    complaints: list[str] = []
    entries = []
    for position, raw in enumerate(value, 1):
        fault, entry = _ignore_entry(raw)
        if fault:
            complaints.append(f"entry {position} of ignore is invalid: {fault}; ignored")
        else:
            entries.append(entry)
    if complaints:
        raise PartlyReadError(tuple(entries), complaints)
    return tuple(entries)


def _ignore_entry(raw: object) -> tuple[str, dict[str, Any]]:
    """What is wrong with an entry, empty when nothing is, and the entry with its date read."""
    if not isinstance(raw, Mapping):
        return "it is not a table", {}
    entry = dict(raw)
    for key in entry:
        if key not in IGNORE_KEYS:
            return f"unknown key {key!r}{did_you_mean(str(key), IGNORE_KEYS)}", {}
    for key in ("rule", "reason"):
        if key not in entry:
            return f"{key} is missing", {}
    if "expires" in entry:
        try:
            entry["expires"] = _date(entry["expires"])
        except ValueError:
            return f"expires = {entry['expires']!r} is not a date such as 2030-01-31", {}
    for key, item in entry.items():
        if key != "expires" and (not isinstance(item, str) or not item.strip()):
            return f"{key} = {item!r} is not text", {}
    return "", entry


def _date(value: object) -> dt.date:
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    if isinstance(value, str):
        return dt.date.fromisoformat(value)
    raise ValueError(value)


def _show_size(value: Mapping[str, Any] | tuple[Mapping[str, Any], ...]) -> str:
    return f"{len(value)} in the file" if value else ""


ignore: Parser[tuple[Mapping[str, Any], ...]] = Parser(
    "a list of tables, [[ignore]], each with a rule and a reason", _ignore, _show_size
)
