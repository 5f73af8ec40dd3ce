"""The query log: a line of JSON for each query, on a logger, in a file, and as log events."""

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from sqlalchemy import create_engine, text

import dbsight
from dbsight import analyzer, config, safety
from dbsight.report import query_log
from dbsight.report.rotating_file import DROPPED, RotatingFile


@pytest.fixture(autouse=True)
def levels():
    """The loggers' levels and handlers are put back."""
    loggers = [query_log.logger, logging.getLogger("dbsight")]
    before = [(each, each.level, list(each.handlers)) for each in loggers]
    yield
    for each, level, handlers in before:
        each.setLevel(level)
        each.handlers[:] = handlers


@pytest.fixture
def logging_with(exported):
    """Puts settings in force in a process that exports its spans; returns what gives the spans of queries."""

    def use(**settings):
        analyzer.engine().use(config.Settings.load({}, **settings))
        return lambda: [span for span in exported() if span.kind.name == "CLIENT"]

    return use


def lines_of(path):
    """What is in a log."""
    analyzer.engine().drain()
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids(spans):
    """Trace and span ids as the log writes them."""
    return [(f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") for span in spans]


def test_the_level_and_a_file_handler_log_every_query(exported, sqlalchemy, tmp_path):
    """As many lines as queries, each with the ids of its own span; a failed query is one of them."""
    path = tmp_path / "queries.log"
    dbsight.set_log_level(logging.DEBUG)
    handler = logging.FileHandler(path)
    handler.setLevel(logging.DEBUG)
    logging.getLogger("dbsight").addHandler(handler)
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("CREATE TABLE users (name text)"))
        connection.execute(text("INSERT INTO users VALUES ('SECRET')"))
        assert connection.execute(text("SELECT * FROM users WHERE name = 'SECRET'")).all()
        with pytest.raises(Exception, match="no such table"):
            connection.execute(text("SELECT * FROM missing"))
        connection.execute(text("SELECT 1"))  # a ping is no query
    lines = lines_of(path)
    handler.close()
    spans = [span for span in exported() if span.kind.name == "CLIENT" and span.name != "SELECT"]
    assert [(line["trace_id"], line["span_id"]) for line in lines] == ids(spans)
    assert [line["summary"] for line in lines] == [
        "CREATE TABLE users",
        "INSERT users",
        "SELECT users",
        "SELECT missing",
    ]
    assert "SECRET" not in path.read_text()
    select, failed = lines[2:]
    assert select["text"] == "SELECT * FROM users WHERE name = ?"
    assert (select["rows"], select["system"], select["class"], select["error"]) == (1, "sqlite", None, None)
    assert select["fingerprint"] == spans[2].attributes["dbsight.query.fingerprint"]
    assert select["call_site"].rpartition(":")[0].endswith("test_query_log.py")
    assert 0 < select["duration"] < 60
    assert (failed["level"], failed["error"]) == ("ERROR", "sqlite3.OperationalError")


def test_without_being_asked_nothing_is_logged(logging_with, caplog):
    """Not even where the application logs everything; for a batch it costs one look at a level."""
    logging_with()
    with caplog.at_level(logging.DEBUG):
        dbsight.record_query("SELECT a FROM t", 6.0)
        analyzer.engine().drain()
    assert not analyzer.engine().query_log.wanted()
    assert [record for record in caplog.records if record.name == "dbsight.queries"] == []


def test_the_file_has_the_queries_that_take_long_enough(logging_with, tmp_path):
    """Slow and failed ones have their level; the logger has none of them."""
    path = tmp_path / "slow.log"
    logging_with(log_file=str(path), log_min_duration="100 ms")
    dbsight.record_query("SELECT a FROM t", 0.099)
    dbsight.record_query("SELECT b FROM t", 0.1)
    dbsight.record_query("SELECT c FROM t", 1.5)
    dbsight.record_query("SELECT d FROM t", 6.0)
    dbsight.record_query("UPDATE t SET e = 1", 0.2, ValueError("SECRET"), 3)
    assert [(line["level"], line["class"], line["rows"]) for line in lines_of(path)] == [
        ("DEBUG", None, None),
        ("WARNING", "slow", None),
        ("ERROR", "very_slow", None),
        ("ERROR", None, 3),
    ]
    assert "SECRET" not in path.read_text()
    assert query_log.logger.level == logging.NOTSET


@pytest.mark.parametrize(("level", "logged"), [("off", ""), ("debug", "abcd"), ("warning", "bcd"), ("error", "cd")])
def test_the_level_chooses_among_queries(logging_with, tmp_path, level, logged):
    """Every one, slow or failed ones, very slow or failed ones, none."""
    path = tmp_path / "queries.log"
    path.touch()
    logging_with(log_file=str(path), log_level=level)
    for name, duration, error in (("a", 0.1, None), ("b", 2, None), ("c", 6, None), ("d", 0.1, ValueError())):
        dbsight.record_query(f"SELECT {name} FROM t", duration, error)
    assert "".join(line["text"].split()[1] for line in lines_of(path)) == logged


def test_settings_alone_print_to_stderr_where_nobody_handles_logs(logging_with, capsys, monkeypatch):
    """Whoever sets the minimum wants to see lines; other settings end it."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logging_with(log_min_duration=0.1, query_text="off")
    dbsight.record_query("SELECT a FROM t WHERE b = 'SECRET'", 0.2)
    analyzer.engine().drain()
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["summary"] == "SELECT t"
    assert json.loads(line)["text"] is None
    logging_with()
    dbsight.record_query("SELECT a FROM t", 0.2)
    analyzer.engine().drain()
    assert capsys.readouterr().err == ""


def test_lines_are_exported_as_log_events_too(monkeypatch, exported, tmp_path):
    """In the trace of the query, with attributes of the semantic conventions."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr("dbsight.report.log_events.get_logger_provider", lambda: provider)
    analyzer.engine().use(config.Settings.load({}, log_export=True, log_level="debug", log_file=str(tmp_path / "log")))
    dbsight.record_query("SELECT a FROM t WHERE b = 'SECRET'", 6.0, None, 7)
    analyzer.engine().drain()
    (event,) = [
        each.log_record for each in exporter.get_finished_logs() if each.log_record.event_name == "dbsight.query"
    ]
    (span,) = [span for span in exported() if span.kind.name == "CLIENT"]
    assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)
    assert event.severity_number is SeverityNumber.ERROR
    assert event.attributes["db.query.text"] == "SELECT a FROM t WHERE b = ?"
    assert event.attributes["dbsight.query.duration"] == 6.0
    assert event.attributes["dbsight.query.class"] == "very_slow"
    assert event.attributes["db.response.returned_rows"] == 7
    assert len(lines_of(tmp_path / "log")) == 1


