"""The queries of a test in a file that is checked in: a change of them is a diff that people review."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from dbsight.testing.expectations import Expectation
from dbsight.testing.watch import grouped

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "__queries__"


class SnapshotMismatchError(AssertionError):
    """Other queries ran than those of the snapshot, or there is none yet."""


class snapshot(Expectation):  # noqa: N801 - reads as a statement
    """Expect the queries of a snapshot: the same ones as often, in any order.

    Args:
        path: The file: one line a query with its count, sorted.
        update: Write the file instead of comparing.
        system: As for ``assert_queries``.

    Raises:
        SnapshotMismatchError: With the difference, line by line.
    """

    def __init__(self, path: Path, *, update: bool = False, system: str | None = None) -> None:
        super().__init__()
        self._path = path
        self._update = update
        self._system = system

    def judge(self) -> None:
        """Compare with the file, or write it."""
        __tracebackhide__ = True
        now = lines_of(self, self._system)
        if self._update:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("".join(f"{line}\n" for line in now), encoding="utf-8")
            return
        how = "run pytest --dbsight-update to accept it"
        try:
            before = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise SnapshotMismatchError(f"there is no snapshot {self._path} yet: {how}") from None
        if before != now:
            differs = difflib.unified_diff(before, now, "snapshot", "this run", lineterm="", n=1)
            raise SnapshotMismatchError("\n".join([f"other queries than in {self._path} ran: {how}", *differs]))


def lines_of(watch: Expectation, system: str | None) -> list[str]:
    """A line for each query with its count; without places, which change with every edit."""
    counts: dict[str, int] = {}
    for group in grouped(watch.operations(system)):
        text = " ".join(group.text.split())
        counts[text] = counts.get(text, 0) + group.count
    return [f"{count} x {text}" for text, count in sorted(counts.items())]


def file_for(test: Path, test_name: str, name: str) -> Path:
    """``__queries__/test_orders/test_list-orders.txt`` beside a test's file."""
    part = re.sub(r"[^\w.\-\[\]]+", "_", f"{test_name}-{name}" if name else test_name)
    return test.parent / FOLDER / test.stem / f"{part}.txt"
