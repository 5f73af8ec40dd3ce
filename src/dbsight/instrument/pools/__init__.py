"""Connection pools: all nine ``db.client.connection.*`` metrics for every pool library, declared once.

``pool.py`` is what a pool is to us, and what it tells: a file for a pool library subclasses ``Pool``, answers what the
pool can be asked for, and calls its methods when something happens. ``registry.py`` knows every pool of the process;
``instruments.py`` names the metrics and observes the states. Events become histograms and counters in
``report/metrics.py``.
"""

from dbsight.instrument.pools.checkout import Checkout, held_by_connection, held_on
from dbsight.instrument.pools.instruments import observe, stop_observing
from dbsight.instrument.pools.pool import Pool
from dbsight.instrument.pools.registry import engines, infos, open_connections, overdue, snapshots

__all__ = [
    "Checkout",
    "Pool",
    "engines",
    "held_by_connection",
    "held_on",
    "infos",
    "observe",
    "open_connections",
    "overdue",
    "snapshots",
    "stop_observing",
]
