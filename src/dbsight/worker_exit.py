"""Worker processes that end without Python's exit handlers: they export what is pending first.

Children of ``multiprocessing`` run its finalizers and then end by ``os._exit`` (before Python 3.13; since then they
drop the handlers of their parent). Celery's prefork workers, made by billiard, end in the same way, after the signal
``worker_process_shutdown``: their last spans would be lost at each ``--max-tasks-per-child`` and at each rollout.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument.wrap import Patches
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

PATIENCE: Final = 5.0
"""Seconds that the end of the process waits for the flush."""

_patches: Final = Patches()


class _Watched:
    """What ends a worker process."""

    def __init__(self) -> None:
        self.flush: Callable[[], object] | None = None


_watched: Final = _Watched()


@guard
def watch(flush: Callable[[], object]) -> None:
    """Export what is pending at the end of worker processes that are forked from now on.

    Args:
        flush: Exports what is pending; called at most once per process, in a thread of its own.
    """
    first = _watched.flush is None
    _watched.flush = flush
    if first and hasattr(os, "register_at_fork"):
        _patches.when_imported("multiprocessing.util", _multiprocessing_imported)
        _patches.when_imported("celery.signals", _celery_imported)


def _multiprocessing_imported(module: ModuleType) -> None:
    # A child forgets its parent's finalizers, and runs what is registered here afterwards.
    module.register_after_fork(_watched, lambda _: module.Finalize(None, _end, exitpriority=0))


def _celery_imported(module: ModuleType) -> None:
    module.worker_process_shutdown.connect(_end, weak=False, dispatch_uid="dbsight")


def _end(*_: Any, **__: Any) -> None:
    """This worker process is about to end."""
    try:
        flushing = threading.Thread(target=_run, name="dbsight-flush", daemon=True)
        flushing.start()
        flushing.join(PATIENCE)
    except RuntimeError:  # no thread can be started any more
        failed("worker_exit")


def _run() -> None:
    try:
        if _watched.flush is not None:
            _watched.flush()
    except Exception:
        failed("worker_exit.flush")
