"""The report at exit, on a terminal and elsewhere."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest

from builders import make_statement
from dbsight import safety
from dbsight.model import (
    CallSite,
    Database,
    Finding,
    MergedFinding,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    Snapshot,
    Statement,
    StatementTotals,
)
from dbsight.report import finding_text
from dbsight.report.layout import summary_line
from dbsight.report.terminal import print_report, render

GOLDEN = Path(__file__).parent / "terminal"

SHOP = Database("sqlite", "shop.db")
CUSTOMERS = Statement("sqlite", "SELECT ? FROM customers", "SELECT customers", "c" * 16, kind="select")
LINES = Statement("sqlite", "SELECT ? FROM order_lines", "SELECT order_lines", "d" * 16, kind="select")
STOCK = Statement("postgresql", "SELECT ? FROM stock", "SELECT stock", "e" * 16, kind="select")
HANDLER = CallSite("examples/views.py", 12, "get_report")

N_PLUS_ONE = Finding(
    rule="n_plus_one",
    id="n1-7c1e9a40",
    severity="error",
    category="query",
    title="Order.customer loaded 200 times",
    description="Order.customer was loaded one row at a time (1 + 200 queries), at examples/shop.py:88 in list_orders.",
    suggestion="select(Order).options(joinedload(Order.customer))",
    impact=0.612,
    count=200,
    metric="count",
    current_value=200,
    threshold=5,
    statement=CUSTOMERS,
    database=SHOP,
    call_site=CallSite("examples/shop.py", 88, "list_orders"),
    relationship="Order.customer",
    trace="4bf92f3577b34da6a3ce929d0e0e4736",
    route="GET /orders",
)
LOOKUP = """\
ids = [line.sku for line in lines]
stock = session.scalars(
    select(Stock).where(Stock.sku.in_(ids))
).all()
"""
CORE_LOOP = Finding(
    rule="n_plus_one",
    id="n1-00000002",
    severity="warning",
    category="query",
    title="SELECT stock ran 7 times",
    description="SELECT stock ran 7 times with other parameters from one line",
    suggestion=LOOKUP,
    impact=0.015,
    count=7,
    statement=STOCK,
    database=SHOP,
    call_site=CallSite("examples/shop.py", 140, "stock_of"),
    route="GET /cart/{cart_id}/lines",
)
VERY_SLOW = Finding(
    rule="slow_query",
    id="sq-1a440000",
    severity="error",
    category="query",
    title="SELECT order_lines took 5.02 s",
    description=(
        "waited 0 s, executed 4.98 s, fetched 40.0 ms, at examples/shop.py:112 in report, called from "
        "examples/views.py:12 in get_report; full scan of order_lines (10 000 rows) to return 7"
    ),
    metric="duration",
    current_value=5.02,
    threshold=5.0,
    statement=LINES,
    database=SHOP,
    call_site=CallSite("examples/shop.py", 112, "report", HANDLER),
    trace="4bf92f3577b34da6a3ce929d0e0e4737",
    route="GET /report",
)
NOTE = Finding(
    rule="n_plus_one",
    id="n1-00000003",
    severity="info",
    category="query",
    title="Order.notes loaded twice",
    description="",
    count=2,
    statement=CUSTOMERS,
    database=Database("sqlite", "archive.db"),
    relationship="Order.notes",
)
SNAPSHOT = Snapshot(
    service="shop",
    preset="development",
    windows=13,
    requests=12,
    calls=1486,
    db_time=2.31,
    window_time=4.25,
    request_time=3.25,
    request_db_time=2.31,
    findings=[
        MergedFinding(N_PLUS_ONE, 12, 2400, 7.344, 12),
        MergedFinding(CORE_LOOP, 2, 14, 0.03, 2),
        MergedFinding(VERY_SLOW, 1, 1, 0.0),
        MergedFinding(NOTE, 1, 2, 0.0),
    ],
    statements=[
        StatementTotals(LINES, SHOP, 1, 0, 5.02, 5.02, 5.02, 5.02, 7, CallSite("examples/shop.py", 112, "report")),
        StatementTotals(CUSTOMERS, SHOP, 2400, 0, 1.2, 0.0029, 0.0048, 0.0112, 2400, N_PLUS_ONE.call_site),
        StatementTotals(STOCK, SHOP, 14, 1, 0.03, 0.0004, 0.0021, 0.0021, 21),
    ],
    dropped={"statements": 1312, "windows": 0},
)
ONE = Snapshot(
    preset="balanced",
    windows=1,
    calls=201,
    db_time=0.9,
    window_time=0.6,
    findings=[MergedFinding(N_PLUS_ONE, 1, 200, 0.612)],
    exporting=True,
)
MANY = Snapshot(
    service="shop",
    preset="balanced",
    windows=40,
    requests=20,
    calls=90,
    db_time=0.09,
    window_time=1.0,
    findings=[
        MergedFinding(
            Finding("pool_wait", f"pw-{number}", "warning", "pool", f"pool {number}: 9 waits, p95 410 ms", ""),
            20,
            20,
            (47 - number) * 0.02,
        )
        for number in range(47)
    ],
    exporting=True,
)
WINDOWED = {"report": SNAPSHOT, "one": ONE, "many": MANY}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """A fixed version, no variable that speaks about colours, and no failure left behind."""
    monkeypatch.setattr("dbsight.report.terminal.__version__", "0.1")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    safety.reset()
    yield
    assert safety.errors() == {}


@pytest.mark.parametrize("color", [False, True], ids=["plain", "color"])
@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("name", WINDOWED)
def test_the_report_looks_as_it_should(name, width, color):
    """Character by character, at every width, with and without colours."""
    golden = GOLDEN / f"{name}-{width}{'-color' if color else ''}.txt"
    assert render(WINDOWED[name], width=width, color=color, details="report.html" if name == "many" else "") == (
        golden.read_text(encoding="utf-8")
    )


def test_an_error_is_told_however_little_time_it_would_save():
    """A leaked connection is last, behind more warnings than there is room for."""
    leak = Finding("connection_leak", "cl-1", "error", "pool", "A connection of shop was not returned to its pool", "")
    findings = [*MANY.findings, MergedFinding(leak, 1, 1, 0.0)]
    told = render(Snapshot(preset="balanced", windows=40, calls=90, findings=findings), width=100)
    assert "A connection of shop was not returned to its pool" in told
    assert "… and 7 more" in told


def test_colours_change_nothing_but_colours():
    """Without its escape sequences, the coloured report is the plain one."""
    import re

    colored = render(SNAPSHOT, color=True)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(SNAPSHOT)


def test_a_clean_run_is_one_line():
    """No header, no table, no footer."""
    assert render(Snapshot(preset="development", calls=1486)) == "dbsight: no findings in 1 486 queries\n"
    assert render(Snapshot(calls=1)) == "dbsight: no findings in 1 query\n"


def test_a_clean_run_says_so_when_it_did_not_see_everything():
    """Still one line, but an honest one."""
    assert render(Snapshot(calls=9, dropped={"windows": 2})) == (
        "dbsight: no findings in 9 queries (limits reached; not recorded: 2 windows)\n"
    )


@pytest.mark.parametrize(
    ("preset", "said"),
    [("development", "dbsight: no database queries captured\n"), ("production", ""), ("balanced", "")],
)
def test_without_a_query_only_a_developer_is_told(preset, said):
    """A command that needs no database is not the place for a report."""
    assert render(Snapshot(preset=preset)) == said


@pytest.mark.parametrize("width", range(32, 121))
def test_only_what_must_be_copied_is_longer_than_the_terminal_is_wide(width):
    """Places, traces, settings and code are left whole; everything else is broken."""
    long = [line.strip() for line in render(SNAPSHOT, width=width).splitlines() if len(line) > width]
    whole = ("examples/", "called from examples/", "trace ", "OTEL_", "fix  ", *LOOKUP.replace(" ", "").splitlines())
    assert [line for line in long if not line.startswith(whole) and line.replace(" ", "") not in whole] == []


def test_a_fix_of_several_lines_pastes_as_it_is():
    """However narrow the terminal: whole lines, one indentation, nothing broken or cut."""
    lines = render(SNAPSHOT, width=40).splitlines()
    start = lines.index("     fix") + 1
    assert textwrap.dedent("\n".join(lines[start : start + 4]) + "\n") == LOOKUP


def test_a_fix_of_one_line_is_never_broken():
    """Longer than the terminal, it stays one line."""
    suggestion = "select(Order).options(" + ", ".join(f"joinedload(Order.part_{n})" for n in range(20)) + ")"
    finding = Finding("n_plus_one", "n1", "error", "query", "t", "d", suggestion)
    assert f"     fix  {suggestion}" in render(Snapshot(findings=[MergedFinding(finding, 1, 1, 1.0)])).splitlines()


def test_a_subquery_does_not_repeat_the_keyword():
    """The summary of a query on a subquery begins with SELECT twice; the report shows it once."""
    finding = Finding("n_plus_one", "n1", "error", "query", "t", "SELECT SELECT order_lines ran.", count=200)
    finding.statement = make_statement("SELECT count(*) FROM (SELECT id FROM order_lines JOIN products ON true) AS p")
    assert finding.statement.summary == "SELECT SELECT order_lines products"
    shown = render(Snapshot(findings=[MergedFinding(finding, 1, 200, 0.6)]))
    assert "200 × SELECT order_lines products" in shown
    assert "SELECT order_lines ran." in shown
    assert "SELECT SELECT" not in shown


@pytest.mark.parametrize(
    ("summary", "shown"),
    [
        ('SELECT "shop_book"', "SELECT shop_book"),
        ('SELECT "public"."Order" "shop_author"', "SELECT public.Order shop_author"),
        ("UPDATE `shop_book`; DELETE `shop_cart`", "UPDATE shop_book; DELETE shop_cart"),
        ("SELECT [dbo].[orders] SELECT [lines]", "SELECT dbo.orders lines"),
        ("SELECT \"song list\" 'artists'", "SELECT \"song list\" 'artists'"),
        ('SELECT "2024" "a-b" x"y"', 'SELECT "2024" "a-b" x"y"'),
        ('GET "price" [a]', 'GET "price" [a]'),
    ],
)
def test_names_lose_quotes_that_they_do_not_need(summary, shown):
    """Those of Django's queries, mostly; names of several words and keys of Redis stay."""
    assert summary_line(summary) == shown
    made = Finding("slow_query", "sq-1", "warning", "query", f"{summary} is slow", "")
    made.statement = Statement("postgresql", "", summary, "a" * 16)
    assert finding_text.title(made) == f"{shown} is slow"


