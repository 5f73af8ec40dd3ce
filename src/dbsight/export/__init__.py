"""Export of telemetry: OTLP exporters that do not block an application without a collector.

``endpoint.py`` checks whether a collector listens, ``exporters.py`` queues or skips telemetry meanwhile, ``otlp.py``
holds the state of the process, and ``sdk_hooks.py`` installs it in the SDK.
"""

from dbsight.export.endpoint import is_otlp, listening
from dbsight.export.otlp import Outlet

__all__ = ["Outlet", "is_otlp", "listening"]
