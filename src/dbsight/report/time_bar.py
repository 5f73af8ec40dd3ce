"""Where the time of a slow query went, as one bar: waiting for a connection, connecting, executing, locks, fetching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbsight.formatting import seconds
from dbsight.report.layout import flow, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.text import Text

COLUMNS: Final = 32
"""Length of a bar; half of a narrow page."""

_SHOWN: Final = 0.005
"""Share of the whole from which on a part has a column and its number."""


class _Kind(NamedTuple):
    """One kind of time: its key in ``Finding.details``, which is its name, and how it is drawn."""

    name: str
    mark: str
    style: str


_KINDS: Final = (
    _Kind("wait", "░", "yellow"),
    _Kind("connect", "▒", "magenta"),
    _Kind("execute", "█", "blue"),
    _Kind("lock", "▓", "red"),
    _Kind("fetch", "▄", "green"),
)
"""In the order in which they happen. Marks differ, too, for terminals and files without colours."""


def parts_of(details: Mapping[str, Any]) -> list[tuple[_Kind, float]]:
    """The parts that make up a query's time, s; empty where they are unknown.

    Args:
        details: Of a finding of the rule ``slow_query``. What was waited for a lock is a part of ``execute`` there.
    """
    times = {kind.name: details.get(kind.name) or 0.0 for kind in _KINDS}
    if not all(isinstance(value, (int, float)) and value >= 0 for value in times.values()):
        return []
    times["execute"] = max(0.0, times["execute"] - times["lock"])
    whole = sum(times.values())
    return [(kind, times[kind.name]) for kind in _KINDS if whole and times[kind.name] >= whole * _SHOWN]


def time_bar(details: Mapping[str, Any], width: int, indent: str) -> Iterator[Text]:
    """The bar and its legend, on one line where there is room.

    Args:
        details: Of a finding of the rule ``slow_query``.
        width: Columns of the page.
        indent: In front of each line.
    """
    parts = parts_of(details)
    if not parts:
        return
    columns = _columns([value for _, value in parts], min(COLUMNS, width // 2))
    bar = text(*((kind.mark * size, kind.style) for (kind, _), size in zip(parts, columns, strict=True)))
    legend = [text((kind.mark, kind.style), f" {kind.name} {seconds(value)}") for kind, value in parts]
    yield from flow([bar, *legend], width, gap="  ", indent=indent)


def _columns(values: list[float], columns: int) -> list[int]:
    """Divide columns in proportion, at least one for each; together exactly ``columns``."""
    whole = sum(values)
    sizes = [max(1, round(value / whole * columns)) for value in values]
    sizes[sizes.index(max(sizes))] += columns - sum(sizes)
    return sizes