def test_work_outside_requests_is_not_called_a_request():
    """A script's finding saves time, not time per request; in several windows, each time."""
    script = Snapshot(windows=2, findings=[MergedFinding(N_PLUS_ONE, 1, 200, 0.612)])
    worker = Snapshot(windows=2, findings=[MergedFinding(N_PLUS_ONE, 2, 400, 1.224)])
    assert "saves ~612 ms\n" in render(script)
    assert "saves ~612 ms each time\n" in render(worker)
    assert "in 2 windows" in render(worker)


def test_work_outside_requests_has_no_route():
    """The name of its window is one of dbsight's, and says nothing to people."""
    made = Finding("slow_query", "sq-1", "warning", "query", "SELECT orders is slow", "", route="dbsight.window")
    page = render(Snapshot(calls=1, findings=[MergedFinding(made, 1, 1, 0.1)]))
    assert "SELECT orders is slow" in page
    assert "dbsight.window" not in page


def test_queries_that_ran_side_by_side_take_more_than_the_time_watched():
    """More than a hundred percent is said in words."""
    assert "900 ms in the database · 1.5 × the recorded time" in render(ONE)


def test_a_rule_that_the_report_does_not_know_is_told_by_its_name():
    """Rules of others, and findings without a statement: label from the rule, subject from the title."""
    finding = Finding("cold_start", "cs-1", "info", "workload", "first query took 2 s", "It connected first.")
    assert " · COLD START   first query took 2 s\n     It connected first.\n" in render(
        Snapshot(findings=[MergedFinding(finding, 1, 1, 0.0)])
    )


