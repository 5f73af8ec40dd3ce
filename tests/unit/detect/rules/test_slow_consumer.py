"""The rule slow_consumer on windows made by hand.

Exports that upload between the rows of an iterator are reported in readthedocs/ethical-ad-server 502 and
django-import-export 44, where the way out is an iterator; how long it stays open is our own question.
"""

import pytest

from builders import NOW_NS
from dbsight.config import Settings
from dbsight.detect.rules.slow_consumer import SlowConsumer
from unit.detect.loops import make_window, one


def stream(whole, duration=0.2, *, streamed=True, **fields):
    """One stream that was open for so long."""
    operation = one("SELECT id FROM lines", duration=duration, end_ns=NOW_NS + int(whole * 1e9), **fields)
    operation.streamed = streamed
    return operation


def judge(*operations, **settings):
    """What the rule finds."""
    return list(SlowConsumer(Settings(**settings)).complete(make_window(operations)))


@pytest.mark.parametrize(
    ("operation", "severity"),
    [
        (stream(5.3), "warning"),
        (stream(5.3, rows=9), "warning"),
        (stream(20, 8), "warning"),
        (stream(31), "error"),
        (stream(5.21, 0.0), "warning"),
    ],
)
def test_detects_an_application_that_takes_its_time_between_rows(operation, severity):
    """From the limit of transactions on; six times of it is an error."""
    (found,) = judge(operation)
    assert found.severity == severity


@pytest.mark.parametrize(
    "operation",
    [
        stream(5.1),
        stream(30, 16),
        stream(60, streamed=False),
        stream(60, allowed=frozenset({"slow_consumer"})),
        stream(0.2),
    ],
    ids=["at the limit", "the database's time", "not streamed", "allowed", "at once"],
)
def test_leaves_alone_what_is_short_or_the_databases(operation):
    """Or was not a stream."""
    assert judge(operation) == []


def test_the_limit_can_be_set():
    """It is that of long transactions."""
    assert judge(stream(3), long_transaction_threshold=2.0)
