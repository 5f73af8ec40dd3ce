"""``dbsight top``: what it prints once, and each way in which it says that it cannot."""

import inspect
import json
import os
import socket
import sys
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from builders import NOW_NS, make_operation, make_span_context
from dbsight import serve
from dbsight.cli import top as command
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.main import main
from dbsight.cli.top.columns import FINDINGS, PANELS, ago
from dbsight.cli.top.view import view
from dbsight.cli.top.watch import KEPT, Ended, Watch, Worker
from dbsight.serve.processes import announce
from engine import Engine, run_unit


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Only processes of this test are found."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))


# Since 8.2 click's runner always tells standard error apart, and does not take the argument any more.
RUNNER = CliRunner(**({"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}))


@pytest.fixture
def workers():
    """Makes engines that serve, each as a process of its own."""
    engines = []

    def make():
        engine = Engine(serve=0)
        engine.subscribe()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        if not engine.retired:
            engine.unsubscribe()


def now():
    """For ``run_unit``: a unit of work that begins now."""
    return time.time() - NOW_NS / 1e9


def call(*arguments):
    """Exit code, standard output and standard error."""
    done = RUNNER.invoke(main, ["top", *map(str, arguments)], env={"COLUMNS": "120"})
    return done.exit_code, done.stdout, done.stderr


def test_one_reading_of_all_processes_is_printed(workers):
    """Without a terminal, as with --once: requests, queries, pools and findings, added."""
    for number, engine in enumerate((workers(), workers())):
        run_unit(engine, 6 + number, at=now())
    code, printed, said = call()
    assert (code, said) == (0, "")
    head, *lines = printed.splitlines()
    assert head.startswith("2 processes · ")
    assert "13 queries" in head
    rows = {line.split()[0]: line.split() for line in lines if line.startswith(" ")}
    assert rows["GET"][1] == "/orders"
    assert rows["GET"][3] == "2"
    assert "6.5" in rows["GET"]
    assert rows["SELECT"][:2] == ["SELECT", "customers"]
    assert "13" in rows["SELECT"]
    assert rows["▲"][1] == "N+1"
    assert "app.py:10" in rows["▲"]
    assert [line.split()[0] for line in call("--once")[1].splitlines() if line] == [
        line.split()[0] for line in printed.splitlines() if line
    ]


def test_json_has_the_same_and_its_units_are_seconds(workers):
    """For programs."""
    engine = workers()
    run_unit(engine, 6, at=now())
    code, printed, _ = call("--json")
    told = json.loads(printed)
    assert code == 0
    (process,) = told["processes"]
    assert (process["pid"], process["state"], process["queries"]) == (os.getpid(), "serving", 6)
    assert process["port"] == engine.service.process.port
    (request,) = told["requests"]
    assert (request["route"], request["count"], request["queries"]) == ("GET /orders", 1, 6.0)
    assert request["p50"] == request["p95"] == pytest.approx(0.02)
    assert 0 < request["per_second"] <= 1
    (query,) = told["queries"]
    assert (query["count"], query["place"]) == (6, "app.py:10 in list_orders")
    assert query["per_second"] == pytest.approx(6 * request["per_second"], rel=0.2)
    (finding,) = told["findings"]
    assert (finding["rule"], finding["route"], finding["count"]) == ("n_plus_one", "GET /orders", 6)
    assert finding["last_seen"] == pytest.approx(time.time(), abs=60)
    assert engine.service.process.token not in printed


def test_one_process_is_watched_by_its_id_or_its_address(workers):
    """A process and its children; another one is left out."""
    first, second = workers(), workers()
    run_unit(first, 2, at=now())
    run_unit(second, 3, at=now())
    assert json.loads(call(os.getpid(), "--json")[1])["totals"]["queries"] == 5
    process = second.service.process
    for address in (process.url, f"{process.url}/?token={process.token}"):
        assert json.loads(call(address, "--json")[1])["totals"]["queries"] == 3


def test_rows_are_sorted_and_filtered(workers):
    """By the column that is named; with the words that are asked for."""
    engine = workers()
    for name, count in (("GET /a", 3), ("GET /b", 1), ("GET /c", 2)):
        run_unit(engine, count, at=now(), name=name)

    def routes(*arguments):
        return [line.split()[1] for line in call(*arguments)[1].splitlines() if line.startswith(" GET")]

    assert routes("--sort", "requests.queries") == ["/a", "/c", "/b"]
    assert routes("--sort", "requests.route") == ["/a", "/b", "/c"]
    assert routes("--filter", "get /C") == ["/c"]
    told = json.loads(call("--json", "--sort", "requests.queries", "--filter", "GET")[1])
    assert [row["route"] for row in told["requests"]] == ["GET /a", "GET /c", "GET /b"]
    assert told["queries"] == []


def test_every_column_sorts(workers):
    """No value is missing, whatever is unknown of a row."""
    engine = workers()
    run_unit(engine, 6, at=now())
    engine.observe(make_operation(parent=make_span_context(), line=None))
    watch = Watch(serve.processes, spare=0)
    watch.read()
    shown = view(watch)
    for panel in PANELS:
        for column in panel.columns:
            for reverse in (False, True):
                panel.sorted(shown, column.name, reverse=reverse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no process of this user serves: start one with OTEL_DBSIGHT_SERVE=8787"),
        (["--service", "9000"], "no process of this user serves: start one with OTEL_DBSIGHT_SERVE=9000"),
        ([str(os.getpid())], f"process {os.getpid()} does not serve for this user: start it with OTEL_DBSIGHT_SERVE"),
        (["2147483647"], "there is no process 2147483647"),
        (["99999999999999999999"], "there is no process 99999999999999999999"),
        (["http://127.0.0.1:1/"], "no process of this user serves at port 1: start it with OTEL_DBSIGHT_SERVE=1"),
        (["http://example.com/"], "http://example.com/ is not http://127.0.0.1:PORT: forward a port of another"),
        (["app.py"], "app.py is not http://127.0.0.1:PORT"),
    ],
    ids=["none", "service", "pid", "no pid", "huge pid", "address", "elsewhere", "nonsense"],
)
def test_nothing_to_watch_is_one_sentence(arguments, said):
    """And the exit code of what cannot be done."""
    code, printed, message = call(*arguments)
    assert (code, printed) == (2, "")
    assert message.startswith(f"Error: {said}")
    assert len(message.splitlines()) == 1


def test_a_process_that_was_killed_is_one_sentence(tmp_path):
    """Its file is there, and another program of this user has its process id by now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    announce(serve.Process(8787, port, os.getpid(), "token", 1))
    code, printed, said = call()
    assert (code, printed) == (2, "")
    assert said == f"Error: nothing answers at http://127.0.0.1:{port}: process {os.getpid()} has ended\n"


def test_a_wrong_token_and_another_version_are_one_sentence(workers):
    """Each with what to do."""
    process = workers().service.process
    code, _, said = call(f"{process.url}/?token=wrong")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "refuses the token" in said
    engine = workers()
    engine.service._about = lambda: {"pid": 1, "dbsight": "0.0.1"}
    code, _, said = call(engine.service.process.url)
    assert (code, len(said.splitlines())) == (2, 1)
    assert "runs dbsight 0.0.1" in said
    assert said.endswith("upgrade dbsight in the process\n")


def test_one_that_cannot_be_read_is_told_beside_the_others(workers):
    """They are watched all the same."""
    run_unit(workers(), 2, at=now())
    workers().service._about = lambda: {"pid": 1, "dbsight": "0.0.1"}
    code, printed, _ = call()
    assert code == 0
    assert "2 queries" in printed
    assert "runs dbsight 0.0.1" in printed.splitlines()[1]


def test_the_live_view_without_textual_is_one_sentence(monkeypatch):
    """It says what to install, and what works without."""
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.delitem(sys.modules, "dbsight.cli.top.app", raising=False)
    with pytest.raises(UsageFault, match=r"needs Textual: pip install 'dbsight\[top\]'; `dbsight top --once` works"):
        command._run(Watch(list), 1.0, {}, "")


def test_hostile_names_do_not_reach_the_terminal(workers):
    """Control characters of a route are written out."""
    run_unit(workers(), 1, at=now(), name="GET /\x1b[2J[red]x[/]")
    _, printed, _ = call()
    assert "\x1b" not in printed
    assert "[red]x[/]" in printed


def test_a_process_that_ends_keeps_its_totals(workers):
    """A new one is found at the next reading; what is over has no rate."""
    first = workers()
    run_unit(first, 4, at=now())
    watch = Watch(serve.processes, spare=0)
    watch.read()
    first.unsubscribe()
    second = workers()
    run_unit(second, 2, at=now())
    watch.read()
    assert [worker.state for worker in watch.workers] == ["ended", "serving"]
    shown = view(watch)
    assert shown.snapshot.calls == 6
    assert shown.pools == []
    assert shown.per_second <= 1
    only = view(watch, lambda worker: worker.state == "serving")
    assert only.snapshot.calls == 2


@pytest.mark.swallows_errors
def test_a_process_that_fails_to_answer_is_asked_again(workers):
    """It is silent for the time: its figures stay, and what it says is told."""
    engine = workers()
    run_unit(engine, 4, at=now())
    watch = Watch(serve.processes, spare=0)
    watch.read()
    answers = engine.service._server.answers
    answer = answers["/api/v1/snapshot"]
    answers["/api/v1/snapshot"] = lambda given: 1 / 0
    watch.read()
    (worker,) = watch.workers
    assert (worker.state, "status 500" in worker.said) == ("silent", True)
    assert view(watch).snapshot.calls == 4
    answers["/api/v1/snapshot"] = answer
    watch.read()
    assert (worker.state, worker.said) == ("serving", "")


def test_findings_come_newest_first(workers):
    """By when they were first seen; those from before have no such moment."""
    engine = workers()
    run_unit(engine, 6, at=now())
    watch = Watch(serve.processes, spare=0)
    watch.read()
    for line in (20, 30):
        run_unit(engine, 6, at=now(), line=line, text=f"SELECT name FROM shelves{line} WHERE id = ?")
        watch.read()
    rows = FINDINGS.sorted(view(watch), FINDINGS.sort)
    assert [row.place.partition(" ")[0] for row in rows] == ["app.py:30", "app.py:20", "app.py:10"]
    assert [row.first_seen is None for row in rows] == [False, False, True]


def test_rates_are_of_the_time_that_is_kept():
    """Of what is not kept any more, nothing is known: the time is shorter then."""
    worker = Worker(serve.Process(0, 1, 1, "t"), now=1000.0, started=0.0)
    worker.units.extend(Ended(moment, "GET /", 0.1, 1, 0.01, ()) for moment in (900.0, 950.0, 999.0))
    worker._next = 3
    assert worker.recent == (60.0, 1)
    worker.units.extend(Ended(998.0 + number / KEPT, "GET /", 0.1, 1, 0.01, ()) for number in range(KEPT))
    seconds, older = worker.recent
    assert (seconds, older) == (pytest.approx(2.0, abs=0.01), 0)


@pytest.mark.parametrize(("passed", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (-5, "0 s")])
def test_how_long_ago(passed, said):
    """In the unit that people use."""
    assert ago(1000.0 - passed, 1000.0) == said


def test_a_later_process_at_the_same_address_is_watched(workers):
    """One that was started again has another token."""
    first = workers()
    process = first.service.process
    find = command._finder(process.url, None)
    assert find() == [process]
    first.unsubscribe()
    assert find() == []
    announce(replace(process, token="later"))
    assert [process.token for process in find()] == ["later"]
