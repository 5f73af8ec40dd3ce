"""Rules that are skipped because of what the operations of a window look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbsight import safety
from dbsight.config import Settings
from dbsight.detect.rule import WindowRule
from dbsight.detect.runner import RuleRunner
from dbsight.model import Database
from dbsight.recording import OpenWindow
from unit.detect.loops import make_window, one
from unit.examples import examples

EASILY = Settings(
    text_smell_threshold=5,
    max_rows_threshold=5,
    memory_spike_rows_threshold=5,
    memory_spike_threshold=1,
    in_list_threshold=2,
    serial_writes_threshold=2,
    serial_writes_time_threshold=0.0,
    serial_awaits_threshold=0.01,
    blocked_loop_threshold=0.0,
    long_transaction_threshold=0.01,
    retry_storm_threshold=2,
    error_burst_threshold=2,
    redis_chatter_threshold=3,
)
TEXTS = (
    "SELECT * FROM orders",
    "SELECT id FROM orders WHERE id IN (1, 2, 3, 4)",
    "INSERT INTO orders VALUES (?)",
    "UPDATE stock SET pieces = 1 WHERE id = ?",
    "DELETE FROM log WHERE id = ?",
)
DATABASES = (Database("postgresql", "shop"), Database("redis", "0"), Database("elasticsearch", "1"))


@st.composite
def operations_(draw):
    """Up to 12 operations, each with some of what rules look for."""
    found = []
    for place in range(draw(st.integers(0, 12))):
        rows = draw(st.sampled_from((None, 0, 1, 9)))
        operation = one(
            draw(st.sampled_from(TEXTS)),
            at=place / 10,
            duration=draw(st.sampled_from((0.001, 0.09))),
            parameters=draw(st.none() | st.integers(0, 2)),
            database=draw(st.sampled_from(DATABASES)),
            error_type=draw(st.sampled_from((None, None, "psycopg.errors.DeadlockDetected"))),
            asynchronous=draw(st.booleans()),
            blocked_loop=draw(st.booleans()),
            rows=rows,
        )
        operation.streamed = draw(st.booleans())
        found.append(operation)
    return found


@examples(300)
@given(operations_())
def test_a_rule_that_is_skipped_would_have_found_nothing(operations):
    """Whatever the operations look like; most windows are left to a few rules."""
    runner = RuleRunner(EASILY)
    window = make_window(operations, 1.0, request=True)
    chosen = runner._rules_for(window)
    skipped = [rule for rule in runner.completers if rule not in chosen]
    assert not [finding for rule in skipped for finding in rule.complete(window)]


def test_a_healthy_window_is_left_to_few_rules():
    """Twenty reads of one row each, without an event."""
    runner = RuleRunner(Settings())
    operations = [one(f"SELECT t{n}.id FROM t{n} WHERE id = ?", at=n / 100, rows=1) for n in range(20)]
    assert {rule.name for rule in runner._rules_for(make_window(operations))} == {"text_smell", "fan_out"}
    failed = one("SELECT 1 FROM a", at=0.9, error_type="sqlite3.OperationalError")
    names = {rule.name for rule in runner._rules_for(make_window([*operations, failed]))}
    assert names == {"text_smell", "fan_out", "retry_storm", "error_burst"}


@pytest.mark.swallows_errors
def test_a_rule_that_cannot_tell_is_disabled_and_the_others_go_on():
    """As where ``complete`` raises."""

    class Broken(WindowRule):
        name, category = "broken", "query"

        def concerns(self, shape):
            raise ValueError(shape)

        def complete(self, window):
            return ()

    runner = RuleRunner(Settings())
    broken = Broken(Settings())
    runner.completers.append(broken)
    runner._choosy = (broken, *runner._choosy)
    window = make_window([one("SELECT 1 FROM a", error_type="sqlite3.OperationalError")])
    runner.complete(OpenWindow("GET /", 1, 2, 0), window)
    assert list(safety.errors()) == ["rule broken (disabled for this process)"]
    assert broken not in runner._rules_for(window)
    assert "error_burst" in {rule.name for rule in runner._rules_for(window)}
