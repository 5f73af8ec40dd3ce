"""Reads the endpoint of a process: one request, one answer, and one sentence for each way in which that can fail."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from dbsight.serve.processes import PROTOCOL, Process, processes
from dbsight.version import __version__

TIMEOUT: Final = 5.0  # s
_LARGEST: Final = 64_000_000
"""Bytes of an answer that are read; the largest report has 12 MB."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class EndpointError(Exception):
    """A process does not answer as it should; the message is one sentence."""


class NotReachable(EndpointError):  # noqa: N818 - a state, as in ConnectionRefused
    """There is no answer now: the process has ended, never served, or is busy.

    Attributes:
        slow: It may answer later: it accepted the connection, but was too slow or too busy.
    """

    def __init__(self, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.slow = slow


def ask(process: Process, path: str, *, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Send one request to a process.

    Args:
        process: Where it serves, and its token.
        path: Such as ``/api/v1/snapshot``.
        timeout: s that each step may take.

    Returns:
        The answer; its field ``process`` describes the process.

    Raises:
        NotReachable: Nothing listens there, there is no answer in time, or the process reports an error of its own.
        EndpointError: The token is wrong, or the protocol is another one.
    """
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {process.token}", "Connection": "close"}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        status, content = answer.status, answer.read(_LARGEST)
    except TimeoutError as error:
        raise NotReachable(f"{_name(process)} does not answer within {timeout:g} s", slow=True) from error
    except ConnectionRefusedError as error:
        raise NotReachable(f"nothing answers at {process.url}: {_ended(process)}") from error
    except OSError as error:
        raise NotReachable(f"{_name(process)} does not answer: {error}", slow=True) from error
    except (http.client.HTTPException, ValueError) as error:
        raise EndpointError(f"{process.url} is no endpoint of dbsight: it does not speak HTTP") from error
    finally:
        connection.close()
    if status == 401:
        raise EndpointError(
            f"{_name(process)} refuses the token: each start of a process has a new one, which `dbsight serve` shows"
        )
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if status not in {200, 404}:
        said = body.get("error", "") if isinstance(body, dict) else ""
        message = f"{_name(process)} answers with status {status}{said and f': {said}'}"
        raise NotReachable(message, slow=True) if status >= 500 else EndpointError(message)
    about = body.get("process") if isinstance(body, dict) else None
    if status == 404 or not isinstance(about, dict) or about.get("protocol") != PROTOCOL:
        raise EndpointError(_other_version(process, about if isinstance(about, dict) else {}))
    return dict(body)


def find(url: str) -> Process:
    """The process at a URL: with the token in its parameter ``token``, or with that of this user's process there.

    Raises:
        ValueError: It is no address of the loopback interface, or no token is known for it.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK or port is None:
        raise ValueError(f"{url} is not http://127.0.0.1:PORT: forward a port of another machine with `ssh -L`")
    known = next((process for process in processes() if process.port == port), None)
    given = parse_qs(parts.query).get("token", [""])[-1]
    if known is not None and given in {"", known.token}:
        return known
    if given:
        return Process(port, port, 0, given)  # such as a port that is forwarded from another machine
    raise ValueError(f"no process of this user serves at port {port}: start it with OTEL_DBSIGHT_SERVE={port}")


def _name(process: Process) -> str:
    return f"process {process.pid} at {process.url}" if process.pid else process.url


def _ended(process: Process) -> str:
    return f"process {process.pid} has ended" if process.pid else "the process has ended, or never served"


def _other_version(process: Process, about: dict[str, Any]) -> str:
    """The sentence about a process of another version."""
    version = about.get("dbsight")
    runs = f"runs dbsight {version}" if version else "runs another version of dbsight"
    protocol = about.get("protocol", process.protocol)
    newer = isinstance(protocol, int) and protocol > PROTOCOL
    where = "here" if newer else "in the process"
    return f"{_name(process)} {runs}, which dbsight {__version__} cannot read: upgrade dbsight {where}"
