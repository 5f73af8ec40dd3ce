"""The live view of ``dbsight top``: four tables in one screen, read again every second by a thread."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import App
from textual.binding import Binding
from textual.containers import Container
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static

from dbsight.cli.top.columns import PANELS
from dbsight.cli.top.details import Details, details_of
from dbsight.cli.top.panel import PanelTable
from dbsight.cli.top.picker import Choice, Help, Picker
from dbsight.cli.top.printed import summary
from dbsight.cli.top.view import View, view
from dbsight.report.layout import clip, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult
    from textual.events import DescendantFocus

    from dbsight.cli.top.watch import Watch, Worker

_NOTICE_SECONDS: Final = 8.0
_REST: Final = 2
"""Between two readings, so many times what a reading took."""


class Reading(Message):
    """The processes were read."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view


class TopApp(App[None]):
    """Shows requests, queries, pools and findings of running processes.

    Args:
        watch: Read at least once.
        interval: s between readings.
        sorts: By name of a table, the column that it is sorted by at first.
        filtered: Words that rows must contain.
    """

    TITLE = "dbsight top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012 - the base class annotates it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012 - as above
    CSS = """
    #summary { height: 1; text-style: bold; padding: 0 1; }
    #notice { height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
    #panels { height: 1fr; }
    .-wide #panels { layout: grid; grid-size: 2 4; grid-gutter: 0 1; }
    .-wide #requests { row-span: 3; }
    .-wide #queries, .-wide #findings { row-span: 2; }
    PanelTable { height: 2fr; min-height: 4; }
    PanelTable.-current { height: 3fr; }
    .-short PanelTable { height: 4; }
    .-short PanelTable.-current { height: 1fr; }
    .-wide PanelTable, .-wide PanelTable.-current { height: 100%; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.-open { display: block; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        *(
            Binding(str(number), f"show('{panel.name}')", panel.name.capitalize(), show=False)
            for number, panel in enumerate(PANELS, 1)
        ),
        Binding("tab", "app.focus_next", "Next table", key_display="tab"),
        Binding("s", "sort", "Sort"),
        Binding("r", "reverse", "Reverse"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("p,space", "pause", "Pause", key_display="p"),
        Binding("w", "pick", "Processes"),
        Binding("question_mark,h", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("escape", "clear_filter", show=False),
    ]

    def __init__(
        self, watch: Watch, *, interval: float = 1.0, sorts: Mapping[str, str] | None = None, filtered: str = ""
    ) -> None:
        super().__init__()
        self._watch = watch
        self._interval = interval
        self._sorts = dict(sorts or {})
        self._filter = filtered
        self._choice = Choice()
        self._reading = threading.Lock()
        self._rest = 0.0
        self._states: dict[str, str] | None = None
        self._view: View | None = None
        self.paused = False

    def compose(self) -> ComposeResult:
        """The summary, notices, four tables, the filter, and the keys."""
        yield Static(id="summary")
        yield Static(id="notice")
        with Container(id="panels"):
            for panel in PANELS:
                yield PanelTable(panel, sort=self._sorts.get(panel.name, panel.sort), filtered=self._filter)
        yield Input(self._filter, placeholder="Show only rows that contain these words", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Show the first reading, and go on reading."""
        self.query_one(PanelTable).focus()
        self._refresh(read=False)
        self.set_interval(self._interval, self._refresh)

    # -- Readings -------------------------------------------------------------------------------------------------

    @work(thread=True, exit_on_error=False)
    def _refresh(self, *, read: bool = True) -> None:
        """Read in a thread; many processes are read less often, so that keys are answered in between."""
        if (read and perf_counter() < self._rest) or not self._reading.acquire(blocking=not read):
            return
        began = perf_counter()
        try:
            if read:
                self._watch.read()
            self.post_message(Reading(view(self._watch, self._choice.wants)))
        finally:
            self._rest = perf_counter() + _REST * (perf_counter() - began)
            self._reading.release()

    @on(Reading)
    def _show(self, message: Reading) -> None:
        if not self.query("#summary"):
            return  # the view is closing
        self._tell_changes(message.view)
        if self.paused:
            return
        self._view = message.view
        for table in self.query(PanelTable):
            table.show_view(message.view)
        self._show_head()

    def _show_head(self) -> None:
        if self._view is None:
            return
        facts = summary(self._view)
        if self._choice.label:
            facts[0] = f"only {facts[0]}"
        if self._filter:
            facts.insert(0, f"filter: {one_line(self._filter)}")
        if self.paused:
            facts.insert(0, "PAUSED")
        self.query_one("#summary", Static).update(Text(clip(" · ".join(facts), self.size.width - 2), no_wrap=True))
        notice = self.query_one("#notice", Static)
        wrong = _notice(self._view)
        notice.update(Text(wrong))
        notice.display = bool(wrong)

    def _tell_changes(self, shown: View) -> None:
        states: dict[str, str] = {worker.process.token: worker.state for worker in shown.workers}
        if self._states is not None:
            for worker in shown.workers:
                token = worker.process.token
                if token not in self._states and worker.state == "serving":
                    self.notify(f"{_name(worker)} appeared", timeout=_NOTICE_SECONDS, markup=False)
                elif worker.state == "ended" and self._states.get(token, "ended") != "ended":
                    self.notify(f"{_name(worker)} ended", severity="warning", timeout=_NOTICE_SECONDS, markup=False)
        self._states = states

    # -- Keys -----------------------------------------------------------------------------------------------------

    @property
    def _current(self) -> PanelTable:
        current: PanelTable = self.query_one(".-current", PanelTable)
        return current

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """The table with the focus gets most room, and keeps it while the filter has the focus."""
        if isinstance(event.widget, PanelTable):
            for table in self.query(PanelTable):
                table.set_class(table is event.widget, "-current")

    def action_show(self, name: str) -> None:
        """Focus a table."""
        self.query_one(f"#{name}", PanelTable).focus()

    def action_sort(self) -> None:
        """Sort the table by its next column."""
        self._current.sort_next()

    def action_reverse(self) -> None:
        """Reverse the order of the table."""
        self._current.reverse()

    def action_pause(self) -> None:
        """Stop showing new readings, or go on; the processes are read all the time."""
        self.paused = not self.paused
        self._show_head()
        if not self.paused:
            self._refresh(read=False)

    def action_filter(self) -> None:
        """Ask for words that rows must contain."""
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    def action_clear_filter(self) -> None:
        """Show all rows again."""
        self.query_one("#filter", Input).value = ""
        self._close_filter()

    @on(Input.Submitted, "#filter")
    def _close_filter(self) -> None:
        field = self.query_one("#filter", Input)
        if field.has_class("-open"):
            field.remove_class("-open")
            self._current.focus()

    @on(Input.Changed, "#filter")
    def _apply_filter(self, event: Input.Changed) -> None:
        self._filter = event.value
        for table in self.query(PanelTable):
            table.filter_by(event.value)
        self._show_head()

    def action_pick(self) -> None:
        """Ask which processes to watch."""
        if self._view is not None:
            self.push_screen(Picker(self._view.workers, self._choice), self._choose)

    def _choose(self, choice: Choice | None) -> None:
        if choice is not None:
            self._choice = choice
            self._refresh(read=False)

    def action_help(self) -> None:
        """Show the keys, and what the columns mean."""
        self.push_screen(Help())

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        table = event.data_table
        row = table.row_at(event.cursor_row) if isinstance(table, PanelTable) else None
        if row is not None and self._view is not None:
            self.push_screen(Details(*details_of(row, self._view)))


def _name(worker: Worker) -> str:
    service = f" ({one_line(worker.service)})" if worker.service else ""
    return f"process {worker.pid or worker.process.pid}{service}"


def _notice(shown: View) -> str:
    """What is wrong with the processes that are watched; empty if nothing is."""
    if all(worker.state == "ended" for worker in shown.chosen):
        return "all of these processes have ended; new ones appear by themselves"
    said = [one_line(worker.said) for worker in shown.workers if worker.said and worker.state != "ended"]
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return f"{said[0]}{more}" if said else ""
