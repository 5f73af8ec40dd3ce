"""What processes report at their endpoints, read again and again: totals, and the latest units of work."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from dbsight.report import json as saved
from dbsight.serve.client import EndpointError, NotReachable, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.model import Snapshot, StatementTotals
    from dbsight.serve import Process

RECENT: Final = 60.0
"""s; rates are of so long."""
KEPT: Final = 5000
"""Units of work that are kept of each process: percentiles are of these."""
MOST_ENDED: Final = 100
"""Processes that have ended and whose totals still count."""
_COUNTS_EVERY: Final = 5.0  # s
_ENOUGH: Final = 10.0
"""s that a process was watched, from which on the rates of statements are of the time watched."""
_AT_ONCE: Final = 8
"""Processes that are asked at the same time."""

State = Literal["serving", "silent", "ended", "unreadable"]


class Ended(NamedTuple):
    """A unit of work that is over.

    Attributes:
        at: s since the epoch.
        route: ``GET /orders``.
        duration: s.
        calls: Queries.
        db_time: s in the database.
        queries: Fingerprint and count of the statements with the most time.
    """

    at: float
    route: str
    duration: float
    calls: int
    db_time: float
    queries: tuple[tuple[str, int], ...]


@dataclass
class Worker:
    """One process that is watched.

    Attributes:
        process: Where it serves.
        state: ``silent``: it did not answer the latest time; ``unreadable``: it never can be read.
        said: Why it is silent or unreadable, a sentence.
        service: Its ``service.name``.
        pid: Process id, as it says itself; its port may be forwarded from another machine.
        parent: Process id of its parent, 0 if unknown.
        started: s since the epoch; when it began to serve.
        now: s since the epoch, by its own clock, at the latest reading.
        snapshot: Its totals, None before the first reading.
        units: The latest units of work, oldest first.
        last_seen: By id of a finding, when it was seen the last time, s since the epoch; as far as units of work tell.
        missed: Units of work that ended between two readings and were not kept.
        due: When it may be asked again, by ``perf_counter``.
    """

    process: Process
    state: State = "serving"
    said: str = ""
    service: str = ""
    pid: int = 0
    parent: int = 0
    started: float = 0.0
    now: float = 0.0
    snapshot: Snapshot | None = None
    units: deque[Ended] = field(default_factory=lambda: deque(maxlen=KEPT))
    last_seen: dict[str, float] = field(default_factory=dict)
    missed: int = 0
    due: float = 0.0
    _next: int = 0
    _counts: deque[tuple[float, Counter[tuple[str, str]]]] = field(default_factory=deque)

    def read(self, spare: float = 0.0) -> None:
        """Ask once; ``state`` says how that went.

        Args:
            spare: It is not asked again before so many times the time that it took to answer.
        """
        began = perf_counter()
        try:
            page = ask(self.process, f"/api/v1/requests?since={self._next}")
            totals = ask(self.process, "/api/v1/snapshot?brief=1")
            self._take(page, totals)
        except NotReachable as error:
            self.state, self.said = ("silent" if error.slow else "ended"), str(error)
        except (EndpointError, ValueError) as error:  # ValueError: a newer schema of the report
            self.state, self.said = "unreadable", str(error)
        except Exception as error:  # whatever else an answer can lack: the others are watched on
            self.state = "unreadable"
            self.said = f"{self.process.url} answers what this version cannot read: {type(error).__name__} {error}"
        else:
            self.state, self.said = "serving", ""
        self.due = began + spare * (perf_counter() - began)

    def rates(self) -> Callable[[StatementTotals], float]:
        """What returns the executions of a statement per second: in the last minute, as far as it was watched.

        Before it was watched for a while, they are those of the units of work that ended in the last minute.
        """
        at, counts = self._counts[-1] if self._counts else (0.0, Counter())
        then, before = self._counts[0] if self._counts else (0.0, Counter())
        if at - then >= _ENOUGH:
            return lambda totals: max(0, counts[_key(totals)] - before[_key(totals)]) / (at - then)
        over, older = self.recent
        ended: Counter[str] = Counter()
        for unit in islice(self.units, older, None):
            ended.update(dict(unit.queries))
        return lambda totals: ended[totals.statement.fingerprint] / over

    @property
    def recent(self) -> tuple[float, int]:
        """The latest seconds that rates of units of work are of, and how many of the kept ones ended before them."""
        begin = max(self.now - RECENT, self.started)
        if self.units and (len(self.units) == KEPT or (self.units[0].at > begin and self._next > len(self.units))):
            begin = max(begin, self.units[0].at)  # those before it are not kept
        older = sum(unit.at < begin for unit in self.units)
        return max(1.0, self.now - begin), older

    def _take(self, page: dict[str, Any], totals: dict[str, Any]) -> None:
        about = totals["process"]
        snapshot = saved.from_document(totals["report"], self.process.url)
        self.missed += page["missed"]
        for each in page["requests"]:
            at = each["start"] + each["duration"]
            queries = tuple((query["fingerprint"], query["count"]) for query in each["queries"])
            self.units.append(Ended(at, each["route"], each["duration"], each["calls"], each["db_time"], queries))
            for found in each["findings"]:
                self.last_seen[found["id"]] = max(at, self.last_seen.get(found["id"], 0.0))
        self._next = page["next"]
        self.service, self.pid, self.parent = about["service"], about["pid"], about["parent"]
        self.started, self.now = about["started"], about["now"]
        known = {merged.finding.id for merged in snapshot.findings}
        self.last_seen = {identity: at for identity, at in self.last_seen.items() if identity in known}
        self.snapshot = snapshot
        counts = Counter({_key(each): each.count for each in snapshot.statements})
        if len(self._counts) > 1 and self.now - self._counts[-2][0] < _COUNTS_EVERY:
            self._counts.pop()
        self._counts.append((self.now, counts))
        while len(self._counts) > 2 and self.now - self._counts[0][0] > RECENT:
            self._counts.popleft()


def _key(totals: StatementTotals) -> tuple[str, str]:
    return totals.statement.fingerprint, totals.database.key


class Watch:
    """All processes that are watched.

    Args:
        find: Returns the processes that serve now; called at each reading, so that new ones appear.
        spare: A process is not asked again before so many times the time that it took to answer: 20 takes 5 % of its
            time at most.

    Attributes:
        workers: In the order in which they were found; those that have ended stay.
        first_seen: By id of a finding, when it was first seen while this watched, s since the epoch; those that were
            there at the first reading are not in it.
    """

    def __init__(self, find: Callable[[], Sequence[Process]], *, spare: float = 20.0) -> None:
        self._find = find
        self._spare = spare
        self._by_token: dict[str, Worker] = {}
        self._counted: dict[str, int] | None = None
        self.first_seen: dict[str, float] = {}
        self._last_seen: dict[str, float] = {}

    @property
    def workers(self) -> list[Worker]:
        """Of each start of each process, one."""
        return list(self._by_token.values())

    def read(self) -> None:
        """Look for processes, and ask each of them once. Never raises for a process that does not answer."""
        found = self._find()
        for process in found:
            self._by_token.setdefault(process.token, Worker(process))
        listed = {process.token for process in found}
        now = perf_counter()
        asked = [
            worker
            for token, worker in self._by_token.items()
            # One that is not listed any more has ended, as a rule: its end is shown at once.
            if worker.state in {"serving", "silent"} and (worker.due <= now or token not in listed)
        ]
        if asked:
            with ThreadPoolExecutor(min(len(asked), _AT_ONCE)) as threads:
                list(threads.map(lambda worker: worker.read(self._spare), asked))
        for worker in asked:
            if worker.state == "silent" and worker.process.token not in listed:
                worker.state = "ended"
        over = [token for token, worker in self._by_token.items() if worker.state == "ended"]
        for token in over[:-MOST_ENDED]:
            del self._by_token[token]
        self._see_findings()

    def last_seen(self, identity: str) -> float:
        """When a finding was seen the last time, s since the epoch; 0 if unknown."""
        return max((worker.last_seen.get(identity, 0.0) for worker in self.workers), default=0.0) or (
            self._last_seen.get(identity, 0.0)
        )

    def _see_findings(self) -> None:
        counted: Counter[str] = Counter()
        for worker in self.workers:
            for merged in worker.snapshot.findings if worker.snapshot is not None else ():
                counted[merged.finding.id] += merged.count
        now = time()
        if self._counted is not None:
            for identity, number in counted.items():
                before = self._counted.get(identity, 0)
                if not before:
                    self.first_seen.setdefault(identity, now)
                if number > before:
                    self._last_seen[identity] = now
        if self._counted is not None or counted or self._by_token:
            self._counted = dict(counted)
        self.first_seen = {identity: at for identity, at in self.first_seen.items() if identity in counted}
        self._last_seen = {identity: at for identity, at in self._last_seen.items() if identity in counted}
