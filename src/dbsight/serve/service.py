"""One engine's endpoint: it starts and ends with the engine, and a forked process serves its own.

Paths (``docs/serve.md`` describes the answers):

* ``/``: the HTML report, which reloads itself.
* ``/request?id=…&key=…``: the report about one request that the toolbar linked to.
* ``/api/v1/snapshot``: totals of the process; with ``brief=1`` without what only the page shows, most of its size.
* ``/api/v1/requests?since=N``: units of work that ended after number N.
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import asdict, replace
from time import time
from typing import TYPE_CHECKING, Any, Final

from dbsight.report.json import document, finite
from dbsight.safety import failed, guard, logger
from dbsight.serve.pages import PATH, RequestPages, key_of, request_id
from dbsight.serve.processes import PROTOCOL, Process, announce, service_name
from dbsight.serve.requests import Requests
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dbsight.config import Settings
    from dbsight.model import Operation, PoolSnapshot, Snapshot, WindowSummary
    from dbsight.serve.server import Body, Server

_PORTS: Final = 32
"""Ports that are tried, from the one in the settings: processes of one service take one each."""
_HIGHEST: Final = 65535
_WAIT: Final[Body] = (
    "text/html; charset=utf-8",
    b"""<!doctype html><html lang="en"><meta http-equiv="refresh" content="1"><title>dbsight</title>
