"""Text layout for terminals: line wrapping, columns, tables, encodings.

rich provides styles and character widths. It is imported on first use: most processes never print a report.
"""

from __future__ import annotations

import os
import re
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple

from dbsight.formatting import TIMES
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

    from rich.text import Text

GAP = 3
"""Columns between facts and between the columns of a table."""

WIDTH_WITHOUT_TERMINAL = 100
"""Columns in a file, a pipe or the log of a CI run."""

_PLAIN = {
    "✖": "x",
    "▲": "!",
    "·": "-",
    TIMES: "x",
    "←": "<",
    "→": "->",
    "─": "-",
    "…": "...",
    "µ": "u",
    "░": ".",
    "▒": "+",
    "█": "#",
    "▓": "%",
    "▄": "=",
}
"""Replacements for streams whose encoding lacks these characters."""

_CONTROL = pattern(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that could move the cursor, set colours or change the direction of the text."""

_REPEATED = pattern(r"\bSELECT(?: SELECT)+\b")
_SUBQUERY = pattern(r"(?<=\S) SELECT(?= |$)")
_SQL = pattern(r"(?:SELECT|INSERT|UPDATE|DELETE|MERGE|REPLACE|WITH)\b", re.IGNORECASE)
_NEEDLESS_QUOTES = pattern(r"(?<![^\s.])(?:\"([A-Za-z_]\w*)\"|`([A-Za-z_]\w*)`|\[([A-Za-z_]\w*)\])(?![^\s.;])")
"""Quotes around a name that is a word by itself; no others, as in ``"song list"``."""

_BETWEEN_WORDS = pattern(r" (?!(?<=\d )\d{3}(?!\d))")


def text(*parts: str | tuple[str, str] | Text) -> Text:
    """Concatenate strings, styled strings, and texts."""
    from rich.text import Text

    return Text.assemble(*parts)


def one_line(written: str) -> str:
    """Convert external text (routes, names, titles) to one line without control characters."""
    return _CONTROL.sub(_escape, " ".join(written.split()))


def summary_line(summary: str) -> str:
    """Format a summary for people; ``db.query.summary`` itself is as the conventions have it.

    ``SELECT orders SELECT lines``, which a subquery gives, becomes ``SELECT orders lines``; names that need no quotes,
    as Django's, lose them: ``SELECT "shop_book"`` becomes ``SELECT shop_book``.
    """
    line = one_line(summary)
    if _SQL.match(line) is None:
        return line
    line = _NEEDLESS_QUOTES.sub(lambda match: match[1] or match[2] or match[3], line)
    return _SUBQUERY.sub("", line) if line.startswith("SELECT ") else line


def prose_line(written: str) -> str:
    """Convert a sentence to one line; ``SELECT SELECT orders`` in it becomes ``SELECT orders``."""
    return _REPEATED.sub("SELECT", one_line(written))


def code_lines(written: str) -> list[str]:
    """Split code into lines without common indentation and without control characters."""
    import textwrap

    return [
        _CONTROL.sub(_escape, line.expandtabs(4)).rstrip()
        for line in textwrap.dedent(written).strip().replace("\r\n", "\n").split("\n")
    ]


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def clip(written: str, room: int) -> str:
    """Shorten to ``room`` columns, with an ellipsis for what is cut."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(written) <= room:
        return written
    return set_cell_size(written, max(room - 1, 0)).rstrip() + "…"


def flow(facts: Iterable[Text], width: int, *, gap: str = " " * GAP, indent: str = "") -> Iterator[Text]:
    """Put facts side by side, and wrap the line between facts.

    Facts are never split, so that call sites and settings can be copied.
    """
    line = None
    for fact in facts:
        if line is not None and line.cell_len + len(gap) + fact.cell_len <= width:
            line.append(gap).append_text(fact)
            continue
        if line is not None:
            yield line
        line = text(indent, fact)
    if line is not None:
        yield line


def wrapped(written: str, width: int, *, indent: str = "", style: str = "") -> Iterator[Text]:
    """Wrap prose between words, but not inside a number such as ``10 000``."""
    words = _BETWEEN_WORDS.split(one_line(written)) if written else []
    return flow((text((word, style)) for word in words), width, gap=" ", indent=indent)


def aligned(rows: Sequence[Sequence[Text]], limits: Sequence[int], width: int, *, indent: str) -> list[list[Text]]:
    """Align the cells of rows in columns; rows that are too long are wrapped between cells.

    Args:
        rows: Cells; empty ones leave their column empty. What comes after the columns follows with a gap.
        limits: For each column: longer cells do not make it wider, they move what follows.
        width: Columns of the page.
        indent: In front of what is continued.

    Returns:
        For each row its lines.
    """
    starts = [0]
    for column, limit in enumerate(limits):
        size = max((cells for row in rows if (cells := row[column].cell_len) <= limit), default=0)
        starts.append(starts[-1] + (size + GAP if size else 0))
    return [list(_placed(row, starts, width, indent)) for row in rows]


def _placed(row: Sequence[Text], starts: Sequence[int], width: int, indent: str) -> Iterator[Text]:
    line = row[0].copy()
    for part, start in zip(row[1:], chain(starts[1:], repeat(0)), strict=False):
        if not part:
            continue
        free = line.cell_len + GAP
        column = next((at for at in (max(start, free), free) if at + part.cell_len <= width), None)
        if column is None:
            yield line
            line = text(indent, part)
        else:
            line.append(" " * (column - line.cell_len)).append_text(part)
    yield line


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: Its heading.
        right: Numbers stand at the right.
        rank: The column with the highest rank is left out first where the terminal is narrow; 0 stays.
    """

    name: str
    right: bool = False
    rank: int = 0


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, *, least: int = 20, gap: int = GAP
) -> dict[int, int]:
    """Choose the columns of a table that fit; the first one takes what room is left.

    Args:
        columns: The first one has the names of what the rows are about.
        rows: As many cells as columns.
        width: Columns of the page.
        least: Room for the first column that is worth leaving out others.
        gap: Between columns.

    Returns:
        By position of each column that is kept, its width.
    """
    from rich.cells import cell_len

    kept = list(range(len(columns)))
    sizes = [max(map(cell_len, (column.name, *(row[at] for row in rows)))) for at, column in enumerate(columns)]
    for leaving in sorted(range(len(columns)), key=lambda at: -columns[at].rank):
        room = width - sum(gap + sizes[at] for at in kept[1:])
        if room >= min(sizes[0], least) or not columns[leaving].rank:
            break
        kept.remove(leaving)
    sizes[0] = max(min(sizes[0], room), len(columns[0].name))
    return {at: sizes[at] for at in kept}


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, *, least: int = 20) -> Iterator[Text]:
    """Lay out a table; its first column takes what room is left, and shortens. Arguments as for ``fitted``."""
    sizes = fitted(columns, rows, width - 1, least=least)
    for style, row in (("dim", [column.name for column in columns]), *(("", row) for row in rows)):
        line = text(" ", (_padded(clip(row[0], sizes[0]), sizes[0]), style))
        for at, size in list(sizes.items())[1:]:
            line.append(" " * GAP).append(_padded(row[at], size, right=columns[at].right), style)
        yield line


def _padded(cell: str, room: int, *, right: bool = False) -> str:
    from rich.cells import cell_len

    space = " " * (room - cell_len(cell))
    return space + cell if right else cell + space


def draw(blocks: Iterable[Iterable[Text]], *, color: bool) -> str:
    """Write lines, with a blank one between blocks, with ANSI escape sequences or without."""
    from io import StringIO

    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=10_000,  # lines are laid out: rich must neither break nor cut them
        color_system="standard" if color else None,
        force_terminal=color,
        force_jupyter=False,
        legacy_windows=False,
        no_color=False,
    )
    with console.capture() as capture:
        for number, block in enumerate(blocks):
            if number:
                console.print()
            for line in block:
                line.rstrip()
                console.print(line, soft_wrap=True)
    return capture.get()


def manner(stream: TextIO) -> tuple[int, bool]:
    """The width of a stream and whether it takes colours; rich reads ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM``."""
    from rich.console import Console

    console = Console(file=stream, force_jupyter=False)
    color = console.color_system not in (None, "windows") and not console.no_color
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):  # no terminal, no file, a closed one
        columns = 0
    return columns or WIDTH_WITHOUT_TERMINAL, color


def encodable(written: str, encoding: str | None) -> str:
    """Replace what an encoding lacks: our marks by plain ones, anything else by its escape sequence."""
    if not encoding or _fits(written, encoding):
        return written
    plain = {ord(mark): replacement for mark, replacement in _PLAIN.items() if not _fits(mark, encoding)}
    return written.translate(plain).encode(encoding, "backslashreplace").decode(encoding)


def _fits(written: str, encoding: str) -> bool:
    try:
        written.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
