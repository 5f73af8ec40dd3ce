"""``unittest`` with a summary of the queries: ``python -m dbsight.testing discover``."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any, ClassVar

from dbsight import config
from dbsight.testing.expectations import Expectation, conditions, failing, failure, found_in_test
from dbsight.testing.results import Session, TestResult

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from dbsight.config import FailOn


__unittest = True  # unittest leaves our frames out of its tracebacks


class _WatchedTest(Expectation):
    """The method of one test, without ``setUp``: what is found in it may be a failure."""

    def __init__(self, name: str, session: Session, on: tuple[FailOn, ...]) -> None:
        super().__init__(name, calls=True)
        self._session = session
        self._on = on

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self._session.add(TestResult.of(self.name, self, self.findings()))

    def _again(self) -> Self:
        return self

    def judge(self) -> None:
        """Fail on what the runner fails on."""
        wrong = failing(self.findings(), self._on)
        if wrong:
            raise AssertionError(failure(found_in_test(wrong), (), wrong))


class WatchedResult:
    """A mixin for classes of test results: watches the method of each test.

    Attributes:
        session: What the tests did.
        fail_on: Findings that make a test fail.
    """

    session: ClassVar[Session]
    fail_on: ClassVar[tuple[FailOn, ...]] = ()

    def startTest(self, test: Any) -> None:  # noqa: N802 - unittest's name
        """Put the watch around the test's method: ``setUp`` and ``tearDown`` are not the test."""
        super().startTest(test)  # type: ignore[misc]
        name = getattr(test, "_testMethodName", "")
        method = getattr(test, name, None)
        if method is not None:
            setattr(test, name, _WatchedTest(test.id(), self.session, self.fail_on)(method))

    def stopTest(self, test: Any) -> None:  # noqa: N802 - unittest's name
        """Give the method back."""
        vars(test).pop(getattr(test, "_testMethodName", ""), None)
        super().stopTest(test)  # type: ignore[misc]


def watched(base: type, session: Session, fail_on: str | Iterable[str] | None = None) -> type:
    """A class of test results that watches the tests.

    Args:
        base: A subclass of ``unittest.TestResult``.
        session: Takes the results.
        fail_on: As ``OTEL_DBSIGHT_FAIL_ON``, which holds where it is None.

    Raises:
        ValueError: ``fail_on`` is not understood.
    """
    on = config.current().fail_on if fail_on is None else conditions(fail_on)
    return type(f"Watched{base.__name__}", (WatchedResult, base), {"session": session, "fail_on": on})


class WatchedRunner(unittest.TextTestRunner):
    """As ``unittest.TextTestRunner``; tells of the queries at the end.

    Attributes:
        fail_on: As ``OTEL_DBSIGHT_FAIL_ON``, which holds where it is None.
    """

    fail_on: str | None = None

    def run(self, test: Any) -> Any:
        """Run the tests, then print the summary."""
        session = Session()
        base: Any = self.resultclass
        self.resultclass = watched(base or unittest.TextTestResult, session, self.fail_on)
        result = super().run(test)
        self.stream.write("\n".join(["", "dbsight", *session.lines(), ""]))
        return result
