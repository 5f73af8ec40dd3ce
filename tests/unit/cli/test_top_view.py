"""The live view of ``dbsight top``, driven by Textual's pilot against processes that serve."""

import asyncio
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from builders import NOW_NS
from dbsight import serve
from engine import Engine, run_unit

pytest.importorskip("textual", reason="Textual is not installed")

from textual.widgets import Input, OptionList

from dbsight.cli.top.app import TopApp
from dbsight.cli.top.details import Details
from dbsight.cli.top.panel import PanelTable
from dbsight.cli.top.picker import Help, Picker
from dbsight.cli.top.watch import Watch

PATIENCE = 60.0  # s
SMALL, LARGE = (80, 24), (140, 40)


class Watched:
    """The view of processes, and the means to look at it.

    Args:
        directory: Where the processes are found.
    """

    def __init__(self):
        self.engines = []
        self.pilot = None

    def start(self):
        """One more process."""
        engine = Engine(serve=0)
        engine.subscribe()
        self.engines.append(engine)
        return engine

    def unit(self, engine, count=3, **fields):
        """One request that ends now."""
        run_unit(engine, count, at=time.time() - NOW_NS / 1e9, **fields)

    def run(self, work, size=SMALL, **options):
        """Do some work in the view, which reads often."""

        async def main():
            watch = Watch(serve.processes, spare=0)
            watch.read()
            app = TopApp(watch, interval=0.2, **options)
            async with app.run_test(size=size) as self.pilot:
                await self.until(lambda: self.text("summary"))
                await work(app)

        asyncio.run(main())

    async def until(self, condition):
        """Wait for what the view will show."""
        end = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < end, self.screen()
            await self.pilot.pause(0.01)
        return value

    def text(self, name):
        """What a line of text says, as it stands on the screen; empty if it is not shown."""
        first = self.pilot.app.screen_stack[0]
        widget = first.query_one(f"#{name}")
        lines = self.screen(first).splitlines()[widget.region.y : widget.region.bottom] if widget.display else []
        return " ".join(" ".join(lines).split())

    def rows(self, name):
        """The cells of a table."""
        table = self.pilot.app.screen_stack[0].query_one(f"#{name}", PanelTable)
        return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]

    def screen(self, screen=None):
        """Everything that is on the screen, as text."""
        lines = (screen or self.pilot.app.screen)._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line) for line in lines)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Processes that only this test finds."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    watched = Watched()
    yield watched
    for engine in watched.engines:
        if not engine.retired:
            engine.unsubscribe()


def test_what_a_process_does_appears_by_itself(watched):
    """Requests, queries and findings, as they come."""
    engine = watched.start()

    async def work(app):
        assert watched.rows("requests") == []
        watched.unit(engine, 6)
        await watched.until(lambda: watched.rows("findings"))
        (request,) = watched.rows("requests")
        assert (request[0], request[2], request[5]) == ("GET /orders", "1", "6")
        (query,) = watched.rows("queries")
        assert query[0] == "SELECT customers"
        assert query[-1] == "app.py:10"
        (finding,) = watched.rows("findings")
        assert finding[0] == "▲ N+1  SELECT customers runs once per item"
        watched.unit(engine, 6)
        await watched.until(lambda: watched.rows("requests")[0][2] == "2")
        await watched.until(lambda: "12 queries" in watched.text("summary"))

    watched.run(work)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "140x40"])
def test_all_four_tables_are_on_the_screen(watched, size):
    """At both sizes: headings, the first rows, and the keys."""
    engine = watched.start()
    for number in range(30):
        watched.unit(engine, 6, name=f"GET /{number}", text=f"SELECT name FROM shelves{number} WHERE id = ?")

    async def work(app):
        await watched.until(lambda: len(watched.rows("findings")) == 30)
        await watched.until(lambda: "Quit" in watched.screen().splitlines()[-1])
        screen = watched.screen()
        for heading in ("1 Requests (30)", "2 Queries (30)", "3 Findings (30)", "4 Pools (0)"):
            assert heading in screen
        assert screen.count("GET /") >= 6
        assert screen.count("SELECT") >= 4
        assert "N+1" in screen
        last = screen.splitlines()[-1]
        for key in ("Open", "Sort", "Reverse", "Filter", "Pause", "Processes", "Help", "Quit"):
            assert key in last

    watched.run(work, size)


