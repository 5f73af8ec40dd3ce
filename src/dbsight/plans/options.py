"""What a caller asks for, and what each database is asked through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How a statement is explained.

    Attributes:
        analyze: Execute the statement, for actual rows and times.
        rollback: Execute it although it writes, in a transaction that is rolled back.
        timeout: s that the statement may run.
        lock_timeout: s that it may wait for a lock.
        unknown: Placeholders without values, ``$1``, ``$2`` …: PostgreSQL is asked for its generic plan.
    """

    analyze: bool = False
    rollback: bool = False
    timeout: float = 10.0
    lock_timeout: float = 1.0
    unknown: int = 0

    @property
    def timeout_ms(self) -> int:
        """Milliseconds, at least one: zero means no limit to most databases."""
        return max(1, round(self.timeout * 1000))

    @property
    def lock_timeout_ms(self) -> int:
        """Milliseconds, at least one."""
        return max(1, round(self.lock_timeout * 1000))


class Session(Protocol):
    """One connection, by whatever library it was opened.

    Attributes:
        system: ``db.system.name``.
        in_transaction: A transaction of the caller's is open on it.
        driver_connection: The DBAPI connection.
    """

    system: str
    in_transaction: bool
    driver_connection: Any

    def rows(self, text: str, parameters: Any = None) -> Sequence[Row]:
        """Execute a text and fetch all rows."""

    def count(self, text: str, parameters: Any = None) -> int:
        """Execute a text, fetch all rows without keeping them, and count them."""

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction, or a savepoint in the caller's, that is always rolled back."""


def quoted(value: str) -> str:
    """A string literal, for databases that read no backslashes in it: names from their own plans, never parameters."""
    return "'" + value.replace("'", "''") + "'"