def test_the_route_of_a_request_stands_in_its_lines(logging_with, exported, tmp_path):
    """The name of the span that the request has by then."""
    from opentelemetry import trace

    path = tmp_path / "queries.log"
    logging_with(log_file=str(path))
    tracer = trace.get_tracer_provider().get_tracer("app")
    with tracer.start_as_current_span("GET", kind=trace.SpanKind.SERVER) as span:
        span.update_name("GET /orders")
        dbsight.record_query("SELECT a FROM t", 0.1)
    (line,) = lines_of(path)
    assert (line["route"], line["trace_id"]) == ("GET /orders", f"{span.get_span_context().trace_id:032x}")


class Asking(logging.Handler):
    """A handler that asks a database, as some applications store their logs, and then raises."""

    def __init__(self, engine):
        super().__init__()
        self.engine = engine
        self.asked = 0

    def emit(self, record):
        """Store the line."""
        self.asked += 1
        with self.engine.connect() as connection:
            connection.execute(text("SELECT name FROM sqlite_master"))
        raise RuntimeError


def test_a_handler_that_raises_or_asks_a_database_does_no_harm(exported, sqlalchemy):
    """Its own queries are not logged in turn, and each line reaches it."""
    handler = Asking(create_engine("sqlite://"))
    query_log.logger.addHandler(handler)
    dbsight.set_log_level("DEBUG")
    for _ in range(3):
        dbsight.record_query("SELECT a FROM t", 0.1)
    analyzer.engine().drain()
    analyzer.engine().drain()
    assert handler.asked == 3
    assert dbsight.stats().total == 3
    assert safety.errors() == {"query_log.handler": 3}
    safety.reset()


