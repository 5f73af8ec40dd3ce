"""What a service does to its database while it is under load, as its endpoint tells (``OTEL_DBSIGHT_SERVE``)."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dbsight import serve
from dbsight.monitor.quantiles import percentile
from dbsight.serve.client import TIMEOUT, EndpointError, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERY: Final = 0.25  # s
_MOST_ROUTES: Final = 200
_MOST_SAMPLES: Final = 100_000


@dataclass
class Route:
    """The requests of one route.

    Attributes:
        route: ``GET /orders``.
        requests: How many ended.
        queries: Of all of them.
        most_queries: Of one of them.
        database: s in the database, of all of them.
        each: s in the database of each, as far as there is room.
        findings: In how many requests each rule found something at warning or above.
        worst: The request with the most time in the database, as the endpoint returns it.
    """

    route: str
    requests: int = 0
    queries: int = 0
    most_queries: int = 0
    database: float = 0.0
    each: list[float] = field(default_factory=list)
    findings: Counter[str] = field(default_factory=Counter)
    worst: dict[str, Any] = field(default_factory=dict)

    def add(self, request: dict[str, Any]) -> None:
        """Take in one request."""
        self.requests += 1
        self.queries += request["calls"]
        self.most_queries = max(self.most_queries, request["calls"])
        self.database += request["db_time"]
        if len(self.each) < _MOST_SAMPLES:
            self.each.append(request["db_time"])
        self.findings.update({found["rule"] for found in request["findings"] if found["severity"] != "info"})
        if not self.worst or request["db_time"] > self.worst["db_time"]:
            self.worst = request

    def plain(self) -> dict[str, Any]:
        """As values for JSON; times in ms."""
        return {
            "route": self.route,
            "requests": self.requests,
            "queries_per_request": self.queries / self.requests,
            "max_queries": self.most_queries,
            "database_ms_per_request": self.database / self.requests * 1e3,
            "p95_database_ms": percentile(sorted(self.each), 95) * 1e3,
            "findings": dict(self.findings),
            "worst": self.worst,
        }


class Served:
    """Reads the endpoints of a service's processes while a load test runs.

    Args:
        port: As in ``OTEL_DBSIGHT_SERVE`` of the service.

    Attributes:
        missed: Requests that ended between two looks and were not kept for so long.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._next: dict[str, int] = {}  # by token: each start of each process has its own
        self._routes: dict[str, Route] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dbsight-load", daemon=True)
        self.missed = 0

    def start(self) -> bool:
        """Forget what was before, and watch from now on; False where no process of the service is found."""
        found = [process for process in serve.processes(self._port) if self._ask(process, 0) is not None]
        if found:
            self._thread.start()
        return bool(found)

    def stop(self) -> Sequence[Route]:
        """Look for the last time.

        Returns:
            The requests by route, most time in the database first; where there are none, other units of work.
        """
        self._over.set()
        self._thread.join(2 * TIMEOUT)
        self._look()
        return sorted(self._routes.values(), key=lambda route: -route.database)

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        for process in serve.processes(self._port):
            page = self._ask(process, self._next.get(process.token, 0))
            if page is None:
                continue
            self.missed += page["missed"]
            for request in page["requests"]:
                name = request["route"]
                if name in self._routes or len(self._routes) < _MOST_ROUTES:
                    self._routes.setdefault(name, Route(name)).add(request)

    def _ask(self, process: serve.Process, since: int) -> dict[str, Any] | None:
        try:
            page = ask(process, f"/api/v1/requests?since={since}")
        except EndpointError:
            return None  # it is ending
        self._next[process.token] = page["next"]
        return page
