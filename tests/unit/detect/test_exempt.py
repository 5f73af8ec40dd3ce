"""What repeats rightly, each next to its twin that does not."""

import threading

import pytest

from dbsight.model import CallSite, Database
from unit.detect.loops import HERE, LOADS_CUSTOMER, SELECT_CUSTOMER, judge, loop, one, severities

NEXT_PAGE = "SELECT id, name FROM orders WHERE id > ? ORDER BY id LIMIT ?"
INSERT = "INSERT INTO tags (name) VALUES (?)"
SELECT_TAG = "SELECT tags.id FROM tags WHERE tags.name = ?"


def rows(operations, *counts):
    """The operations with these numbers of returned rows; the last holds for the rest."""
    for number, operation in enumerate(operations):
        operation.rows = counts[min(number, len(counts) - 1)]
    return operations


# -- Pagination ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM orders ORDER BY id LIMIT ? OFFSET ?",
        "SELECT id FROM orders ORDER BY id LIMIT 50 OFFSET 100",
        NEXT_PAGE,
        "SELECT id FROM orders WHERE tenant = ? AND (placed, id) > (?, ?) ORDER BY placed, id LIMIT ?",
        "SELECT id FROM orders WHERE id < $1 ORDER BY id DESC LIMIT 50",
    ],
)
def test_leaves_alone_pages_that_are_full_but_for_the_last(text):
    """A listing read page by page, by offset or by a key that walks forward."""
    assert judge(rows(loop(9, text), *[50] * 8, 7)) == []
    assert judge(rows(loop(9, text), None)) == []


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("SELECT id FROM lines WHERE order_id = ? ORDER BY id LIMIT 3", [3]),  # the first three of each: no walking key
        ("SELECT id FROM lines WHERE order_id = ? ORDER BY id DESC LIMIT ? OFFSET ?", [1]),  # .first()
        ("SELECT id FROM lines WHERE order_id = ? LIMIT 20 OFFSET 0", [3, 20, 1, 4, 0, 2]),  # first page of many
        ("SELECT id FROM lines WHERE order_id = ? AND placed > ? LIMIT 20", [3, 20, 1, 4, 0, 2]),
        ("SELECT id FROM lines WHERE id > ? ORDER BY id LIMIT 1", [1]),  # one row at a time
    ],
)
def test_detects_limits_that_are_no_pages(text, counts):
    """LIMIT and OFFSET alone excuse nothing."""
    assert severities(rows(loop(9, text), *counts)) == ["warning"]


# -- Chunks -------------------------------------------------------------------------------------------------------
def in_list(length):
    """A query for ``length`` values."""
    return f"SELECT id FROM orders WHERE id IN ({', '.join('?' * length)})"


def test_leaves_alone_chunks_of_fifty_values():
    """What an IN list can hold at once, and the rest."""
    operations = [
        one(in_list(length), at=number / 100, parameters=number) for number, length in enumerate([50] * 7 + [3])
    ]
    assert judge(operations) == []


def test_detects_chunks_of_few_values():
    """Ten at a time is still ten times too often."""
    operations = [one(in_list(10), at=number / 100, parameters=number) for number in range(8)]
    assert severities(operations) == ["warning"]


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("SELECT id FROM orders WHERE id = ANY($1)", 50, []),
        ("SELECT id FROM orders WHERE id = ANY($1)", 5, ["warning"]),
        ("SELECT id FROM orders WHERE id BETWEEN ? AND ?", 500, []),
        ("SELECT id FROM orders WHERE id BETWEEN ? AND ?", 5, ["warning"]),
        ("SELECT id FROM lines WHERE order_id = ? AND id >= ? AND id < ?", 500, ["warning"]),
        ("SELECT id FROM lines WHERE order_id = ?", 500, ["warning"]),
    ],
)
def test_arrays_and_ranges_are_chunks_when_they_give_many_rows(text, count, expected):
    """Their length cannot be seen, what they return can."""
    assert severities(rows(loop(8, text), count)) == expected


# -- Polling ------------------------------------------------------------------------------------------------------
POLL = "SELECT id FROM jobs WHERE run_at <= ? AND state = ?"


@pytest.mark.parametrize(
    ("every", "request_", "expected"),
    [
        (0.1, False, []),  # ten times a second, in a thread that serves no request
        (0.1, True, ["warning"]),
        (0.3, True, []),
        (0.01, False, ["warning"]),
    ],
)
def test_polling_is_a_moving_bound_at_a_steady_pace(every, request_, expected):
    """Waiting in between, always as long."""
    assert severities(loop(12, POLL, every=every), 5.0, request=request_) == expected


def test_a_poll_may_be_late_on_a_busy_machine():
    """One pause of eleven ended late; that half of them end early is no pace."""
    late = loop(12, POLL, every=0.1)
    for operation in late[5:]:
        operation.start_ns += 400_000_000
        operation.end_ns += 400_000_000
    assert judge(late, 5.0, request=False) == []
    early = loop(12, POLL, every=0.1)
    for operation in early[::3]:
        operation.start_ns += 60_000_000
        operation.end_ns += 60_000_000
    assert severities(early, 5.0, request=False) == ["warning"]