def test_what_comes_from_outside_cannot_move_the_cursor():
    """Control characters in routes, names and code are shown, not obeyed; lines stay lines."""
    finding = Finding(
        "n_plus_one",
        "n1",
        "error",
        "query",
        "t",
        "first\nsecond \x1b[2J",
        "a\x1b[31m\r\nb\x07",
        route="GET /\x1b]0;owned\x07\u202e",
        statement=Statement("sqlite", "", "SELECT \x9b1m", "f"),
        call_site=CallSite("evil\x1b.py", 1, "f\n"),
    )
    report = render(Snapshot(findings=[MergedFinding(finding, 1, 1, 0.0)]))
    assert not set(report) & {"\x1b", "\x07", "\x9b", "\r", "\u202e"}
    assert "GET /\\x1b]0;owned\\x07\\u202e" in report
    assert "     first second \\x1b[2J\n     evil\\x1b.py:1 in f\n" in report
    assert "         a\\x1b[31m\n         b\\x07\n" in report


def test_the_text_of_a_statement_is_not_printed():
    """Its summary is; even a text that somebody left unsanitised stays inside."""
    statement = Statement("sqlite", "SELECT * FROM t WHERE email = 'MARKER'", "SELECT t", "f" * 16)
    finding = Finding("slow_query", "sq", "error", "query", "t", "d", statement=statement, database=SHOP)
    totals = StatementTotals(statement, SHOP, 1, 0, 1.0, 1.0, 1.0, 1.0, 0)
    report = render(Snapshot(findings=[MergedFinding(finding, 1, 1, 0.0)], statements=[totals]))
    assert "SELECT t" in report
    assert "MARKER" not in report


