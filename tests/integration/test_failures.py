"""A failure in anything of ours never reaches the application: its results, its exceptions and its spans are the same.

Every function that watches, judges, measures or reports is made to raise, one after the other, while an application
does a bit of everything. What is left out are the outermost hooks, each of which is a guard and nothing else: they are
listed, with what they call.
"""

import contextlib
import functools
import importlib
import inspect
import pkgutil
import sqlite3
import sys
from collections import Counter

import pytest
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind
from sqlalchemy import create_engine, func, insert, select, text, update
from sqlalchemy.orm import Session, selectinload

import dbsight
from dbsight import config, distro, safety
from dbsight.recording import Sweeper
from dbsight.span.window_sampler import WindowSampler
from saboteur import SabotageError
from shop import Author, Book, fill
from telemetry import Telemetry

MARKER = "Marker-in-a-message"

WATCHED = (
    "recording",
    "span",
    "analyzer",
    "processor",
    "detect",
    "monitor.stats",
    "monitor.quantiles",
    "monitor.statement_record",
    "report.events",
    "span.rebuild",
    "report.metrics",
    "report.preaggregation",
    "instrument.sqlalchemy",
    "instrument.sqlalchemy_call",
    "instrument.orm",
    "instrument.results",
    "instrument.callsite",
    "instrument.dialects",
    "instrument.external_spans",
    "statement.cache",
    "statement.reader",
    "statement.parameters",
)
"""Modules and packages whose functions run on behalf of the application; what reads a text is called by the reader."""

PRINTING = ("exit_report", "report.terminal", "report.layout", "formatting")
"""Modules whose functions run when the process ends."""

GUARDS = {
    # What SQLAlchemy calls: each catches what the functions that it calls raise. What they do first is to lift the
    # suppression that lies on the driver call; then all else follows.
    "instrument.sqlalchemy_call": {
        *("SetUp.returned", "StatementCall.returned", "StatementCall.raised", "StatementCall._left_driver"),
    },
    "instrument.results": {
        *(
            "TimedFetchStrategy.fetchone",
            "TimedFetchStrategy.fetchmany",
            "TimedFetchStrategy.fetchall",
            "TimedFetchStrategy._fetch",
        ),
        *("TimedFetchStrategy.soft_close", "TimedFetchStrategy.hard_close"),
        *("TimedFetchStrategy.handle_exception", "TimedFetchStrategy.yield_per"),
        *("_CursorStrategy.fetchone", "_CursorStrategy.fetchall"),
    },
    # What the SDK calls: each hands on to the application's processors and sampler whatever becomes of ours.
    "processor": {
        *("DbsightSpanProcessor.on_start", "DbsightSpanProcessor._on_ending", "DbsightSpanProcessor.on_end"),
        *("DbsightSpanProcessor.shutdown", "DbsightSpanProcessor.force_flush"),
    },
    "span.window_sampler": {"WindowSampler.should_sample"},
    # What the hooks call without a guard of their own.
    "recording.consumers": {"publish", "publish_all", "root_ending", "_all"},
    "statement.cache": {"read"},
    "analyzer": {"Analyzer.finish"},
    "report.metrics": {"Metrics.flush"},
}
"""The outermost hooks, and what promises by itself never to raise; functions under ``@guard`` are known by that."""


