"""The endpoint at which a running process shows what it does to its databases: ``dbsight load`` and ``top`` ask it.

Off unless ``OTEL_DBSIGHT_SERVE`` names a port. It listens on the loopback interface alone, and answers nobody without
the token of the process, which is made anew at each start and lies in a file that its user alone can read.
"""

from dbsight.serve.processes import Process, processes, service_name
from dbsight.serve.service import Service

__all__ = ["Process", "Service", "processes", "service_name"]
