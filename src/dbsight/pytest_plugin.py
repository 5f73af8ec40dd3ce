"""The pytest plug-in: ``pytest --dbsight`` looks at the queries of every test.

pytest loads it wherever dbsight is installed; until it is asked for, it imports nothing of dbsight and does nothing.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import TestCase

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from dbsight.config import FailOn
    from dbsight.model import Finding
    from dbsight.testing.expectations import assert_no_findings, assert_queries
    from dbsight.testing.results import Session
    from dbsight.testing.snapshots import snapshot
    from dbsight.testing.watch import Group, Watch

_MARK = "dbsight"
_MARK_HELP = (
    "dbsight(max_queries, max_time, fail_on, allow): the most queries of the test's body, the most time in the "
    'database (s, or "200ms"), what to fail on ("n_plus_one", "warning"), and rules whose findings are wanted.'
)
_watching: pytest.StashKey[Watch] = pytest.StashKey()
_session: pytest.StashKey[Session] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--dbsight`` and what belongs to it."""
    group = parser.getgroup("dbsight", "queries of the tests")
    group.addoption("--dbsight", action="store_true", help="look at the queries of every test, and print a summary")
    group.addoption(
        "--dbsight-fail-on",
        metavar="LIST",
        help='fail tests on findings: "n_plus_one", "warning", "n_plus_one:error"; implies --dbsight',
    )
    group.addoption(
        "--dbsight-baseline",
        metavar="FILE",
        help="findings that are known and not reported; --dbsight-update writes them",
    )
    group.addoption(
        "--dbsight-update", action="store_true", help="write the snapshots of queries, and the baseline if there is one"
    )
    group.addoption("--dbsight-sarif", metavar="FILE", help="write the findings as SARIF; implies --dbsight")
    parser.addini("dbsight_fail_on", "as --dbsight-fail-on", default="")
    parser.addini("dbsight_baseline", "as --dbsight-baseline", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Instrument before the first conftest makes an engine."""
    if _is_on(early_config):
        _find_as_written(early_config)
        with _not_collected():
            from dbsight.testing.watch import prepare

            prepare()


class _AsWritten:
    """Finds the modules of dbsight before pytest does, which would rewrite the assertions of every plug-in.

    There are none here; to look for them, and to read the copies that pytest keeps, takes longer than the imports do
    without.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As for any finder; None for the modules of others."""
        return PathFinder.find_spec(name, path, target) if name.startswith("dbsight.") else None


def _find_as_written(config: pytest.Config) -> None:
    if _AsWritten not in sys.meta_path:  # pytest may run in a test of itself
        sys.meta_path.insert(0, _AsWritten)
        config.add_cleanup(_find_as_before)


def _find_as_before() -> None:
    with suppress(ValueError):  # a test may have put back what was there before
        sys.meta_path.remove(_AsWritten)


@contextmanager
def _not_collected() -> Generator[None]:
    """Have the garbage collector leave what is imported here alone.

    Modules stay as long as the process, and to look at all of ours each time would cost a suite of short tests 2 %.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        if hasattr(gc, "freeze") and not gc.get_freeze_count():  # not in PyPy; once, also where pytest runs in a test
            gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; a mistake in them ends the run."""
    config.addinivalue_line("markers", _MARK_HELP)
    if _is_on(config) or _baseline(config):
        _conditions(config)
        config.pluginmanager.register(_Results(_the_session(config)), "dbsight-results")


def _is_on(config: pytest.Config) -> bool:
    # When the first conftest is loaded, ``option`` is empty, but for that of a worker of pytest-xdist.
    known = (config.option, config.known_args_namespace)
    return any(getattr(each, name, None) for each in known for name in ("dbsight", "dbsight_fail_on", "dbsight_sarif"))


def _baseline(config: pytest.Config) -> Path | None:
    name = config.getoption("dbsight_baseline") or config.getini("dbsight_baseline")
    return config.rootpath / name if name else None


def _the_session(config: pytest.Config) -> Session:
    if _session not in config.stash:
        from dbsight.testing.results import Session

        updated = config.getoption("dbsight_update")  # then all findings are wanted
        try:
            config.stash[_session] = Session(None if updated else _baseline(config))
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_session]


def _conditions(config: pytest.Config, of_marker: str | Iterable[str] | None = None) -> tuple[FailOn, ...]:
    from dbsight.testing.expectations import conditions

    given = of_marker or config.getoption("dbsight_fail_on") or config.getini("dbsight_fail_on")
    try:
        return conditions(given) if given else ()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


# -- Each test ----------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch the body of a test, not its fixtures."""
    mark = item.get_closest_marker(_MARK)
    asked = mark is not None or "dbsight" in getattr(item, "fixturenames", ())
    if not asked and not _is_on(item.config):
        return (yield)
    limits = dict(mark.kwargs) if mark is not None else {}
    unknown = limits.keys() - {"max_queries", "max_time", "fail_on", "allow"}
    if unknown or (mark is not None and mark.args):
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{_MARK_HELP}")
    from dbsight.testing.watch import Watch

    allow = limits.get("allow", ())
    watch = Watch(item.nodeid, [allow] if isinstance(allow, str) else allow, calls=True)
    item.stash[_watching] = watch
    around = _around_method(item, watch) if isinstance(getattr(item, "instance", None), TestCase) else watch
    try:
        with around:
            result = yield
    except BaseException:
        _note(item, watch)
        raise
    findings = _note(item, watch)
    if not getattr(item, "_excinfo", None):  # a failure that unittest has caught
        message = _verdict(item, watch, findings, limits)
        if message:
            pytest.fail(message, pytrace=False)
    return result


class _around_method:  # noqa: N801 - reads as a statement
    """``setUp`` runs in pytest's call phase, too: watch the method of a TestCase alone."""

    def __init__(self, item: Any, watch: Watch) -> None:
        self._item = item
        self._watch = watch

    def __enter__(self) -> None:
        self._method = self._item.obj
        watched = self._watch(self._method)
        self._item.obj = watched
        setattr(self._item.instance, self._method.__name__, watched)

    def __exit__(self, *_: object) -> None:
        self._item.obj = self._method
        vars(self._item.instance).pop(self._method.__name__, None)


def _note(item: pytest.Item, watch: Watch) -> list[Finding]:
    """Keep what a test did for its report; gives what was found in it."""
    from dbsight.testing.results import TestResult

    session = _the_session(item.config)
    findings = session.news(watch.findings())
    result = TestResult.of(item.nodeid, watch, findings)
    item.user_properties += [("dbsight.queries", result.queries), ("dbsight.time_ms", round(result.seconds * 1e3, 3))]
    item.user_properties += [("dbsight.finding", f"{each.rule} {each.file}:{each.line}") for each in result.findings]
    item.stash[_result] = result.plain()
    return findings


_result: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


def _verdict(item: pytest.Item, watch: Watch, findings: list[Finding], limits: dict[str, Any]) -> str:
    """Why a test fails; empty when it does not."""
    from dbsight.formatting import seconds
    from dbsight.testing.expectations import duration, failing, failure, found_in_test, ran

    most, longest = limits.get("max_queries"), limits.get("max_time")
    heads = []
    if most is not None and watch.count() > most:
        heads.append(f"{ran(watch.count())}, at most {most} may run (max_queries)")
    if longest is not None and watch.seconds() > duration(longest):
        heads.append(f"{seconds(watch.seconds())} in the database, at most {longest} may be spent (max_time)")
    wrong = failing(findings, _conditions(item.config, limits.get("fail_on")))
    if heads:
        return failure("\n".join(heads), watch.operations(), findings)
    return failure(found_in_test(wrong), (), wrong) if wrong else ""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Forget the queries of a test that is over: they keep alive what it used."""
    if _watching in item.stash:
        del item.stash[_watching]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Hand on what a test did with its report: pytest-xdist carries it to the main process."""
    report = yield
    if call.when == "call" and _result in item.stash:
        report.dbsight = item.stash[_result]
        del item.stash[_result]
    return report


class QueryChecks:
    """The fixture ``dbsight``: what the body of this test did so far, and what it may do.

    Args:
        item: The test.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    @property
    def _watch(self) -> Watch:
        if _watching not in self._item.stash:
            raise RuntimeError("the fixture dbsight tells of the body of a test, which has not begun")
        return self._item.stash[_watching]

    @property
    def queries(self) -> list[Group]:
        """The queries of the test so far, by text and line."""
        return self._watch.groups()

    def count(self, system: str | None = None) -> int:
        """How many queries ran so far; those of one system, or those of all SQL databases."""
        return self._watch.count(system)

    def findings(self) -> list[Finding]:
        """What the rules find in the test so far, most time saved first."""
        return self._watch.findings()

    def assert_queries(
        self, exactly: int | None = None, *, at_most: int | None = None, system: str | None = None
    ) -> assert_queries:
        """As ``dbsight.assert_queries``."""
        from dbsight.testing.expectations import assert_queries

        return assert_queries(exactly, at_most=at_most, system=system)

    def assert_no_findings(
        self, *rules: str, severity: str = "warning", allow: Iterable[str] = ()
    ) -> assert_no_findings:
        """As ``dbsight.assert_no_findings``."""
        from dbsight.testing.expectations import assert_no_findings

        return assert_no_findings(*rules, severity=severity, allow=allow)

    def snapshot(self, name: str = "", *, system: str | None = None) -> snapshot:
        """Expect the queries of a snapshot in ``__queries__`` beside the test; ``--dbsight-update`` writes it.

        Args:
            name: Tells several snapshots of one test apart.
            system: As for ``count``.
        """
        from dbsight.testing.snapshots import file_for, snapshot

        path = file_for(self._item.path, self._item.name, name)
        return snapshot(path, update=self._item.config.getoption("dbsight_update"), system=system)


@pytest.fixture
def dbsight(request: pytest.FixtureRequest) -> QueryChecks:
    """The queries of this test: ``dbsight.assert_queries(3)``, ``.assert_no_findings()``, ``.snapshot("orders")``."""
    return QueryChecks(request.node)


# -- The session --------------------------------------------------------------------------------------------------


class _Results:
    """Collects what the tests did, in the main process, and tells of it at the end.

    Args:
        session: For the results.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one test; with pytest-xdist it ran in another process."""
        plain = getattr(report, "dbsight", None)
        if plain is not None:
            from dbsight.testing.results import TestResult

            self._session.add(TestResult.from_plain(plain))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """The most queries, every finding once; GitHub annotations, SARIF and the baseline."""
        session, baseline = self._session, _baseline(config)
        if _is_on(config):
            terminalreporter.section("dbsight")
            for line in session.lines():
                terminalreporter.write_line(line)
        if config.getoption("dbsight_update") and baseline is not None:
            from dbsight.detect.suppressions import write_baseline

            number = write_baseline(session.ranked(), baseline)
            terminalreporter.write_line(f"{number} findings written to {baseline}")
        if config.getoption("dbsight_sarif"):
            session.write_sarif(Path(config.getoption("dbsight_sarif")))
        from dbsight.config import environment

        if environment().get("GITHUB_ACTIONS") == "true":
            for line in session.annotations():
                terminalreporter.write_line(line)
