"""What is loaded and not read, on SQLite and PostgreSQL: each fault is found, and its fix is silent."""

import asyncio
import contextlib

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, attributes, joinedload, loading

import dbsight
import servers
from dbsight.config import Settings
from dbsight.instrument import loads
from integration.detect.loads_shop import CACHE, CASES, LEFT_ALONE, PACKAGES, Package, Release, fill, mine

RULES = ("unused_eager_load", "over_fetch", "client_side_filter")
named = {"ids": lambda each: getattr(each, "name", None) or each.__name__}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request, tmp_path_factory):
    """A filled database."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('packages')}/packages.db"
        else:
            server = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(servers.fresh(server)).url("postgresql+psycopg")
        made = sa.create_engine(url)
        stack.callback(made.dispose)
        fill(made)
        yield made


@pytest.fixture
def found(make_telemetry):
    """Runs work in a request, with a session of an engine; what the three rules found."""
    telemetry = make_telemetry(settings=Settings(rules=RULES, watch_reads=True, process_metrics=False))

    def run(work, engine):
        telemetry.processor.analyzer.reset()
        with telemetry.root("GET /packages"), Session(engine) as session:
            work(session)
        return [each.finding for each in telemetry.processor.analyzer.snapshot().findings]

    run.telemetry = telemetry
    yield run
    CACHE.clear()
    assert loads._askers
    assert dbsight.safety.errors() == {}


@pytest.mark.parametrize("case", CASES, **named)
def test_a_fault_is_found_and_its_suggestion_makes_it_go_away(found, engine, case):
    """Rule, place and suggestion; the impact is a part of what the request spent in the database."""
    (finding,) = [each for each in found(case.fault, engine) if each.rule == case.rule]
    assert finding.suggestion.startswith(case.suggestion)
    assert case.name in finding.call_site.function
    assert finding.severity == "info"
    assert finding.priority == "low"
    assert finding.runbook.endswith(f"#{case.rule}")
    assert 0 < finding.impact < 1
    assert [each.rule for each in found(case.fixed, engine) if each.rule == case.rule] == []


@pytest.mark.parametrize("work", LEFT_ALONE, **named)
def test_what_is_read_or_may_be_read_is_left_alone(found, engine, work):
    """Nothing of the three rules."""
    assert [(each.rule, each.description) for each in found(work, engine)] == []


def test_a_session_of_an_event_loop_is_watched_as_well(found, engine):
    """On aiosqlite and asyncpg."""
    driver = "postgresql+asyncpg" if engine.dialect.name == "postgresql" else "sqlite+aiosqlite"

    async def handle(session):
        await session.run_sync(mine)
        packages = await session.scalars(sa.select(Package).options(joinedload(Package.releases)))
        return [package.name for package in packages.unique()]

    async def work():
        made = create_async_engine(engine.url.set(drivername=driver))
        with found.telemetry.root("GET /packages"):
            async with AsyncSession(made) as session:
                assert len(await handle(session)) == PACKAGES
        await made.dispose()

    asyncio.run(work())
    rules = [each.finding.rule for each in found.telemetry.processor.analyzer.snapshot().findings]
    assert sorted(set(rules) - {"over_fetch"}) == ["client_side_filter", "unused_eager_load"]


def test_no_object_is_kept_alive_and_nothing_is_left_of_a_window(found, engine):
    """Objects die when the application lets go of them, and what was noted with the window."""
    with found.telemetry.root("GET /packages"), Session(engine) as session:
        releases = session.execute(sa.select(Release)).scalars().all()
        window = dbsight.scope.window.get()
        (query,) = window.loads.queries.values()
        watched = [reference for load in query.loads.values() for reference, _ in load.watched]
        assert sum(reference() is not None for reference in watched) == len(releases) == 2 * PACKAGES
        assert all(each.version for each in releases)
        del releases
        assert not any(reference() for reference in watched)
    assert window.loads is None


def test_the_objects_of_a_window_are_bounded(found, engine, monkeypatch):
    """Those beyond are loaded, read, and not watched."""
    monkeypatch.setattr(loads, "MAX_OBJECTS", 100)
    (finding,) = found(mine, engine)
    assert finding.current_value == 100


def test_parallel_tasks_of_one_request_share_its_window(found, engine):
    """What one task loads and another reads is read."""

    async def load(session):
        return (await session.scalars(sa.select(Package).options(joinedload(Package.releases)))).unique().all()

    async def work():
        driver = "postgresql+asyncpg" if engine.dialect.name == "postgresql" else "sqlite+aiosqlite"
        made = create_async_engine(engine.url.set(drivername=driver))
        async with AsyncSession(made) as one, AsyncSession(made) as other:
            with found.telemetry.root("GET /packages"):
                packages, _ = await asyncio.gather(load(one), load(other))
                assert [release.version for package in packages for release in package.releases]
                del packages, _
        await made.dispose()

    asyncio.run(work())
    rules = [each.finding.rule for each in found.telemetry.processor.analyzer.snapshot().findings]
    assert "unused_eager_load" not in rules


def test_nothing_is_installed_unless_it_is_asked_for(make_telemetry):
    """The methods are SQLAlchemy's own; with the setting they look the same, and are put back."""
    methods = [(attributes.InstrumentedAttribute, "__get__"), (attributes.InstrumentedAttribute, "__set__")]
    methods += [(loading, "instances"), (Session, "merge"), (Session, "delete")]
    originals = [vars(owner)[name] for owner, name in methods]
    telemetry = make_telemetry()
    assert [vars(owner)[name] for owner, name in methods] == originals
    telemetry.processor.analyzer.use(Settings(watch_reads=True))
    assert not {id(vars(owner)[name]) for owner, name in methods} & {id(each) for each in originals}
    telemetry.processor.analyzer.use(Settings(watch_reads=True, rules=("all", *[f"-{rule}" for rule in RULES])))
    assert [vars(owner)[name] for owner, name in methods] == originals


def test_a_finding_is_not_made_where_it_is_allowed(found, engine):
    """By ``allow()`` around the query."""

    def allowed(session):
        with dbsight.allow("client_side_filter", reason="the table is small"):
            mine(session)

    assert found(allowed, engine) == []


def test_the_same_fault_has_the_same_id_and_the_impact_is_what_the_fix_saves(found, engine):
    """Across requests; the share of the query's time that went into rows nobody needed."""
    first, second = found(mine, engine), found(mine, engine)
    assert [each.id for each in first] == [each.id for each in second]
    (finding,) = first
    assert finding.count == 1
    assert (finding.current_value, finding.threshold) == (PACKAGES, 100)


def test_objects_that_a_session_had_before_are_not_loaded_again(found, engine):
    """A session that outlives requests: what is read of objects of an earlier one is not seen in this one."""
    statement = sa.select(Package).options(joinedload(Package.releases)).order_by(Package.id)
    with Session(engine) as session:
        with found.telemetry.root("GET /first"):
            kept = session.execute(statement.limit(50)).unique().scalars().all()
        with found.telemetry.root("GET /second"):
            names = [package.name for package in session.execute(statement).unique().scalars().all()]
            versions = [release.version for package in kept for release in package.releases]
    assert (len(names), len(versions)) == (PACKAGES, 100)
    assert found.telemetry.processor.analyzer.snapshot().findings == []
