"""Totals over the life of the process."""

import threading
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext

from dbsight import safety
from dbsight.model import (
    CallSite,
    Database,
    Finding,
    KindTotals,
    MergedFinding,
    Operation,
    SlowQuery,
    Snapshot,
    Statement,
    StatementTotals,
    Verdict,
    WindowSummary,
)
from dbsight.monitor.stats import Stats
from forking import held_elsewhere, in_child

SHOP = Database("sqlite", "shop.db")
LINE = CallSite("shop.py", 88, "list_orders")


@pytest.fixture(autouse=True)
def _forget_what_safety_counted():
    safety.reset()
    yield
    safety.reset()


def make_statement(name="orders", kind="select", **traits):
    """A statement whose fingerprint is its name."""
    return Statement("sqlite", f"SELECT * FROM {name}", f"SELECT {name}", name, kind=kind, **traits)


ORDERS = make_statement()


def make_operation(statement=ORDERS, duration=0.25, database=SHOP, **known):
    """One execution, by default of ORDERS, a quarter of a second long."""
    return Operation(statement, database, 1_000, duration, **known)


def make_finding(id="n1-1", impact=1.0, **known):  # noqa: A002 - the record's own name
    """A finding of one rule."""
    return Finding(
        "n_plus_one", id, known.pop("severity", "warning"), "query", "title", "description", impact=impact, **known
    )


def make_summary(*findings, duration=1.0, request=True):
    """A window of one second."""
    return WindowSummary(
        "GET /",
        "GET /",
        1,
        1,
        sampled=True,
        start_ns=0,
        duration=duration,
        calls=1,
        db_time=0.1,
        findings=findings,
        request=request,
    )


def test_a_new_process_has_no_totals():
    """Every figure is zero and every list empty."""
    assert Stats().snapshot() == Snapshot(findings=[], statements=[], routes=[], kinds={}, slow_queries=())


def test_operations_are_totalled_by_fingerprint():
    """One record for one query: counts, times, rows, errors and the last line that ran it."""
    stats = Stats()
    later = CallSite("shop.py", 90, "list_orders")
    stats.add(make_operation(duration=0.25, rows=3, call_site=LINE))
    stats.add(make_operation(duration=0.5, rows=4, call_site=later, error_type="sqlite3.OperationalError"))
    stats.add(make_operation(duration=0.5))
    assert stats.snapshot().statements == [
        StatementTotals(ORDERS, SHOP, 3, 1, 1.25, 0.5, 0.5, 0.5, 7, later),
    ]


def test_the_first_statement_of_a_fingerprint_stands_for_it():
    """Other literals make another Statement with the same fingerprint: the first one is kept."""
    stats = Stats()
    stats.add(make_operation(ORDERS))
    stats.add(make_operation(make_statement()))
    assert [totals.statement for totals in stats.snapshot().statements] == [ORDERS]


def test_the_same_text_on_two_databases_is_two_statements():
    """Identity is fingerprint and database."""
    stats = Stats()
    archive = Database("sqlite", "archive.db")
    stats.add(make_operation(duration=0.5))
    stats.add(make_operation(duration=0.25, database=archive))
    assert [(totals.database, totals.total) for totals in stats.snapshot().statements] == [(SHOP, 0.5), (archive, 0.25)]


def test_statements_come_with_most_total_time_first():
    """Two hundred short ones stand before one long one when they took longer together."""
    stats = Stats()
    stats.add(make_operation(make_statement("long"), duration=1.0))
    for _ in range(200):
        stats.add(make_operation(make_statement("short"), duration=0.25))
    assert [(t.statement.fingerprint, t.count, t.total) for t in stats.snapshot().statements] == [
        ("short", 200, 50.0),
        ("long", 1, 1.0),
    ]


