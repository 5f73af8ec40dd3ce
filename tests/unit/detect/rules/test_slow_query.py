"""The rule slow_query."""

import pytest

from builders import TRACE_ID, make_statement
from dbsight.config import Settings
from dbsight.detect.rules.slow_query import SlowQuery
from dbsight.model import Database, DjangoQuery, Finding
from unit.detect.loops import HERE, SHOP, make_window, one

REPORT = "SELECT sku, sum(pieces) FROM order_lines GROUP BY sku"


def visit(operation, window=None, **settings):
    """What the rule says about one operation."""
    return SlowQuery(Settings(**settings)).visit(operation, window)


def severity(operation, **settings):
    """The severity of what the rule says, None when it says nothing."""
    found = visit(operation, **settings)
    return found and found.severity


def test_a_slow_query_says_where_its_time_went():
    """Waiting for the connection, executing, fetching, and how many rows came."""
    operation = one(REPORT, duration=5.02, fetch_time=0.04, pool_wait=0.3, rows=7)
    found = visit(operation, make_window([], name="GET /report"))
    assert found == Finding(
        rule="slow_query",
        id=found.id,
        severity="error",
        category="query",
        title="SELECT order_lines is very slow",
        description="Waited 300 ms, executed 4.98 s, fetched 40.0 ms (limit 5 s); 7 rows returned.",
        suggestion="",
        impact=pytest.approx(4.02),
        effort="medium",
        count=1,
        metric="duration",
        current_value=5.02,
        threshold=5.0,
        statement=make_statement(REPORT),
        database=SHOP,
        call_site=HERE,
        trace=f"{TRACE_ID:032x}",
        route="GET /report",
        details={
            "wait": 0.3,
            "connect": 0.0,
            "execute": pytest.approx(4.98),
            "fetch": 0.04,
            "lock": 0.0,
            "rows": 7,
            "facts": "7 rows returned",
        },
    )
    assert found.id == visit(one(REPORT, duration=1.5, line=3)).id


def test_a_connection_that_was_made_for_it_is_told():
    """Its time is not part of the query's, as the time that was waited for a connection is not."""
    found = visit(one(REPORT, duration=2.0, connect_time=0.25))
    assert found.description == "Waited 0 s, connected 250 ms, executed 2.00 s, fetched 0 s (limit 1 s)."
    assert (found.details["connect"], found.current_value) == (0.25, 2.0)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0.999, None), (1.0, "warning"), (4.999, "warning"), (5.0, "error"), (60.0, "error")],
)
def test_the_limits_of_sql(duration, expected):
    """Slow from 1 s, very slow from 5 s."""
    assert severity(one(REPORT, duration=duration)) == expected


@pytest.mark.parametrize(
    ("system", "duration", "expected"),
    [
        ("redis", 0.049, None),
        ("redis", 0.05, "warning"),
        ("redis", 0.25, "error"),
        ("elasticsearch", 4.9, None),
        ("elasticsearch", 5.0, "warning"),
        ("elasticsearch", 10.0, "error"),
        ("postgresql", 0.06, None),
    ],
)
def test_every_system_has_its_limits(system, duration, expected):
    """Of Elasticsearch's ladder they are info and warn."""
    text = {"redis": "GET price", "elasticsearch": '{"query": {"match_all": {}}}'}.get(system, REPORT)
    assert severity(one(text, duration=duration, database=Database(system, "x"))) == expected


def test_limits_can_be_set():
    """By the environment, the file or a preset."""
    assert severity(one(REPORT, duration=0.3), slow_query_threshold=0.2) == "warning"
    assert severity(one(REPORT, duration=3.0), slow_query_threshold=4.0) is None
    assert severity(one(REPORT, duration=3.0), very_slow_query_threshold=3.0) == "error"


@pytest.mark.parametrize(
    "text", ["UPDATE order_lines SET pieces = ?", "INSERT INTO a SELECT b FROM c", "DELETE FROM a"]
)
def test_detects_slow_writes(text):
    """Writes are slow by the same limits, and say how many rows they wrote."""
    found = visit(one(text, duration=2.0, affected=10_000))
    assert found.description == "Waited 0 s, executed 2.00 s, fetched 0 s (limit 1 s); 10 000 rows written."


def test_detects_a_query_that_failed_slowly():
    """A timeout is slow as well."""
    found = visit(one(REPORT, duration=30.0, error_type="asyncpg.QueryCanceledError"))
    assert found.description.endswith("; failed with asyncpg.QueryCanceledError.")


@pytest.mark.parametrize("text", ["SELECT pg_sleep(10)", "LISTEN orders", "COPY t FROM STDIN", "SELECT 1", "SET x = 1"])
def test_leaves_alone_what_waits_by_design(text):
    """Sleeping, listening, pings and connection setup."""
    assert severity(one(text, duration=10.0, database=Database("postgresql", "shop"))) is None


@pytest.mark.parametrize("word", ["slow_query", "all"])
def test_leaves_alone_what_was_allowed(word):
    """By a with block or by a comment in the query."""
    assert severity(one(REPORT, duration=10.0, allowed=frozenset({word}))) is None
    assert severity(one(f"{REPORT} -- dbsight: allow {word}", duration=10.0)) is None
    assert severity(one(REPORT, duration=10.0, allowed=frozenset({"n_plus_one"}))) == "error"


def test_many_rows_that_took_their_time_to_fetch_suggest_fewer():
    """Where the time goes into rows, rows are to be saved."""
    assert "yield_per" in visit(one(REPORT, duration=3.0, fetch_time=2.5, rows=200_000)).suggestion
    assert visit(one(REPORT, duration=3.0, fetch_time=0.1, rows=200_000)).suggestion == ""


def test_what_is_streamed_already_is_not_told_to_stream():
    """Fewer rows or columns are what is left."""
    operation = one(REPORT, duration=3.0, fetch_time=2.5, rows=200_000)
    operation.streamed = True
    assert visit(operation).suggestion == ".limit(1000), or only the columns that are used"


@pytest.mark.parametrize(("streamed", "suggested"), [(False, ".iterator(chunk_size=1000)"), (True, ".only(…)")])
def test_a_query_of_django_is_told_in_words_of_django(streamed, suggested):
    """A queryset has no ``yield_per``."""
    operation = one(REPORT, duration=3.0, fetch_time=2.5, rows=200_000)
    operation.django, operation.streamed = DjangoQuery("Order"), streamed
    assert suggested in visit(operation).suggestion
    assert "yield_per" not in visit(operation).suggestion
    assert (".iterator" in visit(operation).suggestion) is not streamed


def test_a_query_outside_any_window_is_judged_too():
    """There is always a span to write on."""
    found = visit(one(REPORT, duration=3.0, context=None))
    assert (found.severity, found.trace, found.route) == ("warning", "", "")
