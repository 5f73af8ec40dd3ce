"""Who consumes what the instrumentors recorded; an instrumentor never knows."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from dbsight import scope
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.trace import SpanContext

    from dbsight.model import Observation, Operation, Verdict

    Calls = Mapping[int, Any]


class Consumer:
    """Base class of what consumes records: the analyzer, and instrumentors that watch what others record.

    Attributes:
        passive: It has no use for what nobody else consumes, and for its sake alone nothing is recorded.
    """

    passive: ClassVar[bool] = False

    def observe(self, observation: Observation) -> Verdict | None:
        """Take in one operation or event.

        Returns:
            What must stand on an operation's own span, None when there is nothing to say.
        """
        return None

    def observe_all(self, operations: Sequence[Operation]) -> Sequence[Verdict | None]:
        """Take in operations in the order of their ends.

        Returns:
            As ``observe`` for each; empty when there is nothing to say of any.
        """
        return [self.observe(operation) for operation in operations]

    def attend(self) -> None:
        """Records are pending: have them drained in time."""

    def drain(self) -> None:
        """Work off what is pending in the windows of this consumer."""

    def open_root(self, root: Any) -> None:
        """A synthetic root was made: open its window, if this consumer keeps windows."""


# Tuples, replaced whole under the lock: readers need none.
_consumers: tuple[Consumer, ...] = ()
_open_calls: tuple[Calls, ...] = ()
_lock = threading.Lock()


awake = False
"""Whether anything has a use for all that is recorded; else queries are recorded only while a profile is open, and what
is no query not at all. Read for every query, without a call."""


def subscribe(consumer: Consumer) -> None:
    """Hand every observation to ``consumer`` from now on; subscribing twice is once."""
    if consumer not in _consumers:
        _change(consumer, [consumer])


def unsubscribe(consumer: Consumer) -> None:
    """Undo ``subscribe``; unknown consumers are ignored."""
    _change(consumer, [])


def _change(consumer: Consumer, instead: Sequence[Consumer]) -> None:
    global _consumers, awake  # noqa: PLW0603 - they belong to this module
    with _lock:
        _consumers = (*[known for known in _consumers if known is not consumer], *instead)
        awake = any(not known.passive for known in _consumers)


def all_consumers() -> Sequence[Consumer]:
    """Those that are subscribed."""
    return _consumers


def listening() -> bool:
    """Whether a query has anybody to be reported to: a consumer that has a use for it, or an open profile."""
    return awake or (scope.profiling > 0 and bool(_consumers))


def _all(place: str, functions: Sequence[Callable[[Any], Any]], argument: Any) -> list[Any]:
    """Call all functions; one that raises is counted, and does not keep the others from being called."""
    results = []
    for function in functions:
        try:
            results.append(function(argument))
        except Exception:  # noqa: PERF203 - see above
            failed(place)
    return results


def publish(observation: Observation) -> Verdict | None:
    """Hand one observation to all consumers.

    Returns:
        What must stand on the query's own span: the verdict of the first consumer that has one; None when there are no
        consumers or there is nothing to say. Never raises.
    """
    for said in _all("recording.publish", [consumer.observe for consumer in _consumers], observation):
        if said is not None:
            return said  # type: ignore[no-any-return]
    return None


def publish_all(operations: Sequence[Operation]) -> Sequence[Verdict | None]:
    """Hand operations that were drained together to all consumers.

    Returns:
        As ``publish`` for each, in their order; empty when there is nothing to say of any. Never raises.
    """
    verdicts: Sequence[Verdict | None] = ()
    for said in _all("recording.publish_all", [consumer.observe_all for consumer in _consumers], operations):
        if said:
            verdicts = [known or new for known, new in zip(verdicts, said, strict=False)] if verdicts else said
    return verdicts


def attend() -> None:
    """Records are pending that belong to no window."""
    for consumer in _consumers:
        consumer.attend()


def drain() -> None:
    """Work off what is pending, whatever its window. Never raises."""
    for consumer in _consumers:
        try:
            consumer.drain()
        except Exception:  # noqa: PERF203 - the others are drained all the same
            failed("recording.drain")


def open_root(root: Any) -> None:
    """Open the window of a synthetic root. Never raises."""
    _all("recording.open_root", [consumer.open_root for consumer in _consumers], root)


def finish_with_roots(calls: Calls) -> None:
    """Finish calls as the root of their trace ends: results that the application has not read to their end.

    Args:
        calls: Those that are open now, the same mapping as long as it is followed; each has a ``parent`` and
            ``finish()``.
    """
    global _open_calls  # noqa: PLW0603 - the list belongs to this module
    with _lock:
        if not any(calls is known for known in _open_calls):
            _open_calls = (*_open_calls, calls)


def leave_at_roots(calls: Calls) -> None:
    """Undo ``finish_with_roots``; unknown ones are ignored."""
    global _open_calls  # noqa: PLW0603 - the list belongs to this module
    with _lock:
        _open_calls = tuple(known for known in _open_calls if known is not calls)


def root_ending(context: SpanContext | None) -> None:
    """A local root ends: finish what is open in its trace; None: in all, with the process. Never raises."""
    for calls in _open_calls:
        if calls:
            for call in list(calls.values()):
                try:
                    parent = call.parent
                    if context is None or (parent is not None and parent.trace_id == context.trace_id):
                        call.finish()
                except Exception:  # noqa: PERF203 - the others are finished all the same
                    failed("recording.root_ending")


def settle() -> None:
    """Have the queries that are over reach the profiles, also those whose rows nobody has fetched. Never raises."""
    root_ending(None)
    drain()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
