"""Where instrumentors publish what they saw, and analysers listen.

An instrumentor never knows who listens; with nobody there, ``observe`` costs a length check.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext

    from dbsight.model import Observation, Operation, Verdict

    Listener = Callable[[Observation], Verdict | None]
    ListenerToMany = Callable[[Sequence[Operation]], Sequence[Verdict | None]]
    RootListener = Callable[[SpanContext | None], None]

# Tuples, replaced whole under the lock: readers need none.
listeners: tuple[Listener, ...] = ()
"""Who hears observations; for whoever asks too often to call ``listening``."""
_to_many: dict[Listener, ListenerToMany] = {}
"""How those that can hear of several operations at once."""
_root_listeners: tuple[RootListener, ...] = ()
_lock = threading.Lock()


def subscribe(listener: Listener, to_many: ListenerToMany | None = None) -> None:
    """Call ``listener`` with every observation from now on; subscribing twice is once.

    Args:
        listener: Gives back what must stand on an operation's own span.
        to_many: The same for operations of one local root that are told together, in their order; empty when there is
            nothing to say of any. By default ``listener`` is called for each.
    """
    global listeners  # noqa: PLW0603 - the bus is this module
    with _lock:
        if listener not in listeners:
            listeners = (*listeners, listener)
            if to_many is not None:
                _to_many[listener] = to_many


def unsubscribe(listener: Listener) -> None:
    """Undo ``subscribe``; unknown listeners are ignored."""
    global listeners  # noqa: PLW0603 - the bus is this module
    with _lock:
        listeners = tuple(known for known in listeners if known != listener)
        _to_many.pop(listener, None)


def listening() -> bool:
    """Whether anybody would hear an observation."""
    return bool(listeners)


def observe(observation: Observation) -> Verdict | None:
    """Publish one observation.

    Returns:
        What must stand on the query's own span: the verdict of the first listener that has one; None when nobody
        listens or there is nothing to say. Never raises.
    """
    verdict = None
    for listener in listeners:
        try:
            said = listener(observation)
        except Exception:
            failed("bus.observe")
            continue
        if verdict is None:
            verdict = said
    return verdict


def observe_all(operations: Sequence[Operation]) -> Sequence[Verdict | None]:
    """Publish operations of one local root that are told together.

    Returns:
        As ``observe`` for each, in their order; empty when there is nothing to say of any. Never raises.
    """
    verdicts: Sequence[Verdict | None] = ()
    for listener in listeners:
        try:
            to_many = _to_many.get(listener)
            said = to_many(operations) if to_many is not None else [listener(operation) for operation in operations]
            if said:
                verdicts = [known or new for known, new in zip(verdicts, said, strict=True)] if verdicts else said
        except Exception:  # noqa: PERF203 - the others hear it all the same
            failed("bus.observe_all")
    return verdicts


def on_root_ending(listener: RootListener) -> None:
    """Call ``listener`` with the context of every local root before its window closes: finish open results there."""
    global _root_listeners  # noqa: PLW0603 - the bus is this module
    with _lock:
        if listener not in _root_listeners:
            _root_listeners = (*_root_listeners, listener)


def off_root_ending(listener: RootListener) -> None:
    """Undo ``on_root_ending``; unknown listeners are ignored."""
    global _root_listeners  # noqa: PLW0603 - the bus is this module
    with _lock:
        _root_listeners = tuple(known for known in _root_listeners if known != listener)


def root_ending(context: SpanContext | None) -> None:
    """Tell the instrumentors that this local root ends; None: all of them do, with the process. Never raises."""
    for listener in _root_listeners:
        try:
            listener(context)
        except Exception:  # noqa: PERF203 - one that raises must not silence the others
            failed("bus.root_ending")


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