def test_a_new_finding_comes_on_top_and_opens_with_its_fix_and_place(watched):
    """Enter opens what the cursor is on; c copies the fix."""
    engine = watched.start()
    watched.unit(engine, 6)

    async def work(app):
        watched.unit(engine, 6, name="GET /cart", text="SELECT price FROM prices WHERE id = ?", line=42)
        await watched.until(lambda: len(watched.rows("findings")) == 2)
        assert "prices" in watched.rows("findings")[0][0]
        await watched.pilot.press("3", "enter")
        await watched.until(lambda: isinstance(app.screen, Details))
        await watched.until(lambda: "fix" in watched.screen())
        screen = watched.screen()
        assert "app.py:42 in list_orders" in screen
        assert "WHERE id IN" in screen
        assert "first seen" in screen
        await watched.pilot.press("c")
        assert "IN" in app.clipboard
        await watched.pilot.press("escape")
        await watched.until(lambda: not isinstance(app.screen, Details))

    watched.run(work)


@pytest.mark.parametrize(("key", "shown"), [("1", "queries per request"), ("2", "SELECT name FROM customers WHERE")])
def test_requests_and_queries_open_with_their_findings(watched, key, shown):
    """A request with what was found in it, a query with its statement."""
    watched.unit(watched.start(), 6)

    async def work(app):
        await watched.pilot.press(key, "enter")
        await watched.until(lambda: isinstance(app.screen, Details) and "fix" in watched.screen())
        assert shown in watched.screen()

    watched.run(work)


def test_tables_are_sorted_by_keys_and_by_their_headings(watched):
    """The key s takes the next column, r turns the order around, a click takes the column."""
    engine = watched.start()
    for name, count in (("GET /a", 1), ("GET /b", 4), ("GET /c", 2)):
        watched.unit(engine, count, name=name)

    async def work(app):
        def routes():
            return [row[0][-1] for row in watched.rows("requests")]

        await watched.until(lambda: sorted(routes()) == ["a", "b", "c"])
        table = app.query_one("#requests", PanelTable)
        table.sort_by("queries")
        assert routes() == ["b", "c", "a"]
        await watched.pilot.press("r")
        assert routes() == ["a", "c", "b"]
        assert "queries ▲" in str(table.border_title)
        await watched.pilot.press("s")
        assert "in DB ▼" in str(table.border_title)
        await watched.pilot.click("#requests", offset=(3, 1))
        await watched.until(lambda: routes() == ["a", "b", "c"])
        await watched.pilot.click("#requests", offset=(3, 1))
        await watched.until(lambda: routes() == ["c", "b", "a"])

    watched.run(work)


def test_the_cursor_stays_on_its_row_when_rows_move(watched):
    """What is looked at does not slip away; at the top, the first row is looked at."""
    engine = watched.start()
    for name, count in (("GET /a", 3), ("GET /b", 2), ("GET /c", 1)):
        watched.unit(engine, count, name=name)

    async def work(app):
        table = app.query_one("#requests", PanelTable)
        await watched.until(lambda: table.row_count == 3)
        table.sort_by("queries")
        await watched.pilot.press("down", "down")
        assert table.row_at(table.cursor_row).route == "GET /c"
        for _ in range(3):
            watched.unit(engine, 30, name="GET /c")
        await watched.until(lambda: watched.rows("requests")[0][0] == "GET /c")
        assert table.cursor_row == 0

    watched.run(work, sorts={"requests": "queries"})


def test_a_filter_shows_only_rows_with_its_words(watched):
    """As it is typed, in all tables; escape shows all again."""
    engine = watched.start()
    watched.unit(engine, 2, name="GET /orders")
    watched.unit(engine, 2, name="GET /cart", text="SELECT price FROM prices WHERE id = ?")

    async def work(app):
        await watched.pilot.press("slash", *"cart")
        await watched.until(lambda: len(watched.rows("requests")) == 1)
        assert watched.rows("queries") == []
        await watched.until(lambda: watched.text("summary").startswith("filter: cart"))
        await watched.pilot.press("enter")
        assert app.focused.id == "requests"
        await watched.pilot.press("escape")
        await watched.until(lambda: len(watched.rows("requests")) == 2)
        assert app.query_one("#filter", Input).value == ""

    watched.run(work)


