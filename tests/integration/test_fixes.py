"""What a finding suggests is applied to the code that it was found in, and the finding goes away."""

import json

import pytest
from sqlalchemy import create_engine, event, orm, select
from sqlalchemy.orm import Session

import servers
from dbsight import statement
from dbsight.demo import models
from dbsight.demo.faults import FAULTS
from dbsight.demo.store import store_for

PASTED = {**vars(orm), **vars(models), "select": select}
"""The names that a suggestion may use: SQLAlchemy's and those of the application's models."""

N_PLUS_ONES = [(fault, one) for fault in FAULTS for one in fault.expected if one.rule == "n_plus_one"]


def named(value):
    """How a fault, or what is expected of it, is called in the name of a test."""
    return getattr(value, "relationship", None) or getattr(value, "name", "query")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request, tmp_path_factory):
    """An empty database of each system."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('shop') / 'shop.db'}"
        return
    with servers.fresh(request.getfixturevalue("postgresql_server")) as database:
        yield database.url("postgresql+psycopg")


@pytest.fixture(scope="module")
def engine(database_url):
    """The shop, filled once."""
    store_for(database_url)._prepare()
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def judged(telemetry, handler, session):
    """What a handler answers, and the N+1s on the root that it runs below, by place and relationship."""
    telemetry.clear()
    with session, telemetry.root():
        answer = json.dumps(handler(session))
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    found = {}
    for finding in (one.attributes for one in root.events_named("dbsight.finding")):
        key = finding["code.line.number"], finding.get("dbsight.orm.relationship")
        assert key not in found
        found[key] = finding["dbsight.finding.suggestion"]
    return answer, found


def applied(suggestion, engine):
    """A session in which the suggestion holds.

    The options of ``select(Order).options(…)`` are given to the handler's own queries for ``Order``, as one who pastes
    them would; a suggestion that makes a session makes this one.
    """
    suggested = eval(suggestion, {**PASTED, "engine": engine})
    if isinstance(suggested, Session):
        return suggested
    entity = suggested.column_descriptions[0]["entity"]
    session = Session(engine)

    def paste(state):
        own = state.is_select and not (state.is_relationship_load or state.is_column_load)
        if own and state.statement.column_descriptions[0].get("entity") is entity:
            state.statement = state.statement.options(*suggested._with_options)

    event.listen(session, "do_orm_execute", paste)
    return session


@pytest.mark.parametrize(("fault", "expected"), [pair for pair in N_PLUS_ONES if pair[1].relationship], ids=named)
def test_the_suggestion_makes_the_finding_go_away(engine, telemetry, fault, expected):
    """The answer stays the same, and so do the faults that the suggestion does not speak of, if any."""
    key = expected.line, expected.relationship
    answer, found = judged(telemetry, fault.handler, Session(engine))
    assert key in found
    fixed_answer, left = judged(telemetry, fault.handler, applied(found[key], engine))
    assert fixed_answer == answer
    assert key not in left
    assert left.keys() < found.keys()


@pytest.mark.parametrize(("fault", "expected"), [pair for pair in N_PLUS_ONES if not pair[1].relationship], ids=named)
def test_the_suggested_query_is_the_one_that_the_fixed_twin_sends(engine, telemetry, fault, expected):
    """A query by one key becomes one by all keys: the twin's, which is silent."""
    _, found = judged(telemetry, fault.handler, Session(engine))
    suggestion = found[expected.line, None]
    _, left = judged(telemetry, fault.fixed, Session(engine))
    assert left == {}
    sent = {span.attributes["dbsight.query.fingerprint"] for span in telemetry.spans() if span.kind == "CLIENT"}
    assert statement.read(suggestion.replace("…", "?"), engine.dialect.name).fingerprint in sent


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.expected[0].relationship], ids=named)
def test_all_suggestions_together_leave_nothing(engine, telemetry, fault):
    """Applied one after the other until nothing is found: no more of them than there were findings."""
    answer, left = judged(telemetry, fault.handler, Session(engine))
    steps = []
    while left and len(steps) < len(fault.expected):
        # The innermost first: its suggestion brings along what it hangs below.
        steps.append(max(left.values(), key=len))
        fixed_answer, left = judged(telemetry, fault.handler, applied(steps[-1], engine))
        assert fixed_answer == answer
    assert left == {}