<p>The request is not over yet; this page waits for its end.</p></html>
""",
)


class Service:
    """The endpoint of one engine.

    Args:
        snapshot: The engine's totals now; it takes the name of the service.
        judge: Judges what has ended, so that it is told of.

    Attributes:
        process: This process as clients find it, None while nothing is served.
    """

    def __init__(self, snapshot: Callable[..., Snapshot], judge: Callable[[], object]) -> None:
        self._snapshot = snapshot
        self._judge = judge
        self._asked: int | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._file: Path | None = None
        self._started = 0.0
        self.process: Process | None = None
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._requests = Requests()
        self._pages = RequestPages()

    @property
    def active(self) -> bool:
        """Whether units of work are kept."""
        return self._server is not None

    @guard
    def use(self, settings: Settings) -> None:
        """Serve where these settings ask for it, and nowhere else."""
        with self._lock:
            if settings.serve != self._asked or (settings.serve is not None and self._server is None):
                self.stop()
                self._asked = settings.serve
                if self._asked is not None:
                    self._start(self._asked)

    def _start(self, asked: int) -> None:
        from dbsight.serve.server import Server  # it imports Python's HTTP server

        token = secrets.token_urlsafe(32)
        answers = {
            "/": self._answer_page,
            PATH: self._answer_request,
            "/api/v1/snapshot": self._answer_snapshot,
            "/api/v1/requests": self._answer_requests,
        }
        for port in range(asked, min(asked + _PORTS, _HIGHEST + 1)) if asked else (0,):
            try:
                server = Server(port, token, answers)
            except OSError:
                continue
            break
        else:
            logger.warning("dbsight: nothing is served: no port from %d is free", asked)
            return
        thread = threading.Thread(target=server.serve, name="dbsight-serve", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started
            server.server_close()
            logger.warning("dbsight: nothing is served: no thread can be started")
            return
        self._started = time()
        self._server, self._thread = server, thread
        self.process = Process(asked, server.server_port, os.getpid(), token, PROTOCOL, self._started)
        self._file = announce(self.process)
        if self._file is None:
            logger.warning("dbsight: serving on port %d, but its token cannot be written", server.server_port)
        else:
            logger.info("dbsight: serving at %s; the token is in %s", self.process.url, self._file)

    @guard
    def stop(self) -> None:
        """Serve no more."""
        with self._lock:
            server, self._server = self._server, None
            path, self._file = self._file, None
            self._asked = self.process = None
        if server is not None and self._thread is not None:
            server.stop()
            self._thread.join(1.0)
        if path is not None:
            path.unlink(missing_ok=True)

    def after_fork(self) -> None:
        """In a forked child: the socket, the thread and the token are the parent's."""
        server, self._server = self._server, None
        asked, self._asked = self._asked, None
        self._thread = self._file = self.process = None
        self._reset()
        if server is not None:
            server.forget()
        if asked is not None:
            threading.Thread(target=self._start_again, args=(asked,), name="dbsight-serve-start", daemon=True).start()

    def _start_again(self, asked: int) -> None:
        try:
            with self._lock:
                if self._asked is None:
                    self._asked = asked
                    self._start(asked)
        except Exception:
            failed("serve.start")

    def closed(self, summary: WindowSummary, operations: Sequence[Operation]) -> None:
        """A unit of work is over; see ``Requests.add``."""
        if self._server is not None:
            self._requests.add(summary, operations)
            self._pages.add(summary, operations)

    def link(self, trace_id: int, span_id: int) -> str | None:
        """Keep a request that is not over yet for a page of its own.

        Args:
            trace_id: Of the request's span.
            span_id: Of the request's span.

        Returns:
            URL of the page; it needs no other authentication. None if the process does not serve.
        """
        process = self.process
        if process is None:
            return None
        request = request_id(trace_id, span_id)
        self._pages.expect(request)
        return f"{process.url}{PATH}?id={request}&key={key_of(process.token, request)}"

    # -- Answers ------------------------------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "service": service_name(),
            "started": self._started,
            "now": time(),
            "protocol": PROTOCOL,
            "dbsight": __version__,
        }

    def _answer_page(self, given: Mapping[str, str]) -> Body:
        return _page(self._snapshot(service=service_name()), live=True)

    def _answer_request(self, given: Mapping[str, str]) -> Body:
        self._judge()
        request = given.get("id", "")
        snapshot = self._pages.snapshot(request, service_name())
        if snapshot is not None:
            return _page(snapshot)
        if self._pages.is_expected(request):
            return _WAIT
        return "text/plain", b"This request is not kept any more; the latest 500 with a link are.\n"

    def _answer_snapshot(self, given: Mapping[str, str]) -> Body:
        from dbsight.serve.server import as_json

        snapshot = self._snapshot(service=service_name())
        if given.get("brief"):
            pools = [replace(pool, series=(), uses=()) for pool in snapshot.pools]
            snapshot = replace(snapshot, examples=(), memory=(), pools=pools)
        return as_json(
            finite(
                {
                    "process": self._about(),
                    "report": document(snapshot),
                    "pools": [_pool(each) for each in snapshot.pools],
                    "p50": snapshot.p50,
                    "p95": snapshot.p95,
                }
            )
        )

    def _answer_requests(self, given: Mapping[str, str]) -> Body:
        from dbsight.serve.server import as_json

        text = given.get("since", "0")
        if not (text.isascii() and text.isdecimal()):
            raise ValueError("since is not a number")
        self._judge()
        return as_json(finite({"process": self._about(), **asdict(self._requests.since(int(text[:18])))}))


def _page(snapshot: Snapshot, *, live: bool = False) -> Body:
    from dbsight.report.html import render

    try:
        page = render(snapshot, live=live)
    except ImportError:
        return "text/plain", b"The page needs Jinja2: pip install 'dbsight[html]'\n"
    return "text/html; charset=utf-8", page.encode("utf-8", "backslashreplace")


def _pool(pool: PoolSnapshot) -> dict[str, Any]:
    state, totals = pool.state, pool.totals
    return {
        "name": state.name,
        "library": state.library,
        "system": state.system,
        "used": state.used,
        "idle": state.idle,
        "pending": state.pending,
        "max": state.max,
        "checkouts": totals.checkouts,
        "waits": totals.waits,
        "wait_total": totals.wait_total,
        "wait_max": totals.wait_max,
        "timeouts": totals.timeouts,
        "leaks": totals.leaks,
    }