@pytest.mark.parametrize("path", ["/dev/full", "/proc/nothing/queries.log", "/", "a\0b"])
def test_a_file_that_cannot_be_written_is_one_warning(logging_with, caplog, path):
    """The application continues, and what was not written is counted."""
    if path == "/dev/full" and not Path(path).exists():
        pytest.skip("no /dev/full here")
    logging_with(log_file=path)
    before = safety.drops().get(DROPPED, 0)
    for number in range(3):
        dbsight.record_query(f"SELECT a{number} FROM t", 0.1)
        analyzer.engine().drain()
    assert dbsight.stats().total == 3
    assert safety.drops()[DROPPED] - before == 3
    (warning,) = [record.getMessage() for record in caplog.records if "query log" in record.getMessage()]
    assert "cannot be written" in warning
    assert path in warning


def test_a_pipe_that_nobody_reads_does_not_stop_the_application(logging_with, caplog, tmp_path):
    """Opening it would wait for a reader."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    logging_with(log_file=str(pipe))
    dbsight.record_query("SELECT a FROM t", 0.1)
    analyzer.engine().drain()
    assert "cannot be written" in caplog.text


def test_a_file_that_was_moved_or_removed_is_opened_anew(logging_with, tmp_path):
    """As logrotate does it."""
    path = tmp_path / "queries.log"
    logging_with(log_file=str(path))
    for name in ("queries.log.old", "queries.log.older"):
        dbsight.record_query("SELECT a FROM t", 0.1)
        assert len(lines_of(path)) == 1
        path.rename(tmp_path / name)
    path.touch()
    dbsight.record_query("SELECT a FROM t", 0.1)
    assert len(lines_of(path)) == 1


def test_the_files_stay_below_their_size_and_number(tmp_path):
    """The oldest lines are gone, the youngest are there; without older files the one is emptied."""
    file = RotatingFile(str(tmp_path / "log"), 100, 2)
    for number in range(50):
        file.write(f"{number:09}\n".encode(), 1)
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2"]
    text = "".join((tmp_path / name).read_text() for name in reversed(names))
    assert text == "".join(f"{number:09}\n" for number in range(20, 50))
    alone = RotatingFile(str(tmp_path / "alone"), 100, 0)
    for number in range(15):
        alone.write(f"{number:09}\n".encode(), 1)
    alone.close()
    assert (tmp_path / "alone").read_text() == "".join(f"{number:09}\n" for number in range(10, 15))


def test_threads_that_share_a_file_lose_no_line(tmp_path):
    """While it is rotated."""
    file = RotatingFile(str(tmp_path / "log"), 2000, 1000)

    def work(thread):
        for number in range(200):
            file.write(f"{thread} {number}\n".encode(), 1)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{thread} {number}" for thread in range(8) for number in range(200))
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 2000


WORKERS = """
    import os, sys, threading
    import dbsight

    dbsight.configure(log_file=sys.argv[1], log_file_size=20_000, log_file_count=1000, report="off")

    def work():
        for number in range(100):
            dbsight.record_query(f"SELECT a FROM t WHERE b = {number}", 0.001)

    def worker():
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    worker()
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            worker()
            dbsight.analyzer.engine().finish()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_workers_that_share_a_file_write_whole_lines_and_lose_none(tmp_path):
    """Forked from a process that logs itself, and while the file is rotated."""
    script = WORKERS.replace("dbsight.analyzer.engine", "__import__('dbsight.analyzer').analyzer.engine")
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "log")],
        check=True,
        env={**environment, "OTEL_LOGS_EXPORTER": "none"},
    )
    lines = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    by_process = {}
    for line in lines:
        by_process.setdefault(line["process"], []).append(line["span_id"])
    assert [len(set(each)) for each in by_process.values()] == [200] * 4
    assert len(lines) == 800
    assert len(list(tmp_path.iterdir())) > 3
