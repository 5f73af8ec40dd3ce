"""Requests every fault and its twin over HTTP, as a visitor would."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbsight.demo.fault import Fault

_TIMEOUT = 60.0  # s; a database may be far slower than the limits that it is measured by


@dataclass(frozen=True, slots=True)
class Visit:
    """One fault and its twin, requested once each.

    Attributes:
        fault: Which.
        status: HTTP status of the faulty handler.
        duration: s, as the client saw it.
        fixed_status: HTTP status of the twin.
        fixed_duration: s.
        same: Whether both answered the same.
    """

    fault: Fault
    status: int
    duration: float
    fixed_status: int
    fixed_duration: float
    same: bool

    @property
    def failed(self) -> bool:
        """Whether one of them did not answer as it should."""
        return not (self.status == self.fixed_status == httpx.codes.OK and self.same)


def visit(address: str, faults: Sequence[Fault], rounds: int = 1) -> Iterator[Visit]:
    """Request every fault and its twin, one after the other.

    Args:
        address: Where the shop is served.
        faults: Which.
        rounds: How often.

    Raises:
        httpx.HTTPError: The shop cannot be reached, or did not answer within 60 s.
    """
    # A proxy in the environment knows nothing of loopback; uvicorn hangs up without a word after an answer of 500.
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=address, timeout=_TIMEOUT, trust_env=False, limits=limits) as client:
        for _ in range(rounds):
            for fault in faults:
                answer, duration = _request(client, fault.method, fault.path)
                fixed_answer, fixed_duration = _request(client, fault.method, fault.fixed_path)
                same = answer.content == fixed_answer.content
                yield Visit(fault, answer.status_code, duration, fixed_answer.status_code, fixed_duration, same)


def _request(client: httpx.Client, method: str, path: str) -> tuple[httpx.Response, float]:
    start = time.perf_counter()
    response = client.request(method, path)
    return response, time.perf_counter() - start


def table(visits: Iterable[Visit]) -> Iterator[str]:
    """What was requested, a line a visit, each as soon as it is over."""
    yield f"{'request':<18}{'fault':<20}{'status':>6}{'ms':>9}   {'twin':>6}{'ms':>9}"
    for seen in visits:
        fault = seen.fault
        line = f"{fault.method + ' ' + fault.path:<18}{fault.name:<20}{seen.status:>6}{seen.duration * 1e3:>9.1f}"
        twin = f"{seen.fixed_status:>6}{seen.fixed_duration * 1e3:>9.1f}"
        yield f"{line}   {twin}{'' if seen.same else '   differs'}"
