"""Connections that urllib3 throws away because their pool is full, of clients of S3, Elasticsearch and other services.

urllib3 says so in a warning and nowhere else. A filter of its logger counts it, and lets every record pass.
"""

from __future__ import annotations

import logging
from time import time_ns
from typing import Final

from dbsight import recording, scope
from dbsight.instrument.pools import registry
from dbsight.model import PoolEvent
from dbsight.safety import failed

_LOGGER: Final = "urllib3.connectionpool"
_WARNING: Final = "Connection pool is full, discarding connection"
"""How the message begins, in urllib3 1.26 to 2; its first argument is the host."""


class _Counting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Count a connection that was discarded; every record passes."""
        try:
            if record.levelno == logging.WARNING and str(record.msg).startswith(_WARNING) and not scope.suppressed():
                arguments = record.args if isinstance(record.args, tuple) else ()
                name = registry.bounded(str(arguments[0]) if arguments else "urllib3")
                recording.record(PoolEvent("discarded", name, time_ns(), library="urllib3"))
        except Exception:
            failed("full_pools")
        return True


_counting: Final = _Counting()


def watch() -> None:
    """Count from now on; doing it twice is harmless."""
    logging.getLogger(_LOGGER).addFilter(_counting)


def stop() -> None:
    """Count no more."""
    logging.getLogger(_LOGGER).removeFilter(_counting)
