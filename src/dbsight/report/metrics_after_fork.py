"""In a forked child, metrics begin anew.

What the SDK has aggregated so far was measured by the parent, which exports it as well: a child that went on from there
would tell it a second time. Locks that another thread of the parent held at the fork would never be released: those of
the aggregations, and that of a reader which was exporting.

Private names of the SDK, the same in 1.42 and 1.45: ``Synchronous…._measurement_consumer``, ``_reader_storages``,
``_instrument_view_instrument_matches``, ``_attributes_aggregation``, and the locks beside them; the reader's
``_export_lock``. With an SDK that looks different a child goes on from its parent's counts.
"""

from __future__ import annotations

import threading
from typing import Any

from dbsight import semconv
from dbsight.safety import guard


@guard
def begin_anew(instrument: Any) -> None:
    """Forget what was aggregated of all instruments of ours that have the provider of this one."""
    instrument = getattr(instrument, "_real_instrument", None) or instrument
    consumer = getattr(instrument, "_measurement_consumer", None)
    storages = getattr(consumer, "_reader_storages", None)
    if consumer is None or storages is None:
        return
    consumer._lock = threading.Lock()
    for reader, storage in storages.items():
        if hasattr(reader, "_export_lock"):
            reader._export_lock = threading.Lock()
        storage._lock = threading.RLock()
        for known, matches in storage._instrument_view_instrument_matches.items():
            if known.instrumentation_scope.name == semconv.SCOPE:
                for match in matches:
                    match._lock = threading.Lock()
                    match._attributes_aggregation = {}
    # Another mapping of the same readers: whoever keeps aggregations looks them up again.
    consumer._reader_storages = dict(storages)