def test_without_a_terminal_there_are_no_colours_and_100_columns():
    """A file, a pipe, the log of a CI run."""
    stream = io.StringIO()
    print_report(SNAPSHOT, stream)
    assert stream.getvalue() == render(SNAPSHOT, width=100)


def test_standard_error_is_the_default_and_standard_output_stays_clean(capsys):
    """A program's output may be piped into another program."""
    print_report(SNAPSHOT)
    assert tuple(capsys.readouterr()) == ("", render(SNAPSHOT))


def test_nothing_is_written_when_there_is_nothing_to_say():
    """Not even an empty line."""
    stream = io.StringIO()
    print_report(Snapshot(preset="production"), stream)
    assert stream.getvalue() == ""


def test_a_process_without_standard_error_has_no_report(monkeypatch):
    """Nothing fails there."""
    monkeypatch.setattr(sys, "stderr", None)
    print_report(SNAPSHOT)


@pytest.mark.parametrize(
    ("variables", "color"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
    ids=str,
)
def test_a_terminal_gets_its_own_width_and_colours(monkeypatch, variables, color):
    """On a real pseudo-terminal of 60 columns, with what its user asked for."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 60, 0, 0))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST  # as written, without carriage returns
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        print_report(SNAPSHOT, stream)
        expected = render(SNAPSHOT, width=60, color=color).encode()
        written = b""
        while len(written) < len(expected):  # a terminal hands over what fits into its buffer
            written += os.read(ours, 100_000)
        assert written == expected
    os.close(ours)


def test_colours_can_be_forced_where_there_is_no_terminal(monkeypatch):
    """FORCE_COLOR: CI systems that show colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    print_report(SNAPSHOT, stream)
    assert stream.getvalue() == render(SNAPSHOT, width=100, color=True)


@pytest.mark.parametrize(
    ("encoding", "kept"),
    [("ascii", ""), ("latin-1", "·×µ"), ("cp1252", "·×…µ"), ("cp437", "·─µ"), ("utf-8", "✖▲·×←─…µ")],
)
def test_a_stream_that_cannot_write_a_mark_gets_a_plain_one(encoding, kept):
    """What the encoding has stays as it is; nothing raises, and columns stay under each other."""
    marks = {"✖": "x", "▲": "!", "·": "-", "×": "x", "←": "<", "─": "-", "…": "...", "µ": "u"}
    expected = render(MANY, details="report.html") + render(SNAPSHOT)
    for mark, plain in marks.items():
        expected = expected if mark in kept else expected.replace(mark, plain)
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding, errors="strict", write_through=True, newline="\n") as stream:
        print_report(MANY, stream, details="report.html")
        print_report(SNAPSHOT, stream)
        assert written.getvalue().decode(encoding) == expected


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_cannot_be_encoded_is_escaped(encoding):
    """File names are bytes: those that are no text reach Python as lone surrogates."""
    finding = Finding("n_plus_one", "n1", "error", "query", "t", "d", call_site=CallSite("caf\udce9.py", 1, "f"))
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding, errors="strict", write_through=True) as stream:
        print_report(Snapshot(findings=[MergedFinding(finding, 1, 1, 0.0)]), stream)
        assert b"caf\\udce9.py:1 in f" in written.getvalue()


def test_a_broken_stream_does_not_reach_the_application():
    """Whatever the stream does, the process goes on; the failure is counted."""

    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    print_report(SNAPSHOT, Broken())
    assert safety.errors() == {"report.terminal.print_report": 1}
    safety.reset()


