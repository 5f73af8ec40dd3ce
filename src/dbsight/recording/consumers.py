"""Who consumes what the instrumentors recorded; an instrumentor never knows."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from dbsight import scope
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext

    from dbsight.model import Observation, Operation, Verdict

    RootListener = Callable[[SpanContext | None], None]


class Consumer:
    """Base class of what consumes records: the analyzer, and instrumentors that watch what others record."""

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

    def open_root(self, root: Any) -> None:
        """A synthetic root was made: open its window, if this consumer keeps windows."""


# Tuples, replaced whole under the lock: readers need none.
_consumers: tuple[Consumer, ...] = ()
_root_listeners: tuple[RootListener, ...] = ()
_lock = threading.Lock()


def subscribe(consumer: Consumer) -> None:
    """Hand every observation to ``consumer`` from now on; subscribing twice is once."""
    global _consumers  # noqa: PLW0603 - the list belongs to this module
    with _lock:
        if consumer not in _consumers:
            _consumers = (*_consumers, consumer)


def unsubscribe(consumer: Consumer) -> None:
    """Undo ``subscribe``; unknown consumers are ignored."""
    global _consumers  # noqa: PLW0603 - the list belongs to this module
    with _lock:
        _consumers = tuple(known for known in _consumers if known is not consumer)


def all_consumers() -> Sequence[Consumer]:
    """Those that are subscribed."""
    return _consumers


_asleep = False


def listening() -> bool:
    """Return whether observations have a consumer that is awake, or a profile is open."""
    return bool(_consumers) and (not _asleep or scope.profiling > 0)


def sleep(*, asleep: bool) -> None:
    """Have queries recorded only while a profile is open, or always again: between tests nobody reads anything."""
    global _asleep  # noqa: PLW0603 - the state belongs to this module
    _asleep = asleep


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


def open_root(root: Any) -> None:
    """Open the window of a synthetic root. Never raises."""
    _all("recording.open_root", [consumer.open_root for consumer in _consumers], root)


def on_root_ending(listener: RootListener) -> None:
    """Call ``listener`` with the context of every local root before its window closes: finish open results there."""
    global _root_listeners  # noqa: PLW0603 - the list belongs to this module
    with _lock:
        if listener not in _root_listeners:
            _root_listeners = (*_root_listeners, listener)


def off_root_ending(listener: RootListener) -> None:
    """Undo ``on_root_ending``; unknown listeners are ignored."""
    global _root_listeners  # noqa: PLW0603 - the list belongs to this module
    with _lock:
        _root_listeners = tuple(known for known in _root_listeners if known != listener)


def root_ending(context: SpanContext | None) -> None:
    """Tell the instrumentors that this local root ends; None: all of them do, with the process. Never raises."""
    _all("recording.root_ending", _root_listeners, context)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
