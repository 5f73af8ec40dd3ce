"""Where telemetry leaves the process: OTLP exporters that never stall an application without a collector.

``way.py`` knows whether anybody listens, ``exporters.py`` what to do meanwhile, ``outlet.py`` holds the process's one
view of both, ``wiring.py`` puts it into the SDK.
"""

from dbsight.export.endpoint import is_otlp, listening
from dbsight.export.otlp import Outlet

__all__ = ["Outlet", "is_otlp", "listening"]