def test_the_report_is_one_write():
    """Nothing that other threads or processes write gets between its lines."""
    writes = []

    class Recorder(io.StringIO):
        def write(self, text):
            writes.append(text)
            return len(text)

    print_report(SNAPSHOT, Recorder())
    assert writes == [render(SNAPSHOT)]


def test_start_up_does_not_pay_for_the_report():
    """The terminal library is imported when there is something to draw, and not for a clean run."""
    program = """
        import sys
        from dbsight.model import Snapshot
        from dbsight.report.terminal import render
        render(Snapshot(calls=1))
        print([name for name in sys.modules if name.partition(".")[0] == "rich"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"


def pool_table(*pools, width=100):
    """The lines of the table of pools."""
    report = render(Snapshot(findings=[MergedFinding(VERY_SLOW, 1, 1, 4.0)], calls=1, pools=pools), width=width)
    lines = report.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith(" pools"))
    return lines[first : first + 1 + len(pools)]


SMALL = PoolSnapshot(
    PoolState("shop.db", "sqlalchemy", "QueuePool", "sqlite", used=2, idle=3, max=5, idle_max=5),
    PoolTotals(checkouts=40, waits=9, wait_total=1.9, wait_p95=0.41, use_p95=0.012, timeouts=1),
)
WIDE = PoolSnapshot(
    PoolState("db:5432/shop", "sqlalchemy", "QueuePool", "postgresql", idle=5, max=15, idle_max=5),
    PoolTotals(checkouts=3, use_p95=0.002),
)
ENDLESS = PoolSnapshot(PoolState("db:5432/log", "sqlalchemy", "NullPool", "postgresql", idle_max=0))


def test_the_pools_stand_below_the_statements():
    """The one that was waited for first; what a pool has no limit for, or never did, is a dash."""
    assert pool_table(ENDLESS, WIDE, SMALL) == [
        " pools          size   used   idle   waits   wait p95   use p95   timeouts",
        " shop.db           5      2      3       9      410ms    12.0ms          1",
        " db:5432/log       –      0      0       0          –         –          0",
        " db:5432/shop   5+10      0      5       0          –    2.00ms          0",
    ]


def test_a_narrow_page_keeps_size_wait_and_timeouts_of_pools():
    """What is least needed leaves first."""
    heads = pool_table(SMALL, width=45)[0].split()
    assert {"pools", "size", "timeouts"} <= set(heads) < {"pools", "size", "used", "waits", "wait", "p95", "timeouts"}


def test_what_is_said_of_a_plan_follows_the_query_that_shows_it():
    """Whatever it saves: often that is not known. What is about another query stays where it is."""
    text = ("warning", "index", "order_lines has no index on (sku)", "")
    index = Finding("missing_index", "mi-1", *text, statement=LINES, database=SHOP, suggestion="CREATE INDEX ix …")
    other = Finding("bad_plan", "bp-1", *text, statement=STOCK, database=SHOP)
    findings = [MergedFinding(VERY_SLOW, 1, 1, 4.0), MergedFinding(N_PLUS_ONE, 1, 200, 0.6)]
    findings += [MergedFinding(other, 1, 1, 0.0), MergedFinding(index, 1, 1, 0.0)]
    page = render(Snapshot(calls=9, findings=findings, exporting=True))
    heads = [line.strip().split("   ")[0] for line in page.splitlines() if line.startswith((" ✖", " ▲", "     +"))]
    assert heads == ["✖ VERY SLOW", "+ MISSING INDEX: order_lines has no index on (sku)", "✖ N+1", "▲ BAD PLAN"]
    assert page.index("fix  CREATE INDEX ix …") < page.index(" ✖ N+1")


def test_a_caller_that_many_lines_share_is_not_shown():
    """A dispatcher says nothing; the caller of a shared helper says where to look."""
    findings = []
    for line in range(4):
        found = Finding("n_plus_one", f"n1-{line}", "warning", "query", "t", "d")
        found.call_site = CallSite("views.py", line, "view", CallSite("router.py", 67, "call"))
        findings.append(MergedFinding(found, 1, 1, 0.1))
    findings.append(MergedFinding(VERY_SLOW, 1, 1, 0.1))
    page = render(Snapshot(calls=9, findings=findings))
    assert "called from examples/views.py:12 in get_report" in page
    assert "router.py" not in page
