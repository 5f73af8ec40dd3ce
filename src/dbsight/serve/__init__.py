"""The endpoint at which a running process shows what it does to its databases, for ``dbsight load`` and the live page.

Off unless ``OTEL_DBSIGHT_SERVE`` names a port. It listens on the loopback interface only, and answers no request
without the token of the process, which is generated at each start and stored in a file that only its user can read.
"""

from dbsight.serve.processes import Process, processes, service_name
from dbsight.serve.service import Service

__all__ = ["Process", "Service", "processes", "service_name"]