class OnlySome(Sampler):
    """Drops the spans that are named so."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        """By name."""
        decision = Decision.DROP if "unsampled" in name else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision, attributes)

    def get_description(self):
        """For humans."""
        return "OnlySome"


def application(engine, telemetry):
    """A bit of everything; returns what it saw, the exceptions that it caught among it."""
    seen = []

    def failing(call):
        try:
            seen.append(call())
        except Exception as error:
            seen.append((type(error), str(error)))

    tracer = telemetry.tracer_provider.get_tracer("application")  # after the sampler was wrapped
    with tracer.start_as_current_span("GET /books", kind=SpanKind.SERVER), Session(engine) as session:
        seen += [(book.title, book.author.name, book.author.biography) for book in session.scalars(select(Book))]
        seen += [len(author.books) for author in session.scalars(select(Author).options(selectinload(Author.books)))]
        with tracer.start_as_current_span("below"):
            session.add_all([Author(name=f"new {number}") for number in range(3)])
            session.flush()
            seen.append(session.scalar(select(func.count()).select_from(Author)))
        session.rollback()
    with tracer.start_as_current_span("unsampled"), engine.connect() as connection:
        with connection.begin():
            connection.execute(insert(Author), [{"id": 100 + number, "name": "x"} for number in range(3)])
            connection.execute(update(Author).where(Author.id >= 100).values(name="y"))
            with connection.begin_nested():
                seen.append(connection.execute(text("DELETE FROM authors WHERE id >= 100")).rowcount)
        result = connection.execution_options(stream_results=True).execute(select(Author.id).order_by(Author.id))
        seen += [result.fetchone(), result.fetchmany(3), result.fetchall()]
        half_read = connection.execute(select(Author.id).order_by(Author.id))
        seen.append(half_read.fetchone())
        failing(lambda: connection.execute(text("SELECT nothing FROM nowhere")))
        failing(lambda: connection.execute(insert(Author).values(id=1, name="again")))
        seen.append(half_read.fetchone())
    # Outside any span.
    with engine.connect() as connection:
        seen += [connection.scalar(text(f"SELECT name FROM authors WHERE id = {number}")) for number in range(1, 8)]
    # Through the second door.
    with tracer.start_as_current_span("job", kind=SpanKind.CONSUMER):
        connection = sqlite3.connect(engine.url.database)
        cursor = connection.cursor()
        seen += [cursor.execute("SELECT name FROM authors WHERE id = ?", (n,)).fetchall() for n in range(1, 8)]
        failing(lambda: cursor.execute("SELECT nothing FROM nowhere"))
        connection.close()
    telemetry.metrics()
    distro._at_exit()
    return seen


def modules(*names):
    """The names of these modules and of all below them, without ``dbsight``."""
    for name in names:
        module = importlib.import_module(f"dbsight.{name}")
        yield name
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
            yield found.name


def functions_of(module):
    """Owner, name and function of everything that is defined in a module, but for guards and what runs at import."""
    guards = GUARDS.get(module.__name__.removeprefix("dbsight."), set())
    owners = [module, *(one for one in vars(module).values() if inspect.isclass(one))]
    for owner in owners:
        if getattr(owner, "__module__", module.__name__) != module.__name__:
            continue
        for name, member in list(vars(owner).items()):
            function = getattr(member, "__func__", member)
            if not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            if hasattr(function, "__wrapped__") or function.__qualname__ in guards:
                continue
            yield owner, name, member, function


class Saboteur:
    """Makes one function raise whenever it is called, once it is armed; before, it does what it always did."""

    def __init__(self, monkeypatch, owner, name, member, function):
        self.armed = False
        self.calls = 0

        @functools.wraps(function)
        def sabotaged(*args, **kwargs):
            if self.armed:
                self.calls += 1
                raise SabotageError(MARKER)
            return function(*args, **kwargs)

        kind = type(member) if isinstance(member, (staticmethod, classmethod)) else lambda it: it
        monkeypatch.setattr(owner, name, kind(sabotaged))
        if inspect.ismodule(owner):  # and wherever it was imported to
            for other in [one for key, one in sys.modules.items() if key.startswith("dbsight")]:
                for alias, value in list(vars(other).items()):
                    if value is function:
                        monkeypatch.setattr(other, alias, sabotaged)


@pytest.fixture(autouse=True)
def _nobody_sweeps(monkeypatch):
    """The thread that looks every half second would fail at any moment, and not only where a test looks."""
    monkeypatch.setattr(Sweeper, "_run", lambda _: None)
    yield
    dbsight.statement.clear()  # what a sabotaged reader read


@pytest.fixture
def engine(tmp_path):
    """An engine on a filled SQLite file."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with suppress_instrumentation():
        fill(engine)
    yield engine
    engine.dispose()


def start():
    """Start dbsight as it is now, everything on, with a slow limit that every query crosses."""
    settings = config.Settings(slow_query_threshold=1e-9, findings="both", report=())
    config.use(settings)
    telemetry = Telemetry(sampler=OnlySome(), settings=settings)
    distro._runtime.processor = telemetry.processor
    telemetry.tracer_provider.sampler = WindowSampler(
        telemetry.tracer_provider.sampler, telemetry.processor.remember_unsampled
    )
    SQLite3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    return telemetry


@pytest.fixture
def watched():
    """Starts it, and stops it before it is started again."""
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, distro._runtime, "processor", None)

        def restart():
            stack.close()
            telemetry = stack.enter_context(contextlib.closing(start()))
            stack.callback(SQLite3Instrumentor().uninstrument)
            return telemetry

        yield restart


