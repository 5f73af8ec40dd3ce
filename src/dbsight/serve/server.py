"""The HTTP server of the endpoint: who may ask, and what is answered.

A page in a browser of the same machine can send requests to the loopback interface, and by a name of its own that
resolves to 127.0.0.1 also read the answers. Therefore the ``Host`` header must name the loopback interface, and each
request must bring the token.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from dbsight.safety import failed
from dbsight.serve.pages import PATH, key_of
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answer = Callable[[Mapping[str, str]], "Body"]

Body = tuple[str, bytes]
"""Content type, and what is sent."""

ADDRESS: Final = "127.0.0.1"
_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_TIMEOUT: Final = 10.0
"""s that a client may take to send its request, or to take an answer."""
MOST_CLIENTS: Final = 32
"""Connections at the same time: anybody on this machine can open some, and each has a thread of the application."""


def as_json(value: Any) -> Body:
    """A value as an answer."""
    return "application/json", json.dumps(value, allow_nan=False).encode("utf-8", "backslashreplace")


class Server(ThreadingHTTPServer):
    """Serves some paths on one port of the loopback interface.

    Args:
        port: 0 takes any.
        token: What each request must bring.
        answers: By path, what makes the answer from the parameters of the query; ``ValueError`` is a bad request.

    Raises:
        OSError: The port is not free.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CLIENTS  # of more than this at once, the kernel lets some wait for seconds
    allow_reuse_address = os.name != "nt"  # there it would share a port that another process listens on

    def __init__(self, port: int, token: str, answers: Mapping[str, Answer]) -> None:
        self.token = token
        self.answers = answers
        self._stopped = False
        self._clients: set[Any] = set()
        super().__init__((ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        """As the base class, without asking a name server for this machine's name."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def serve(self) -> None:
        """Answer until ``stop``; asleep while nobody asks, unlike ``serve_forever``."""
        while not self._stopped:
            self.handle_request()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, unless there are too many clients already."""
        if len(self._clients) >= MOST_CLIENTS:
            self.shutdown_request(request)
            return
        self._clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A client is done."""
        self._clients.discard(request)
        super().shutdown_request(request)

    def forget(self) -> None:
        """In a forked child: the port and the connections are the parent's, and stay open there."""
        self.socket.close()
        for each in list(self._clients):
            descriptor = each.detach()  # ``close`` would wait for the files of the handler, whose thread is gone
            if descriptor >= 0:
                os.close(descriptor)
        self._clients.clear()

    def stop(self) -> None:
        """Serve no more, now."""
        self._stopped = True
        with contextlib.suppress(OSError):
            socket.create_connection((ADDRESS, self.server_port), timeout=1.0).close()  # it waits for a client

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may disconnect: no traceback on the application's stderr."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = f"dbsight/{__version__}"
    sys_version = ""
    timeout = _TIMEOUT

    def do_GET(self) -> None:
        """Answer, if the client may ask."""
        if not _is_loopback(self.headers.get("Host", "")):
            self._refuse(403, "the Host header does not name the loopback interface")
            return
        parts = urlsplit(self.path)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if not (self._is_known(given.pop("token", "")) or self._is_linked(parts.path, given)):
            self._refuse(401, "the token is missing or wrong")
            return
        answer = self.server.answers.get(parts.path)
        if answer is None:
            self._refuse(404, "no such path")
            return
        try:
            kind, body = answer(given)
        except ValueError as error:
            self._refuse(400, str(error))
        except Exception:
            failed(f"serve {parts.path}")
            self._refuse(500, "internal error, which was logged")
        else:
            self._send(200, kind, body)

    def _is_known(self, given: str) -> bool:
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else given
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())

    def _is_linked(self, path: str, given: Mapping[str, str]) -> bool:
        """Whether the address is one that the toolbar gave away: it opens the page of its request alone."""
        key = key_of(self.server.token, given.get("id", ""))
        return path == PATH and hmac.compare_digest(given.get("key", "").encode("utf-8", "replace"), key.encode())

    def _refuse(self, status: int, why: str) -> None:
        self._send(status, *as_json({"error": why}))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")  # a page's address holds the token
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged: their address may hold the token."""


def _is_loopback(host: str) -> bool:
    """Whether a ``Host`` header names this machine; with any port, since one may be forwarded."""
    name, separator, port = host.rpartition(":")
    if not separator or not port.isdecimal():
        name = host
    return name.lower() in _HOSTS
