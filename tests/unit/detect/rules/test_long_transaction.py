"""The rule long_transaction: the code that it suggests is that of what opened the transaction."""

from typing import get_args

import pytest

from builders import NOW_NS
from dbsight.config import Settings
from dbsight.detect.rules.long_transaction import LongTransaction
from dbsight.model import OpenedBy, TransactionEvent
from unit.detect.loops import HERE, SHOP, make_window

IDIOMS = {
    "sqlalchemy": "session.begin()",
    "connection": "commit",
    "atomic": "transaction.atomic()",
    "ATOMIC_REQUESTS": "@transaction.non_atomic_requests",
}


def findings(opened_by, idle, **more):
    """Of one transaction of ten seconds."""
    window = make_window([], 10.0)
    event = {"idle": idle, "queries": 3, "writes": 1, "call_site": HERE, **more}
    window.events = [TransactionEvent(SHOP, "commit", NOW_NS, 10.0, opened_by=opened_by, **event)]
    return list(LongTransaction(Settings()).complete(window))


@pytest.mark.parametrize("opened_by", get_args(OpenedBy))
@pytest.mark.parametrize("idle", [9.0, 0.5])
def test_the_suggestion_is_in_the_words_of_what_opened_it(opened_by, idle):
    """One that is idle, and one that does much."""
    (found,) = findings(opened_by, idle)
    assert IDIOMS[opened_by] in found.suggestion
    assert not [each for name, each in IDIOMS.items() if name != opened_by and each in found.suggestion.split("#")[0]]
    assert found.call_site == HERE


def test_that_of_a_test_case_is_none():
    """It is rolled back in the end, and may take as long as the test."""
    assert findings("atomic", 9.0, allowed=frozenset({"long_transaction"})) == []
