"""Every fault of the scenarios is found at warning or above, and nothing above info in what repeats rightly."""

import contextlib

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session

from dbsight.model import SEVERITIES
from integration.detect import shop
from integration.detect.conftest import Watch
from integration.detect.scenarios import faults_of_sql, faults_of_the_orm, right_loads, right_writes
from integration.detect.scenarios.catalogue import FAULTS, RIGHT

MODULES = (faults_of_sql, faults_of_the_orm, right_loads, right_writes)
WARNING = SEVERITIES.index("warning")
RULES = {"n_plus_one", "redundant_query", "row_by_row_write"}


def found_in(watch, scenario):
    """The rules that found something at warning or above."""
    if scenario.outside:

        def work():
            with Session(watch.engine) as session:
                scenario.work(session)

        findings = watch.outside(work)
    else:
        findings = watch(scenario.work)
    return {each.rule for each in findings if SEVERITIES.index(each.severity) >= WARNING and each.rule in RULES}


def named(scenarios):
    """Parameters of a test, by the names of the scenarios."""
    return [pytest.param(each, id=each.name) for each in scenarios]


@pytest.mark.parametrize("scenario", named(FAULTS))
def test_detects(watch, scenario):
    """The rule that the scenario names finds it at warning or above.

    On a machine that is busy with something else a few queries may take less than 0.5 % of their unit of work, which is
    told as info: then it runs again.
    """
    assert any(found_in(watch, scenario) & scenario.rules for _ in range(5))


@pytest.mark.parametrize("scenario", named(RIGHT))
def test_leaves_alone(watch, scenario):
    """No rule about repeated queries finds anything above info."""
    assert found_in(watch, scenario) == set()


def test_there_are_enough_scenarios():
    """Forty of each kind, and each module registered its own."""
    assert min(len(FAULTS), len(RIGHT)) >= 40
    assert {each.work.__module__ for each in FAULTS + RIGHT} == {module.__name__ for module in MODULES}


@pytest.fixture
def shops(postgresql, make_telemetry):
    """Makes a ``Watch`` over a shop on PostgreSQL that nobody used."""
    url = make_url(postgresql.url("postgresql+psycopg"))
    template = create_engine(url)
    shop.fill(template)
    template.dispose()
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    telemetry = make_telemetry()

    @contextlib.contextmanager
    def fresh():
        name = f"{url.database}_copy"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {url.database}"))
        engine = create_engine(url.set(database=name))
        try:
            yield Watch(engine, telemetry)
        finally:
            engine.dispose()
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))

    yield fresh
    admin.dispose()


def test_postgresql_gives_the_same(shops):
    """All scenarios that run there, each in a database of its own."""
    missed, flagged = [], []
    for scenario in FAULTS + RIGHT:
        if not scenario.portable:
            continue
        with shops() as watch:
            found = found_in(watch, scenario)
        if scenario in FAULTS and not found & scenario.rules:
            missed.append(scenario.name)
        if scenario in RIGHT and found:
            flagged.append((scenario.name, found))
    assert (missed, flagged) == ([], [])
