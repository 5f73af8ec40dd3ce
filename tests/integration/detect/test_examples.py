"""The examples in the rules' own documentation do what they say."""

import inspect
import textwrap

import pytest
import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.orm import Session

from dbsight.config import Settings
from dbsight.detect.rules.n_plus_one import NPlusOne
from dbsight.detect.rules.redundant_query import RedundantQuery
from dbsight.detect.rules.row_by_row_write import RowByRowWrite
from dbsight.detect.rules.slow_query import SlowQuery
from integration.detect import shop

NAMES = {
    name: value
    for module in (sqlalchemy, orm, shop)
    for name, value in vars(module).items()
    if not name.startswith("_")
}


def example(rule, heading):
    """The code under a heading of a rule's docstring."""
    _, _, rest = inspect.getdoc(rule).partition(f"{heading}:\n")
    return compile(textwrap.dedent(rest.partition("\n\n")[0]), f"{rule.name}.{heading}", "exec")


@pytest.fixture
def telemetry(rule, engine, make_telemetry):
    """A shop, for slow queries with enough orders to be slow, by a limit of 10 ms."""
    orders = 20_000 if rule is SlowQuery else 20
    with Session(engine) as session:
        number = sqlalchemy.func.count(shop.Order.id)
        wide = [{"customer_id": 1, "note": "x" * 1000, "status": "sent"}] * orders
        session.execute(sqlalchemy.insert(shop.Order), wide)
        session.execute(sqlalchemy.update(shop.Order).where(shop.Order.id % 1000 == 0).values(status="late"))
        session.commit()
        assert session.scalar(sqlalchemy.select(number)) > orders
    return make_telemetry(settings=Settings(slow_query_threshold=0.01, very_slow_query_threshold=60.0))


@pytest.mark.parametrize("rule", [NPlusOne, RedundantQuery, RowByRowWrite, SlowQuery], ids=lambda rule: rule.name)
def test_the_anti_pattern_is_found_and_the_best_practice_is_not(rule, telemetry, engine, capsys):
    """Both run on a real database, word for word."""

    def findings(heading):
        telemetry.clear()
        with telemetry.root(), Session(engine) as session:
            exec(example(rule, heading), {**NAMES, "session": session})
        return telemetry.span("GET /").attributes.get("dbsight.findings.rules", [])

    assert rule.name in findings("Anti-pattern")
    assert rule.name not in findings("Best practice")
