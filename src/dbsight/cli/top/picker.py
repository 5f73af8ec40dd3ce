"""Which processes are watched, and the help of the live view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from dbsight.cli.top.columns import ago
from dbsight.cli.top.view import is_helper
from dbsight.formatting import counted
from dbsight.report.layout import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.app import ComposeResult

    from dbsight.cli.top.watch import Worker


@dataclass(frozen=True)
class Choice:
    """Which processes are summed.

    Attributes:
        service: Only those of this service; None for all.
        token: Only this process; None for all.
        label: What is chosen, empty for all.
    """

    service: str | None = None
    token: str | None = None
    label: str = ""

    def wants(self, worker: Worker) -> bool:
        """Whether a process is one of them."""
        if self.token is not None:
            return worker.process.token == self.token
        return self.service is None or worker.service == self.service


class Picker(ModalScreen[Choice]):
    """Asks which processes to watch; the result is the choice, None for no change."""

    DEFAULT_CSS = """
    Picker { align: center middle; }
    Picker > OptionList {
        width: 76; max-width: 100%; height: auto; max-height: 100%; margin: 1 2; padding: 0 1;
        border: round $primary; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[Any]] = [Binding("escape,w,q", "dismiss", "Back")]

    def __init__(self, workers: Sequence[Worker], choice: Choice) -> None:
        super().__init__()
        self._choices = list(_choices(workers))
        self._at = next((at for at, (_, each) in enumerate(self._choices) if each == choice), 0)

    def compose(self) -> ComposeResult:
        """The list."""
        options = OptionList(*(Option(line) for line, _ in self._choices))
        options.border_title = "Watch"
        options.highlighted = self._at
        yield options

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """One was chosen."""
        self.dismiss(self._choices[event.option_index][1])


def _choices(workers: Sequence[Worker]) -> Iterator[tuple[Text, Choice]]:
    living = [worker for worker in workers if worker.state != "ended"]
    yield Text(f"all ({counted(len(living), 'process', 'processes')})"), Choice()
    services = list(dict.fromkeys(worker.service for worker in workers if worker.service))
    if len(services) > 1:
        for service in services:
            name = one_line(service)
            yield Text(f"service {name}"), Choice(service=service, label=name)
    for worker in sorted(workers, key=lambda each: (each.state == "ended", each.process.port)):
        pid = worker.pid or worker.process.pid
        if worker.state == "unreadable" or worker.snapshot is None:
            facts = one_line(worker.said)
        else:
            requests = counted(worker.snapshot.windows, "request")
            queries = counted(worker.snapshot.calls, "query", "queries")
            did = "no queries of its own" if is_helper(worker, workers) else f"{requests}, {queries}"
            facts = f"{did}, started {ago(worker.started)} ago"
        style = "" if worker.state == "serving" else "dim" if worker.state == "ended" else "yellow"
        state = "" if worker.state == "serving" else f" [{worker.state}]"
        line = f"{pid} {one_line(worker.service)}{state}  {facts}"
        yield (
            Text(line, style=style, no_wrap=True, overflow="ellipsis"),
            Choice(token=worker.process.token, label=f"{pid}"),
        )


_HELP: Final = """\
 1 2 3 4, Tab   focus a table, which then gets most room
 ↑ ↓            choose a row
 Enter          open it: the place and fix of a finding, a statement,
                the findings of a request, who holds connections
 c              when a row is open: copy the fix, or the statement
 s, r           sort by the next column, reverse; or click a heading
 /              show only rows that contain words; Esc ends that
 p, Space       pause the view; processes are still read
 w              choose a process or service; at first all are added
 q              quit

 per s          in the last minute
 p50, p95       requests: of the latest 5000 of each process;
                queries: since the start of the processes
 in DB          share of the time of the requests in the database
 of DB          share of the time in the database
 saves          time that the fix would have saved so far
 seen           time since the finding was last seen; new ones first
"""


class Help(ModalScreen[None]):
    """The keys, and what the columns mean."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll {
        width: 90; max-width: 100%; height: auto; max-height: 100%; margin: 0 1; padding: 0 1;
        border: round $primary; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[Any]] = [Binding("escape,enter,q,question_mark,h", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll() as box:
            box.border_title = "Keys and columns"
            yield Static(Text(_HELP))
