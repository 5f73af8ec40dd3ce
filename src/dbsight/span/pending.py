"""One query from its call until its span is built: filled in place, worked off in the drain with others."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final

from dbsight import recording, scope
from dbsight.model import Operation
from dbsight.safety import failed
from dbsight.statement.parameters import VALUES_MATTER, frozen, hash_parameters, separate_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight.model import Verdict
    from dbsight.recording import Queue
    from dbsight.span.factory import Begin, PendingSpan, SpanFactory
    from dbsight.span.template import SpanTemplate


_NOTHING: Final[frozenset[str]] = frozenset()
COMPLETED: Final[dict[str, Any]] = {}
"""What ``rare`` is from then on."""


class PendingQuery(Operation):
    """A query or command that runs, or is over and not drained yet; drained, it is the operation that rules see.

    Slots, all of them filled at once: what stands on the class until it is set costs a search each time it is read. The
    instrumentor fills those of ``Operation`` that are known in place, ``complete`` the rest.

    Attributes:
        factory: Makes its span.
        template: What its span shares with others.
        began: When the call began, on ``perf_counter``, s.
        current: The OpenTelemetry context that it was called in; deleted in the drain.
        queue: Takes it when it is over; None where it has to be drained at once.
        parameters: A copy of the bound values, until the drain hashes them; None where they were hashed at once.
        parameters_hash: Salted hash of the bound values, which ``parameters`` is from the drain on.
        rare: Values of slots that hardly any query has, which the drain fills; None where it has none.
        extra: Attributes that hardly any other has.
        profiles: The profiles that were open when it began.
        over: Its last driver call returned.
        own_span: No other instrumentation makes its span.
    """

    factory: SpanFactory
    template: SpanTemplate
    began: float
    current: Context
    queue: Queue | None
    parameters: Any
    parameters_hash: int | None
    rare: Mapping[str, Any] | None
    extra: Mapping[str, Any] | None
    profiles: tuple[Any, ...]
    over: bool
    own_span: bool

    # Those of another instrumentation are no pending queries.
    foreign = cursor = False

    __slots__ = (
        "began",
        "current",
        "extra",
        "factory",
        "over",
        "own_span",
        "parameters_hash",
        "profiles",
        "queue",
        "rare",
        "template",
    )

    def __init__(self) -> None:
        self.parent = self.queue = self.call_site = self.parameters = self.parameters_hash = self.values = None
        self.pool = self.rows = self.affected = self.error_type = self.error_code = self.extra = self.rare = None
        self.end_ns = self.thread = self.batch_size = 0
        self.duration = self.pool_wait = self.connect_time = 0.0
        self.allowed = _NOTHING
        self.profiles = ()
        self.over = False
        self.own_span = True

    def end(self) -> None:
        """It is over: leave it with its queue, or drain it. Never raises."""
        self.over = True
        queue = self.queue
        if queue is None or not queue.append(self):
            self.flush_all((self,))

    def keep_parameters(self, parameters: Any) -> None:
        """Keep small values that the application cannot change until the drain; hash others at once.

        Args:
            parameters: As the driver gets them.
        """
        self.parameters = frozen(parameters)
        if self.parameters is None:
            self._hash(parameters)

    def _hash(self, parameters: Any) -> None:
        statement = self.statement
        self.parameters_hash = hash_parameters(parameters)
        if statement.limit is not None or statement.offset or statement.kind in VALUES_MATTER:
            self.values = separate_values(parameters)

    def is_located(self, factory: SpanFactory) -> bool:
        """Whether it is watched at all; note where its span belongs, where that is not as for the latest query."""
        self.queue = None
        self.profiles = ()
        located = factory.locate(self)
        if scope.profiling:
            self.have(profiles=self.profiles)
        return located

    def have(self, **values: Any) -> None:
        """Note values of slots that hardly any query has: what is filled in place for all costs all of them."""
        self.rare = {**self.rare, **values} if self.rare else values

    def noted(self, name: str) -> Any:
        """A value that was noted by ``have``, None where it was not."""
        return self.rare.get(name) if self.rare else None

    def add(self, attributes: Mapping[str, Any]) -> None:
        """Give its span attributes that hardly any other has."""
        self.have(extra={**(self.noted("extra") or {}), **attributes})

    def __repr__(self) -> str:
        # Debuggers and error trackers show what runs, whose slots are not all filled.
        return f"{type(self).__name__}({getattr(self, 'statement', None)!r})"

    # -- In the drain -------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Fill in what the record does not have yet, but for its context and its origin; once."""
        if self.rare is not COMPLETED:
            self.fetch_time = 0.0
            self.flush = 0
            self.autoflush = self.asynchronous = self.blocked_loop = self.measured = self.streamed = False
            self.relationship = self.load = self.entity = self.model = self.to_many = self.django = None
            self.replay = self.blocker = None
            self.fill()

    def fill(self) -> None:
        """The last step of ``complete``: fill the slots of what was noted, and hash values that were kept until now."""
        if self.rare:
            for name, value in self.rare.items():
                setattr(self, name, value)
        self.rare = COMPLETED
        if self.parameters is not None:
            self._hash(self.parameters)
        self.parameters = self.parameters_hash

    @classmethod
    def complete_all(cls, records: Sequence[Self], /) -> None:
        """Complete records that are drained together."""
        for record in records:
            record.complete()

    def other_span(self) -> tuple[PendingSpan, SpanContext | None]:
        """What stands for its span where another instrumentation makes it, and that one's context."""
        return self.factory.no_span(), None

    @classmethod
    def reported(cls, records: Sequence[Self], /) -> None:
        """Their spans were handed on: do what else depends on the operations. Never raises."""

    def settle(self, verdict: Verdict | None) -> None:
        """Hand on the span that another instrumentation made."""

    @classmethod
    def flush_all(cls, records: Sequence[Self]) -> None:
        """Complete, publish and report records in the order of their ends. Never raises."""
        try:
            cls.complete_all(records)
            decided = decide(records)
            verdicts = recording.publish_all(records) or (None,) * len(records)
        except Exception:
            failed("span.flush_all")
            if len(records) > 1:
                for record in records:
                    cls.flush_all((record,))
            return
        built: list[ReadableSpan] = []
        latest: PendingSpan | None = None
        for record, pending, verdict in zip(records, decided, verdicts, strict=True):
            del record.current  # what belongs to the request is not kept alive longer than it
            record.queue = None
            try:
                if record.own_span:
                    if built and latest is not None and pending.tracer is not latest.tracer:
                        latest.hand_over(built)
                        built = []
                    latest = pending
                    if pending.tracer is not None or pending.span is not None:
                        span = pending.factory.sdk_path.emit(pending, record, verdict, record.template)
                        if span is not None:
                            built.append(span)
                else:
                    record.settle(verdict)
                if record.profiles:
                    profiles, record.profiles = record.profiles, ()
                    for profile in profiles:
                        profile.add(record, record.extra)
                record.extra = None
            except Exception:
                failed("span.flush_all")
        if built and latest is not None:
            latest.hand_over(built)
        cls.reported(records)


def decide(records: Sequence[PendingQuery]) -> list[PendingSpan]:
    """Decide about the spans of completed records of one class, and set their contexts and origins."""
    decided = []
    begin: Begin | None = None
    factory: SpanFactory | None = None
    parent: SpanContext | None = None
    for record in records:
        if begin is None or record.parent is not parent or record.factory is not factory:  # most have the same
            parent, factory = record.parent, record.factory
            begin = factory.spans_below(parent)
        pending, record.context = begin(record) if record.own_span else record.other_span()
        record.origin = pending.origin
        if record.extra and (pending.tracer is not None or pending.span is not None):
            pending = copy(pending)
            pending.extra = {**pending.extra, **record.extra}
        decided.append(pending)
    return decided
