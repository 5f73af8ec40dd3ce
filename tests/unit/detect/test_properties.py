"""What holds for n_plus_one whatever a window did."""

from hypothesis import given
from hypothesis import strategies as st

from builders import NOW_NS
from dbsight.detect.rewriting import all_at_once
from dbsight.model import SEVERITIES, CallSite, Database
from unit.detect.loops import LOADS_CUSTOMER, LOADS_LINES, SELECT_CUSTOMER, SELECT_LINES, judge, loop, one
from unit.examples import examples

TEXTS = (
    SELECT_CUSTOMER,
    SELECT_LINES,
    "SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT ?",
    "SELECT id FROM orders WHERE id IN (?, ?, ?)",
    "SELECT id FROM jobs WHERE state = ? LIMIT 1",
    "SELECT name FROM customers",
    "SELECT 1",
    "SELECT version_num FROM alembic_version",
    "INSERT INTO customers (name) VALUES (?)",
    "UPDATE jobs SET state = ? WHERE id = ?",
    "BEGIN",
    "",
    "SELECT (((",
)
DATABASES = (Database("sqlite", "a.db"), Database("sqlite", "b.db"), Database("redis", "0"))
SITES = (
    None,
    CallSite("shop.py", 10, "show"),
    CallSite("shop.py", 20, "show"),
    CallSite("db.py", 5, "find", CallSite("shop.py", 30, "show")),
    CallSite("migrations/1.py", 5, "upgrade"),
)
LOADS = (
    {},
    LOADS_CUSTOMER,
    {**LOADS_LINES, "load": "eager"},
    {"relationship": "Order", "load": "expired"},
    {"relationship": "Order.note", "load": "deferred"},
    {"relationship": "Card.digits", "load": "inherited", "entity": "Payment"},
)


@st.composite
def operations_(draw):
    """Up to 60 operations of all kinds, no two of which begin at the same time."""
    starts = draw(st.lists(st.integers(0, 30_000), max_size=60, unique=True))
    return [
        one(
            draw(st.sampled_from(TEXTS)),
            at=start / 1000,
            duration=draw(st.sampled_from((0.0, 0.000_003, 0.002, 0.2))),
            parameters=draw(st.none() | st.integers(0, 30)),
            database=draw(st.sampled_from(DATABASES)),
            call_site=draw(st.sampled_from(SITES)),
            affected=draw(st.none() | st.integers(0, 2)),
            error_type=draw(st.sampled_from((None, None, None, "sqlite3.OperationalError"))),
            thread=draw(st.integers(0, 2)),
            foreign=draw(st.booleans()),
            **{**draw(st.sampled_from(LOADS)), "rows": draw(st.none() | st.integers(0, 60))},
        )
        for start in starts
    ]


@examples(150)
@given(operations_(), st.floats(0, 100), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_in_which_operations_were_reported_does_not_matter(operations, duration, request_, random):
    """Threads and tasks report when they are done; the findings are the same."""
    shuffled = random.sample(operations, len(operations))
    assert judge(shuffled, duration, request=request_) == judge(operations, duration, request=request_)


@examples(150)
@given(operations_(), st.floats(0, 100))
def test_every_finding_is_whole(operations, duration):
    """Ids are unique in a window, numbers are possible, and the most time saved comes first."""
    found = judge(operations, duration)
    assert len({finding.id for finding in found}) == len(found)
    assert [finding.impact for finding in found] == sorted((finding.impact for finding in found), reverse=True)
    ends, starts = [each.end_ns for each in operations], [each.start_ns for each in operations]
    wall = (max(ends, default=0) - min(starts, default=0)) / 1e9
    for finding in found:
        assert finding.severity in SEVERITIES
        assert 2 <= finding.count <= len(operations)
        assert 0 <= finding.impact <= wall
        assert finding.details["duration"] <= sum(each.duration for each in operations) + 1e-9
        assert finding.title
        assert finding.description


@examples(60)
@given(st.integers(5, 40), operations_())
def test_nothing_that_runs_in_between_hides_a_lazy_loop(count, noise):
    """Whatever else happens in the window, a loop of lazy loads is found with its number; jobs would part it."""
    beside = [each for each in noise if each.relationship is None and "jobs" not in each.statement.targets]
    loops = loop(count, every=0.3, database=Database("postgresql", "shop"), **LOADS_CUSTOMER)
    counts = [found.count for found in judge([*loops, *beside], 30.0) if found.relationship == "Order.customer"]
    assert counts == [count]


@examples(60)
@given(st.integers(0, 60), st.sampled_from(TEXTS), st.sampled_from(SITES))
def test_the_same_question_again_is_never_an_n_plus_one(count, text, site):
    """The same parameters every time are redundant, a poll or a retry."""
    assert judge(loop(count, text, parameters=7, call_site=site), 30.0) == []


@examples(60)
@given(st.integers(1, 60), st.permutations(range(4)))
def test_ids_depend_on_the_place_alone(count, order):
    """The same fault has the same id however often it runs, whenever, and beside what."""
    parts = [
        loop(count + 1, SELECT_CUSTOMER, **LOADS_CUSTOMER),
        loop(6, SELECT_LINES, at=3.0, **LOADS_LINES),
        loop(6, "SELECT name FROM a WHERE id = ?", at=6.0),
        loop(6, "SELECT name FROM b WHERE id = ?", at=9.0),
    ]
    alone = {judge(part)[0].id for part in parts}
    together = {finding.id for finding in judge([each for number in order for each in parts[number]])}
    assert together == alone
    assert all(each.start_ns >= NOW_NS for part in parts for each in part)


@examples(300)
@given(
    st.lists(
        st.sampled_from(
            (
                "SELECT ",
                "FROM t ",
                " WHERE ",
                "id = ? ",
                "(",
                ")",
                "count(*) ",
                "EXISTS ",
                ", ",
                "a.b",
                " LIMIT ? ",
                '"',
                "x" * 50,
            )
        ),
        max_size=40,
    ).map("".join)
)
def test_any_text_has_a_rewritten_form_or_none(text):
    """Advice never raises, and stays short."""
    rewritten = all_at_once(text)
    assert len(rewritten) <= 500
    assert not rewritten or "IN (…)" in rewritten
