"""The one queue between instrumentors and the analyzer.

In place, an instrumentor fills one record and appends it to the open window of its unit of work or, where no window is
known, to ``loose``. Everything else happens in the drain, by the fifty: when fifty records have come together, when the
window is judged, before totals are read or anything is flushed, on a timer, and at exit. What runs right after an
answer from the network finds the processor's caches cold and costs several times what it costs in a loop, so as little
as possible runs there.

A record is either an event of ``dbsight.model``, which is handed to the consumers as it is, or has a static method
``flush_all(records)`` that completes, publishes and reports records of its class.
"""

from dbsight.recording.consumers import (
    Consumer,
    drain,
    finish_with_roots,
    leave_at_roots,
    listening,
    open_root,
    publish,
    publish_all,
    root_ending,
    settle,
    subscribe,
    unsubscribe,
)
from dbsight.recording.ended import Ended
from dbsight.recording.open_window import MAX_EVENTS, OpenWindow
from dbsight.recording.queue import Queue, loose, record
from dbsight.recording.sweeper import Sweeper
from dbsight.recording.windows import Windows

__all__ = [
    "MAX_EVENTS",
    "Consumer",
    "Ended",
    "OpenWindow",
    "Queue",
    "Sweeper",
    "Windows",
    "drain",
    "finish_with_roots",
    "leave_at_roots",
    "listening",
    "loose",
    "open_root",
    "publish",
    "publish_all",
    "record",
    "root_ending",
    "settle",
    "subscribe",
    "unsubscribe",
]