def test_a_paused_view_stands_still(watched):
    """What happens in the meantime is shown afterwards."""
    engine = watched.start()
    watched.unit(engine, 2)

    async def work(app):
        await watched.pilot.press("p")
        await watched.until(lambda: watched.text("summary").startswith("PAUSED"))
        watched.unit(engine, 2, name="GET /cart")
        await watched.until(lambda: app._watch.workers[0]._next == 2)
        assert len(watched.rows("requests")) == 1
        await watched.pilot.press("p")
        await watched.until(lambda: len(watched.rows("requests")) == 2)

    watched.run(work)


def test_a_process_that_ends_is_told_and_a_later_one_appears(watched):
    """Its figures stay; there is no traceback, and the view goes on."""
    first = watched.start()
    watched.unit(first, 2)

    async def work(app):
        def notices():
            return [notification.message for notification in app._notifications]

        first.unsubscribe()
        await watched.until(lambda: "have ended" in watched.text("notice"))
        assert any("ended" in notice for notice in notices())
        assert watched.rows("requests")[0][0] == "GET /orders"
        second = watched.start()
        watched.unit(second, 3)
        await watched.until(lambda: "5 queries" in watched.text("summary"))
        await watched.until(lambda: not app.query_one("#notice").display)
        assert any("appeared" in notice for notice in notices())

    watched.run(work)


def test_one_of_several_processes_can_be_chosen(watched):
    """At first they are summed up."""
    first, second = watched.start(), watched.start()
    watched.unit(first, 2)
    watched.unit(second, 3)

    async def work(app):
        await watched.until(lambda: "2 processes" in watched.text("summary"))
        await watched.until(lambda: "5 queries" in watched.text("summary"))
        await watched.pilot.press("w")
        await watched.until(lambda: isinstance(app.screen, Picker))
        options = app.screen.query_one(OptionList)
        assert options.option_count == 3
        later = max((engine.service.process for engine in (first, second)), key=lambda process: process.port)
        await watched.pilot.press("down", "down", "enter")
        number = 2 if later == first.service.process else 3
        await watched.until(lambda: f"{number} queries" in watched.text("summary"))
        assert watched.text("summary").startswith("only ")

    watched.run(work)


def test_keys_are_explained(watched):
    """By a question mark, and on the screen whole at 80 × 24."""
    watched.start()

    async def work(app):
        await watched.pilot.press("question_mark")
        await watched.until(lambda: isinstance(app.screen, Help) and "Keys and columns" in watched.screen())
        assert "new ones first" in watched.screen()
        await watched.pilot.press("escape")
        assert not isinstance(app.screen, Help)
        await watched.pilot.press("q")

    watched.run(work)


def test_hostile_names_are_shown_as_they_are(watched):
    """Neither markup nor control characters of a route or a statement have an effect."""
    engine = watched.start()
    watched.unit(engine, 6, name="GET /[red]x[/red]\x1b[2J", text='SELECT "[bold]a" FROM "[/]" WHERE id = ?')

    async def work(app):
        await watched.until(lambda: watched.rows("findings"))
        assert "[red]x[/red]\\x1b[2J" in watched.rows("requests")[0][0]
        for key in ("2", "3"):
            await watched.pilot.press(key, "enter")
            await watched.until(lambda: isinstance(app.screen, Details))
            await watched.until(lambda: "[" in watched.screen())
            assert "\x1b" not in watched.screen()
            await watched.pilot.press("escape")

    watched.run(work)


def test_in_a_terminal_it_runs_until_q_is_pressed(watched):
    """The whole command, in a real terminal: it leaves the terminal as it was, and says nothing else."""
    watched.unit(watched.start(), 6)
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(its)
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main(prog_name='dbsight')", "top"]
    environ = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ) as process:
        told = b""
        asked = False
        end = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            if select.select([ours], [], [], 0.05)[0]:
                told += os.read(ours, 65536)
            if not asked and b"N+1" in told:
                asked = bool(os.write(ours, b"q"))
        assert process.wait(10) == 0, told
    assert termios.tcgetattr(its) == before
    assert b"Traceback" not in told
    os.close(ours)
    os.close(its)