def test_detects_a_loop_over_items_however_evenly_it_runs():
    """Equality asks for an item; a script that does something slow for each is no poll."""
    assert severities(loop(12, every=0.1), 5.0, request=False) == ["warning"]


def test_detects_a_moving_bound_without_a_pace():
    """Nine reports for nine days, as fast as they come."""
    starts = (0, 0.1, 0.13, 0.5, 0.52, 0.9, 1.7, 1.72, 1.9)
    operations = [one(POLL, at=at, duration=0.003, parameters=number) for number, at in enumerate(starts)]
    assert severities(operations, 2.0, request=False) == ["warning"]


# -- After an INSERT ----------------------------------------------------------------------------------------------
def test_leaves_alone_the_refresh_of_each_inserted_row():
    """Add, commit, refresh: the database made some of the values."""
    operations = []
    for number in range(10):
        operations += [
            one(INSERT, at=number / 10, parameters=number, affected=1),
            one(
                "SELECT tags.id, tags.made FROM tags WHERE tags.id = ?",
                at=number / 10 + 0.01,
                parameters=number,
                rows=1,
            ),
        ]
    assert judge(operations) == []


def test_leaves_alone_what_the_database_made_for_inserted_rows():
    """MySQL cannot return it with the INSERT: one flush, and then a SELECT for each row."""
    made = loop(10, "SELECT made FROM tags WHERE id = ?", at=0.1, relationship="Tag", load="generated", rows=1)
    inserts = loop(10, INSERT, affected=1)
    update = one("UPDATE tags SET name = ?", at=0.09, batch_size=10, parameters=None)
    assert judge([*inserts, *made]) == []
    assert judge([one(INSERT, batch_size=10, parameters=None), *made]) == []
    assert severities(made) == ["warning"]
    assert severities([*inserts[:8], *made]) == ["warning"]
    assert severities([*inserts, update, *made]) == ["warning"]


def test_detects_a_refresh_of_all_after_one_insert_of_all():
    """A commit expired everything, and then each row is read again."""
    operations = [one(INSERT, at=0.0, parameters=None, batch_size=10), *loop(10, SELECT_TAG, at=0.1, rows=1)]
    assert severities(operations) == ["warning"]


def test_detects_a_lookup_beside_inserts_into_another_table():
    """The loop writes what it found somewhere else."""
    operations = []
    for number in range(10):
        operations += [
            one(SELECT_TAG, at=number / 10, parameters=number, rows=1),
            one("INSERT INTO posts (tag) VALUES (?)", at=number / 10 + 0.01, parameters=number, affected=1),
        ]
    assert severities(operations) == ["warning"]


def test_detects_copies_row_by_row():
    """The row was there, and is inserted again: that is neither refresh nor get-or-create."""
    operations = []
    for number in range(10):
        operations += [
            one(SELECT_TAG, at=number / 10, parameters=number, rows=1),
            one(INSERT, at=number / 10 + 0.01, parameters=number, affected=1),
        ]
    assert severities(operations) == ["warning"]


@pytest.mark.parametrize(("missed", "expected"), [(10, []), (3, []), (2, ["warning"]), (0, ["warning"])])
def test_get_or_create_is_told_by_what_was_missed_and_inserted(missed, expected):
    """A quarter of misses is enough: the more it has run, the more it finds."""
    operations = []
    for number in range(10):
        operations.append(one(SELECT_TAG, at=number / 10, parameters=number, rows=int(number >= missed)))
        if number < missed:
            operations.append(one(INSERT, at=number / 10 + 0.01, parameters=number, affected=1))
    assert severities(operations) == expected


def test_get_or_create_may_insert_everything_at_the_end():
    """Without autoflush the unit of work inserts all rows at once."""
    operations = [*loop(10, SELECT_TAG, rows=0), one(INSERT, at=0.9, parameters=None, batch_size=10)]
    assert judge(operations) == []


# -- Retries ------------------------------------------------------------------------------------------------------
def test_leaves_alone_retries_after_an_error():
    """The same parameters again, until it works; or another wave after a deadlock."""
    failed = loop(5, parameters=1, error_type="sqlite3.OperationalError")
    assert judge([*failed, *loop(1, at=0.5)]) == []


def test_detects_a_loop_in_which_some_fail():
    """What succeeded is the loop."""
    operations = loop(12)
    for operation in operations[:4]:
        operation.error_type = "sqlite3.OperationalError"
    assert [found.count for found in judge(operations)] == [8]


# -- Queue workers ------------------------------------------------------------------------------------------------
CLAIMS = {
    "marked": ("SELECT id FROM jobs WHERE state = ? ORDER BY id LIMIT 1", "UPDATE jobs SET state = ? WHERE id = ?", 7),
    "due": ("SELECT id FROM jobs WHERE run_at <= ? ORDER BY id LIMIT ?", "DELETE FROM jobs WHERE id = ?", None),
    "locked": ("SELECT id FROM jobs WHERE shard = ? FOR UPDATE SKIP LOCKED", "SELECT 1", None),
    "returned": (
        "UPDATE jobs SET state = ? WHERE id = (SELECT id FROM jobs WHERE state = ? LIMIT 1) RETURNING id",
        "SELECT 1",
        7,
    ),
}


