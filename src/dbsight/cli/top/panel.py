"""One table of the live view: it chooses the columns that fit, and keeps its cursor on the row when rows move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual import on
from textual.binding import Binding
from textual.widgets import DataTable

from dbsight.cli.top.columns import PANELS, Shown, styled
from dbsight.report.layout import clip, fitted

if TYPE_CHECKING:
    from textual.events import Resize

    from dbsight.cli.top.columns import Panel
    from dbsight.cli.top.view import View

MOST_ROWS: Final = 200


class PanelTable(DataTable[Text]):
    """The rows of one panel.

    Args:
        panel: Its columns and rows.
        sort: Name of the column that it is sorted by.
        filtered: Words that rows must contain.
    """

    DEFAULT_CSS = """
    PanelTable { border-top: solid $surface-lighten-2; border-title-color: $text-muted; scrollbar-size-vertical: 1; }
    PanelTable.-current { border-top: solid $primary; border-title-color: $text; border-title-style: bold; }
    """
    BINDINGS: ClassVar[list[Any]] = [Binding("enter", "select_cursor", "Open", key_display="enter")]

    def __init__(self, panel: Panel, *, sort: str, filtered: str = "") -> None:
        super().__init__(id=panel.name, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self.show_cursor = False
        self.panel = panel
        self._sort = sort
        self._reversed = False
        self._filter = filtered
        self._view: View | None = None
        self._rows: list[Any] = []
        self._widths: dict[int, int] = {}

    def row_at(self, position: int) -> Any:
        """What a row shows, None if there is no such row."""
        return self._rows[position] if 0 <= position < len(self._rows) else None

    def show_view(self, view: View) -> None:
        """Show another reading."""
        self._view = view
        self._fill()

    def filter_by(self, words: str) -> None:
        """Show only rows that contain these words."""
        self._filter = words
        self._fill()

    def sort_next(self) -> None:
        """Sort by the next column."""
        names = [column.name for column in self.panel.columns]
        self.sort_by(names[(names.index(self._sort) + 1) % len(names)])

    def sort_by(self, name: str) -> None:
        """Sort by a column, the first row on top."""
        self._sort, self._reversed = name, False
        self.move_cursor(row=0, animate=False)
        self._fill(follow=False)

    def reverse(self) -> None:
        """Turn the order around."""
        self._reversed = not self._reversed
        self.move_cursor(row=0, animate=False)
        self._fill(follow=False)

    @on(DataTable.HeaderSelected)
    def _sort_by_head(self, event: DataTable.HeaderSelected) -> None:
        """A heading was clicked: sort by it, or turn the order around."""
        name = str(event.column_key.value)
        if name == self._sort:
            self.reverse()
        else:
            self.sort_by(name)

    def on_focus(self) -> None:
        """Show the cursor."""
        self.show_cursor = True

    def on_blur(self) -> None:
        """Hide the cursor: it would hide the colours of its row."""
        self.show_cursor = False

    def on_resize(self, event: Resize) -> None:
        """Other columns may fit now."""
        self._fill()

    def _fill(self, *, follow: bool = True) -> None:
        if self._view is None or self.size.width < 10:
            return
        before = self.row_at(self.cursor_row)
        rows = self.panel.sorted(self._view, self._sort, self._filter, reverse=self._reversed)
        self._title(len(rows))
        self._rows = rows = rows[:MOST_ROWS]
        cells = [[column.text(row) for column in self.panel.columns] for row in rows]
        # A cell has a space on each side, and the scroll bar one column.
        room = self.size.width - 3
        widths = fitted([column.column for column in self.panel.columns], cells, room, least=self.panel.least, gap=2)
        widths[0] = max(widths[0], room - sum(width + 2 for at, width in widths.items() if at))
        with self.app.batch_update():
            self._lay_out(widths)
            for position, (row, texts) in enumerate(zip(rows, cells, strict=True)):
                line = [_cell(self.panel.columns[at], texts[at], row, width) for at, width in self._widths.items()]
                if position >= self.row_count:
                    self.add_row(*line, key=str(position))
                    continue
                for at, cell in enumerate(line):
                    if self.get_cell_at((position, at)) != cell:
                        self.update_cell_at((position, at), cell)
            while self.row_count > len(rows):
                self.remove_row(str(self.row_count - 1))
            if follow and before is not None:
                self._follow(self.panel.identity(before))

    def _lay_out(self, widths: dict[int, int]) -> None:
        if widths == self._widths:
            return
        scrolled = self.scroll_y
        row = self.cursor_row
        self._widths = widths
        self.clear(columns=True)
        for at, width in widths.items():
            column = self.panel.columns[at]
            self.add_column(Text(column.head, justify="left" if column.left else "right"), width=width, key=column.name)
        self.call_after_refresh(self._restore, row, scrolled)

    def _restore(self, row: int, scrolled: float) -> None:
        if self.cursor_row <= 0:  # else a key has moved it since it was cleared
            self.move_cursor(row=row, animate=False, scroll=False)
        self.scroll_to(y=scrolled, animate=False, force=True)

    def _follow(self, identity: str) -> None:
        """Keep the cursor on the same row, unless it is at the top: there the first rows are watched."""
        if self.cursor_row <= 0:
            return
        for position, row in enumerate(self._rows):
            if self.panel.identity(row) == identity:
                if position != self.cursor_row:
                    self.move_cursor(row=position, animate=False)
                return

    def _title(self, number: int) -> None:
        column = self.panel.column(self._sort)
        arrow = "▲" if column.ascending != self._reversed else "▼"
        key = PANELS.index(self.panel) + 1
        self.border_title = f"{key} {self.panel.name.capitalize()} ({number}) · {column.head} {arrow}"


def _cell(column: Shown, written: str, row: Any, width: int) -> Text:
    return Text(
        clip(written, width),
        style=styled(column, row),
        justify="left" if column.left else "right",
        no_wrap=True,
        end="",
    )
