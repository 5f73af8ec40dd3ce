"""What a rule is.

A rule's docstring is its documentation: the first line says what it sees, a drawing shows the shape, and
``Anti-pattern:`` and ``Best practice:`` give code. A test holds every rule to that form, and the page in ``docs/`` is
made from it.
"""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation, Snapshot
    from dbsight.recording import OpenWindow


class Rule(ABC):
    """Common part of all rules.

    Attributes:
        name: As in settings, attributes and docs: ``n_plus_one``.
        category: Of its findings.
        settings: Names of the settings that it reads, for the docs.
    """

    name: ClassVar[str]
    category: ClassVar[Category]
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Settings) -> None:
        self.configuration = settings


class WindowRule(Rule):
    """A rule that looks at operations and at the windows that they form.

    An instance serves all windows and threads: what it must remember of a window it finds in the window.

    Attributes:
        of_events: ``complete`` looks at events alone, and has nothing to say where there are none.
        of_repetition: It has nothing to say where no query came twice.
    """

    of_events: ClassVar[bool] = False
    of_repetition: ClassVar[bool] = False

    def visit(self, operation: Operation, window: OpenWindow | None) -> Finding | None:
        """Look at one operation on the hot path: one that took as long as the lowest limit of any, at least.

        Returns:
            A finding about this operation alone, for its own span.
        """
        return None

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at a whole window when it is over, or when it reached its bounds and is about to be emptied."""
        return ()

    def conclude(self, window: OpenWindow, route: str) -> Iterable[Finding]:
        """Look at the totals of a whole window when it is over for good, and its route is known.

        What it did, operation by operation, was handed to ``complete`` and is gone.
        """
        return ()


class SnapshotRule(Rule):
    """A rule that looks at the totals of the process, every ten seconds and at exit.

    Attributes:
        withdraws: A finding of it that is no longer reported is not true any more.
    """

    withdraws: ClassVar[bool] = False

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Look at totals. The same fault gives the same id every time, and is reported once."""
        return ()
