"""Reset of metrics in a forked child.

The SDK's aggregations at the time of the fork were measured by the parent, which exports them: the child would export
them a second time. Locks that another thread of the parent held at the fork would never be released: those of the
aggregations, and that of a reader which was exporting.

Private names of the SDK, the same in 1.42 and 1.45: ``Synchronous…._measurement_consumer``, ``_reader_storages``,
``_instrument_view_instrument_matches``, ``_attributes_aggregation``, and the locks beside them; the reader's
``_export_lock``. With a different SDK, a child continues from its parent's counts.
"""

from __future__ import annotations

import threading
from typing import Any

from dbsight import semconv
from dbsight.safety import guard


@guard
def begin_anew(instrument: Any) -> None:
    """Reset the aggregations of all instruments of dbsight with the same provider as this one."""
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
    # A new mapping of the same readers makes caches look up their aggregations again.
    consumer._reader_storages = dict(storages)