def test_kinds_are_totalled_apart():
    """Selects, inserts and failures are told apart, as is the longest of each."""
    stats = Stats()
    stats.add(make_operation(duration=0.25))
    stats.add(make_operation(duration=0.75))
    stats.add(make_operation(make_statement("insert", "insert"), duration=0.5, error_type="IntegrityError"))
    snapshot = stats.snapshot()
    assert snapshot.kinds == {"select": KindTotals(2, 0, 1.0, 0.75), "insert": KindTotals(1, 1, 0.5, 0.5)}
    assert (snapshot.calls, snapshot.db_time, snapshot.failed) == (3, 1.5, 1)


@pytest.mark.parametrize("trait", ["ping", "setup"])
def test_pings_and_setup_are_kept_out_of_every_other_figure(trait):
    """What keeps a connection alive has a count of its own, and is never among the slow ones."""
    stats = Stats()
    stats.add(make_operation(duration=0.5))
    idle = make_statement(trait, "other", **{trait: True})
    stats.add(make_operation(idle, duration=2.0, error_type="OperationalError"), Verdict("slow", 1.0))
    assert stats.snapshot() == Snapshot(
        calls=1,
        db_time=0.5,
        kinds={"select": KindTotals(1, 0, 0.5, 0.5), trait: KindTotals(1, 1, 2.0, 2.0)},
        statements=[StatementTotals(ORDERS, SHOP, 1, 0, 0.5, 0.5, 0.5, 0.5, 0)],
        findings=[],
        routes=[],
        p50=0.5,
        p95=0.5,
    )


def test_slow_queries_are_counted_by_class_and_remembered_newest_first():
    """Each with its line, its limit and its trace; the others leave no trace."""
    stats = Stats()
    slow = make_operation(duration=1.5, call_site=LINE, context=SpanContext(7, 1, is_remote=False))
    very_slow = make_operation(duration=6.0)
    stats.add(slow, Verdict("slow", 1.0))
    stats.add(make_operation(), Verdict())
    stats.add(make_operation())
    stats.add(very_slow, Verdict("very_slow", 5.0))
    snapshot = stats.snapshot()
    assert (snapshot.slow, snapshot.very_slow) == (1, 1)
    assert snapshot.slow_queries == (
        SlowQuery(ORDERS, SHOP, 1_000, 6.0, "very_slow", 5.0),
        SlowQuery(ORDERS, SHOP, 1_000, 1.5, "slow", 1.0, LINE, 7),
    )


def test_only_the_latest_slow_queries_are_remembered_and_all_are_counted():
    """Of 150 slow ones, the ring keeps the last hundred."""
    stats = Stats(max_slow_queries=100)
    for number in range(150):
        stats.add(make_operation(duration=2.0 + number), Verdict("slow", 1.0))
    snapshot = stats.snapshot()
    assert snapshot.slow == 150
    assert [slow.duration for slow in snapshot.slow_queries] == [2.0 + number for number in reversed(range(50, 150))]


def test_windows_and_requests_are_counted_with_their_time():
    """A window that serves no request counts as a window only."""
    stats = Stats()
    stats.close(make_summary(duration=0.5))
    stats.close(make_summary(duration=0.25, request=False))
    snapshot = stats.snapshot()
    assert (snapshot.windows, snapshot.requests, snapshot.window_time) == (2, 1, 0.75)
    assert (snapshot.request_time, snapshot.request_db_time) == (0.5, 0.1)


def test_findings_merge_by_id_and_the_most_impactful_one_stays():
    """Counts and impacts are added over windows, and those that were requests are counted."""
    stats = Stats()
    small, big, late = (make_finding(impact=impact, count=count) for impact, count in ((0.5, 10), (2.0, 40), (1.0, 20)))
    for finding, request in ((small, True), (big, False), (late, True)):
        stats.close(make_summary(finding, request=request))
    assert stats.snapshot().findings == [MergedFinding(big, 3, 70, 3.5, requests=2)]


def test_a_finding_outside_windows_is_merged_with_the_others():
    """It counts as seen once more, not as another window of the process."""
    stats = Stats()
    finding = make_finding()
    stats.close(make_summary(finding))
    stats.found(finding)
    snapshot = stats.snapshot()
    assert (snapshot.windows, snapshot.findings) == (1, [MergedFinding(finding, 2, 2, 2.0, requests=1)])