def work(claim, mark, same, *, jobs=12, users=1):
    """A worker that takes one job after the other, and looks up ``users`` users for each."""
    operations = []
    for number in range(jobs):
        at = number / 10
        operations += [
            one(claim, at=at, parameters=same or number, rows=1, call_site=CallSite("worker.py", 5, "take")),
            one(mark, at=at + 0.01, parameters=number, affected=1, call_site=CallSite("worker.py", 6, "take")),
            *loop(users, SELECT_CUSTOMER, at=at + 0.02, every=0.005, first=number * 100),
        ]
    return operations


@pytest.mark.parametrize("claim", CLAIMS)
def test_leaves_alone_what_a_queue_worker_does_for_each_job(claim):
    """Jobs come one after the other; what is done for different ones is no loop."""
    assert judge(work(*CLAIMS[claim]), 2.0, request=False) == []


@pytest.mark.parametrize("claim", CLAIMS)
def test_detects_a_loop_within_one_job(claim):
    """Six look-ups for one job are a loop, in each of the jobs."""
    assert [found.count for found in judge(work(*CLAIMS[claim], users=6), 2.0, request=False)] == [72]


def test_detects_a_loop_that_reads_and_then_writes_each_row():
    """An id asked for by equality is no claim, even with LIMIT: that is how ``.first()`` reads."""
    operations = []
    for number in range(10):
        operations += [
            one("SELECT id FROM accounts WHERE id = ? LIMIT 1", at=number / 10, parameters=number, rows=1),
            one("UPDATE accounts SET balance = ? WHERE id = ?", at=number / 10 + 0.01, parameters=number, affected=1),
        ]
    assert severities(operations) == ["warning"]


# -- What is not the application's reading ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "BEGIN IMMEDIATE",
        "SAVEPOINT a",
        "COMMIT",
        "PRAGMA table_info(orders)",
        "SET search_path = shop",
        "SHOW TABLES",
        "SELECT name FROM sqlite_master WHERE name = ?",
        "SELECT * FROM pg_catalog.pg_class WHERE relname = ?",
        "SELECT * FROM information_schema.columns WHERE table_name = ?",
        "INSERT INTO orders (id) VALUES (?)",
        "UPDATE orders SET total = ? WHERE id = ?",
        "DELETE FROM orders WHERE id = ?",
        "CREATE TABLE a (id INTEGER)",
    ],
)
def test_leaves_alone_whatever_reads_no_table_of_the_application(text):
    """Pings, setup, transactions, catalogues, waiting, writes and definitions."""
    assert judge(loop(50, text)) == []


def test_leaves_alone_statements_that_wait_by_design():
    """The database sleeps because it was told to."""
    assert judge(loop(50, "SELECT pg_sleep($1)", database=Database("postgresql", "shop"))) == []


def test_detects_a_data_migration_that_reads_row_by_row():
    """Only what a migration tool does with its own table is left alone."""
    version = "SELECT version_num FROM alembic_version WHERE version_num = ?"
    operations = [one(version, at=0.0), *loop(20, at=0.1, call_site=CallSite("shop/migrations/7.py", 5, "upgrade"))]
    assert severities(operations) == ["warning"]
    assert judge(loop(20, version)) == []


# -- Libraries and caches -----------------------------------------------------------------------------------------
SCHEDULER = CallSite("/venv/lib/python3.12/site-packages/scheduler/jobs.py", 7, "_process_jobs")


def test_leaves_alone_what_the_thread_of_a_library_does():
    """No line of the application is in its stack, and it serves no request."""
    operations = loop(20, call_site=SCHEDULER, thread=7)
    assert judge(operations, request=False) == []
    assert severities(operations) == ["warning"]
    main = threading.main_thread().ident
    assert severities(loop(20, call_site=SCHEDULER, thread=main), request=False) == ["warning"]
    assert judge(loop(20, call_site=SCHEDULER, thread=main, every=0.1), 5.0, request=False) == []


def test_leaves_alone_what_a_cache_answers_for_a_database():
    """No query comes back from a network in 20 µs; in process it may."""
    server = Database("postgresql", "shop", "db.example", 5432)
    assert judge(loop(20, duration=0.00002, database=server, foreign=True)) == []
    assert severities(loop(20, duration=0.00002)) == ["warning"]
    assert severities(loop(20, duration=0.00005, database=server)) == ["warning"]


def test_leaves_alone_a_lazy_loop_for_none_of_the_reasons_of_queries():
    """A relationship is loaded per parent, whatever its rows and inserts look like."""
    operations = []
    for number in range(10):
        operations += [
            one(SELECT_CUSTOMER, at=number / 10, parameters=number, call_site=HERE, **LOADS_CUSTOMER),
            one("INSERT INTO customers (id) VALUES (?)", at=number / 10 + 0.01, parameters=number, affected=1),
        ]
    assert severities(operations) == ["warning"]
