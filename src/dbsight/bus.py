"""Where instrumentors publish what they saw, and analysers listen.

An instrumentor never knows who listens; with nobody there, ``observe`` costs a length check.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    from dbsight.model import Observation, Verdict

    Listener = Callable[[Observation], Verdict | None]
    RootListener = Callable[[SpanContext | None], None]

# Tuples, replaced whole under the lock: readers need none.
listeners: tuple[Listener, ...] = ()
"""Who hears observations; for whoever asks too often to call ``listening``."""
_root_listeners: tuple[RootListener, ...] = ()
_lock = threading.Lock()


def subscribe(listener: Listener) -> None:
    """Call ``listener`` with every observation from now on; subscribing twice is once."""
    global listeners  # noqa: PLW0603 - the bus is this module
    with _lock:
        if listener not in listeners:
            listeners = (*listeners, listener)


def unsubscribe(listener: Listener) -> None:
    """Undo ``subscribe``; unknown listeners are ignored."""
    global listeners  # noqa: PLW0603 - the bus is this module
    with _lock:
        listeners = tuple(known for known in listeners if known != listener)


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
