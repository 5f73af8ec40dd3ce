"""PostgreSQL's advisory locks, seen in the queries that take and release them."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Final

from dbsight import recording
from dbsight.model import LockEvent, Operation, TransactionEvent
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Observation, Verdict

_ADVISORY: Final = pattern(r"\bpg_(?P<try>try_)?advisory_(?P<what>xact_lock|lock|unlock_all|unlock)", re.IGNORECASE)
_MAX_HELD: Final = 1_000
_MAX_STATEMENTS: Final = 2_000


class AdvisoryLocks(recording.Consumer):
    """Follows locks from ``pg_advisory_lock`` to ``pg_advisory_unlock``, those of transactions to their end.

    What ``pg_try_advisory_lock`` answered is not known: it was got when it is released later, else it is not counted.
    """

    passive = True

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[str, bool] | None] = {}
        self._held: dict[tuple[str, int, int | None], tuple[Operation, bool]] = {}
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def observe_all(self, operations: Sequence[Operation]) -> Sequence[Verdict | None]:
        """The same for operations of one batch; those of Redis take no locks of PostgreSQL."""
        if any([operation.statement.system == "postgresql" for operation in operations]):  # noqa: C419 - faster
            for operation in operations:
                self.observe(operation)
        return ()

    def observe(self, observation: Observation) -> Verdict | None:
        """Look at one observation; queries that take no lock cost a dictionary look-up."""
        if isinstance(observation, Operation):
            statement = observation.statement
            if statement.system == "postgresql":
                fingerprint = statement.fingerprint
                shape = self._shapes.get(fingerprint, False)
                if shape is False:
                    shape = self._read(fingerprint, statement.text)
                if shape is not None:
                    self._take(observation, *shape)  # type: ignore[misc]
        elif isinstance(observation, TransactionEvent) and self._held:
            self._end_of_transaction(observation)
        return None

    def _read(self, fingerprint: str, text: str) -> tuple[str, bool] | None:
        found = _ADVISORY.search(text)
        shape = (found["what"].lower(), found["try"] is not None) if found is not None else None
        if len(self._shapes) >= _MAX_STATEMENTS:
            self._shapes.clear()
        self._shapes[fingerprint] = shape
        return shape

    def _take(self, operation: Operation, what: str, trying: bool) -> None:
        thread, database = operation.thread, operation.database.key
        key = (database, thread, operation.parameters or operation.statement.literals)
        if what in {"lock", "xact_lock"}:
            if operation.error_type is not None or not trying:
                self._publish("acquire", operation, operation.duration, acquired=operation.error_type is None)
            if operation.error_type is None:
                if what == "xact_lock":  # the transaction before has ended, though its event comes later
                    self._release(key, operation.start_ns)
                with self._lock:
                    known = self._held.get(key)
                    # A failed attempt of other code on the same thread does not lose an acquired lock.
                    if len(self._held) < _MAX_HELD and not (trying and known is not None and not known[1]):
                        self._held[key] = (operation, trying)
            return
        keys = [key] if what == "unlock" else [each for each in tuple(self._held) if each[:2] == (database, thread)]
        for each in keys:
            self._release(each, operation.end_ns)

    def _release(self, key: tuple[str, int, int | None], at_ns: int) -> None:
        with self._lock:
            taken = self._held.pop(key, None)
        if taken is None:
            return
        operation, trying = taken
        if trying:
            self._publish("acquire", operation, operation.duration)
        self._publish("release", operation, max(0.0, (at_ns - operation.end_ns) / 1e9))

    def _end_of_transaction(self, event: TransactionEvent) -> None:
        for key, (operation, _) in tuple(self._held.items()):
            shape = self._shapes.get(operation.statement.fingerprint)
            if (
                key[:2] == (event.database.key, event.thread)
                and shape is not None
                and shape[0] == "xact_lock"
                and operation.end_ns <= event.at_ns  # else it belongs to a later transaction
            ):
                self._release(key, event.at_ns)

    @staticmethod
    def _publish(kind: str, operation: Operation, seconds: float, *, acquired: bool = True) -> None:
        recording.publish(
            LockEvent(
                kind,  # type: ignore[arg-type]
                "postgresql",
                "advisory",
                operation.end_ns,
                seconds,
                acquired=acquired,
                call_site=operation.call_site,
                parent=operation.parent,
                origin=operation.origin,
                allowed=operation.allowed,
            )
        )

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._held.clear()