def test_a_finding_that_a_window_has_twice_is_one_window():
    """Two slow executions of one query in one request: seen in one window, counted twice."""
    stats = Stats()
    finding = make_finding()
    stats.close(make_summary(finding, finding))
    assert stats.snapshot().findings == [MergedFinding(finding, 1, 2, 2.0, requests=1)]


def test_findings_come_with_most_time_saved_first():
    """Added over windows; where times are equal, the more severe first."""
    stats = Stats()
    often, once = make_finding("often", 1.0), make_finding("once", 1.5)
    mild, grave = make_finding("mild", 0.0, severity="info"), make_finding("grave", 0.0, severity="error")
    stats.close(make_summary(mild, once, often))
    stats.close(make_summary(often, grave))
    assert [merged.finding for merged in stats.snapshot().findings] == [often, once, grave, mild]


def test_the_findings_that_save_least_are_forgotten_at_the_bound():
    """Memory is bounded by what matters least, and what was forgotten is counted."""
    stats = Stats(max_findings=8)
    for number in range(11):
        stats.close(make_summary(make_finding(f"n1-{number}", impact=float(number))))
    assert [merged.impact for merged in stats.snapshot().findings] == [10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    assert safety.drops() == {"findings": 3}


def test_beyond_the_bound_statements_are_one_record():
    """The rest is counted together, its kinds are still told apart, and the drop is counted."""
    stats = Stats(max_statements=2)
    for name, kind in (
        ("a", "select"),
        ("b", "select"),
        ("c", "select"),
        ("d", "insert"),
        ("d", "insert"),
        ("a", "select"),
    ):
        stats.add(make_operation(make_statement(name, kind), duration=0.5, rows=1, call_site=LINE))
    snapshot = stats.snapshot()
    assert [
        (t.statement.summary, t.database.key, t.count, t.total, t.rows, t.call_site) for t in snapshot.statements
    ] == [
        ("other", "other://:/", 3, 1.5, 3, None),
        ("SELECT a", SHOP.key, 2, 1.0, 2, LINE),
        ("SELECT b", SHOP.key, 1, 0.5, 1, LINE),
    ]
    assert snapshot.kinds == {"select": KindTotals(4, 0, 2.0, 0.5), "insert": KindTotals(2, 0, 1.0, 0.5)}
    assert (snapshot.calls, snapshot.dropped) == (6, {"statements": 3})


def test_the_other_record_has_quantiles_over_all_its_statements():
    """Histograms of several kinds are added."""
    stats = Stats(max_statements=0)
    for number in range(19):
        stats.add(make_operation(make_statement("a", "select"), duration=0.001 * (1 + number / 1000)))
    stats.add(make_operation(make_statement("b", "insert"), duration=10.0))
    (other,) = stats.snapshot().statements
    assert (other.p50, other.p95, other.max) == (pytest.approx(0.001, rel=0.07), pytest.approx(0.001, rel=0.07), 10.0)


def test_an_odd_duration_does_not_fail_the_query():
    """A clock that went backwards or an absurd time is counted all the same."""
    stats = Stats()
    for duration in (-1.0, 0.0, 1e-9, 1e9):
        stats.add(make_operation(duration=duration))
    (totals,) = stats.snapshot().statements
    assert (totals.count, totals.max) == (4, 1e9)


def test_a_snapshot_says_what_it_was_told_and_does_not_change_later():
    """Service, preset, exporting and drops are the caller's; the totals are a copy."""
    stats = Stats()
    finding = make_finding()
    stats.add(make_operation())
    stats.close(make_summary(finding))
    told = stats.snapshot(service="shop", preset="balanced", exporting=True, dropped={"windows": 2})
    before = replace(told, findings=list(told.findings), statements=list(told.statements))
    stats.add(make_operation())
    stats.close(make_summary(finding))
    assert told == before
    assert (told.service, told.preset, told.exporting, told.dropped) == ("shop", "balanced", True, {"windows": 2})
    assert told.findings == [MergedFinding(finding, 1, 1, 1.0, requests=1)]


def test_reset_forgets_everything():
    """Afterwards the totals are those of a new process, and counting goes on."""
    stats = Stats()
    stats.add(make_operation(duration=2.0), Verdict("slow", 1.0))
    stats.close(make_summary(make_finding()))
    stats.reset()
    assert stats.snapshot() == Stats().snapshot()
    stats.add(make_operation())
    assert stats.snapshot().calls == 1


def test_reset_needs_no_lock_that_another_thread_held_when_the_process_forked():
    """In the child the thread is gone and its locks stay taken for ever: new ones are made."""
    stats = Stats()
    stats.add(make_operation())
    stats.snapshot()
    (record,) = stats._state.records.values()

    def work():
        stats.reset()
        stats.add(make_operation(), Verdict("slow", 1.0))
        stats.close(make_summary())
        return stats.snapshot().calls, stats.snapshot().windows

    with held_elsewhere(stats._state.lock, record.lock):
        assert in_child(work) == (1, 1)


def test_a_query_inside_the_counting_of_a_query_does_not_hang():
    """A signal handler or a finaliser may run a query at any point: the locks let the same thread in again."""
    stats = Stats()
    stats.add(make_operation())
    stats.snapshot()
    (record,) = stats._state.records.values()
    with stats._state.lock, record.lock:
        stats.add(make_operation(), Verdict("slow", 1.0))
        stats.close(make_summary())
    assert (stats.snapshot().calls, stats.snapshot().slow, stats.snapshot().windows) == (2, 1, 1)


def test_totals_are_exact_under_64_threads():
    """Nothing is lost or counted twice, whatever the interleaving; new fingerprints and the bound included."""
    stats = Stats(max_statements=20)
    statements = [make_statement(f"t{number}", "insert" if number % 2 else "select") for number in range(25)]
    start = threading.Barrier(64, timeout=60)

    def work(number):
        start.wait()
        for turn in range(500):
            operation = make_operation(
                statements[(number + turn) % 25], duration=0.25, rows=1, error_type="E" if turn % 5 == 0 else None
            )
            stats.add(operation, Verdict("slow", 1.0) if turn % 10 == 0 else None)
            if turn % 50 == 0:
                stats.close(make_summary(make_finding(count=2, impact=0.5)))
                stats.snapshot()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    snapshot = stats.snapshot()
    kinds = Counter("insert" if (number + turn) % 25 % 2 else "select" for number in range(64) for turn in range(500))
    errors = Counter("insert" if (n + t) % 25 % 2 else "select" for n in range(64) for t in range(0, 500, 5))
    assert snapshot.kinds == {kind: KindTotals(n, errors[kind], n / 4, 0.25) for kind, n in kinds.items()}
    assert (snapshot.calls, snapshot.failed, snapshot.slow, snapshot.db_time) == (32_000, 6_400, 3_200, 8_000.0)
    assert sum(totals.rows for totals in snapshot.statements) == 32_000
    assert len(snapshot.statements) == 21
    (merged,) = snapshot.findings
    assert (snapshot.windows, merged.windows, merged.count, merged.impact) == (640, 640, 1280, 320.0)


@given(st.lists(st.floats(1e-6, 3000.0), min_size=1, max_size=200))
def test_quantiles_of_a_statement_are_within_five_percent(durations):
    """The figures of the report against the sorted durations themselves."""
    stats = Stats()
    for duration in durations:
        stats.add(make_operation(duration=duration))
    (totals,) = stats.snapshot().statements
    ordered = sorted(durations)
    median, tail = ordered[-(-len(ordered) // 2) - 1], ordered[-(-len(ordered) * 19 // 20) - 1]
    assert (totals.p50, totals.p95) == (pytest.approx(median, rel=0.051), pytest.approx(tail, rel=0.051))
    assert (totals.count, totals.max) == (len(durations), max(durations))