@pytest.fixture
def undisturbed(engine, make_telemetry):
    """What the application sees when nobody watches."""
    telemetry = make_telemetry(instrument=False)
    return application(engine, telemetry)


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """The code of every function that runs while the application does: the others need not be broken."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('called') / 'shop.db'}")
    fill(engine)
    codes = set()
    with contextlib.closing(start()) as telemetry:
        sys.setprofile(lambda frame, what, _: codes.add(frame.f_code) if what == "call" else None)
        try:
            application(engine, telemetry)
        finally:
            sys.setprofile(None)
            SQLite3Instrumentor().uninstrument()
    return codes


def test_the_application_sees_the_same_when_it_is_watched(engine, watched, undisturbed):
    """Nothing fails, everything is seen: what the next test breaks works."""
    telemetry = watched()
    assert application(engine, telemetry) == undisturbed
    roots = {span.name: span for span in telemetry.spans() if span.kind != "CLIENT"}
    assert roots.keys() == {"GET /books", "below", "job", "dbsight.window"}
    rules = {name: span.attributes.get("dbsight.findings.rules") for name, span in roots.items()}
    assert rules == {
        "GET /books": ["n_plus_one", "slow_query"],
        "below": None,
        "job": ["n_plus_one", "slow_query"],
        "dbsight.window": ["n_plus_one", "slow_query"],
    }


@pytest.mark.swallows_errors
@pytest.mark.parametrize("name", sorted(modules(*WATCHED)))
def test_whatever_raises_the_application_does_not_notice(
    name, engine, watched, undisturbed, called, monkeypatch, caplog, capsys
):
    """Each function of a module in turn: same results and exceptions, its spans exported; counted, and logged once."""
    wrong = {}
    for owner, attribute, member, function in functions_of(importlib.import_module(f"dbsight.{name}")):
        if function.__code__ not in called:
            continue
        with monkeypatch.context() as patch:
            saboteur = Saboteur(patch, owner, attribute, member, function)
            safety.reset()
            caplog.clear()
            dbsight.statement.clear()
            telemetry = watched()
            saboteur.armed = True
            try:
                seen = application(engine, telemetry)
            except BaseException as error:
                seen = f"{type(error).__name__} reached the application"
            finally:
                saboteur.armed = False
        if not saboteur.calls:  # kept by somebody before it was broken, or for the first query of all alone
            continue
        logged = Counter(record.args[0] for record in caplog.records if "internal error in %s" in str(record.msg))
        complaints = {
            "results": seen if seen != undisturbed else None,
            "spans": sorted({"GET /books", "below", "job"} - {span.name for span in telemetry.spans()}),
            "not counted": not safety.errors(),
            "logged more than once": [place for place, times in logged.items() if times > 1],
            "not logged": sorted(safety.errors().keys() - logged.keys()),
            "told the message": MARKER in caplog.text + capsys.readouterr().err,
        }
        complaints = {what: found for what, found in complaints.items() if found}
        if complaints:
            wrong[function.__qualname__] = complaints
    assert wrong == {}


@pytest.mark.swallows_errors
@pytest.mark.parametrize("name", PRINTING)
def test_whatever_raises_while_reports_are_written_the_process_ends_as_it_would(
    name, engine, watched, monkeypatch, caplog, capsys
):
    """Each function of a module in turn: counted, logged once, no message told."""
    application(engine, watched())
    config.use(config.Settings(report=("terminal",)))
    for each in PRINTING:  # one that is imported while another's function is broken would keep that one
        importlib.import_module(f"dbsight.{each}")
    wrong, broken = {}, 0
    for owner, attribute, member, function in functions_of(importlib.import_module(f"dbsight.{name}")):
        with monkeypatch.context() as patch:
            saboteur = Saboteur(patch, owner, attribute, member, function)
            safety.reset()
            caplog.clear()
            saboteur.armed = True
            distro._at_exit()
        said = capsys.readouterr()
        counted = list(safety.errors().values())
        logged = [record for record in caplog.records if ": internal error in " in record.getMessage()]
        if not saboteur.calls:
            assert (counted, logged) == ([], [])
            continue
        broken += 1
        # A rule that looks at pools of other tests may use it, too.
        once = counted and max(counted) == 1 and len(logged) == len(counted)
        if not once or MARKER in caplog.text + said.err or said.out:
            wrong[function.__qualname__] = safety.errors(), caplog.text, said
    assert wrong == {}
    assert broken
