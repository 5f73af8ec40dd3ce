"""One query from its call until its span is built: filled in place, worked off in the drain with others."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from dbsight import recording
from dbsight.model import operation_of
from dbsight.safety import failed
from dbsight.statement.parameters import VALUES_MATTER, frozen, hash_parameters, separate_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight.model import CallSite, Database, Operation, Statement, Verdict
    from dbsight.recording import Queue
    from dbsight.span.factory import Begin, PendingSpan, SpanFactory
    from dbsight.span.template import SpanTemplate


_NOTHING: frozenset[str] = frozenset()


class PendingQuery:
    """A query or command that runs, or is over and not drained yet.

    Slots, all of them filled at once: what stands on the class until it is set costs a search each time it is read.

    Attributes:
        factory: Makes its span.
        template: What its span shares with others.
        statement: What runs.
        database: Where.
        start_ns: When the call began, ns since the epoch.
        began: The same on ``perf_counter``, s.
        end_ns: When its last driver call returned, ns since the epoch.
        duration: s inside driver calls.
        current: The OpenTelemetry context that it was called in.
        parent: Parent of its span, None where there is none.
        queue: Takes it when it is over; None where it has to be drained at once.
        thread: Identity of the thread.
        allowed: Rules allowed when it ran.
        call_site: The line of the application.
        parameters: A copy of the bound values, until the drain hashes them; None where they were hashed at once.
        parameters_hash: Salted hash of the bound values.
        values: The same of each one, where the statement's limit or its kind makes them matter.
        extra: Attributes that hardly any other has.
        profiles: The profiles that were open when it began.
        over: Its last driver call returned.
        own_span: No other instrumentation makes its span.
    """

    factory: SpanFactory
    template: SpanTemplate
    statement: Statement
    database: Database
    start_ns: int
    began: float
    end_ns: int
    duration: float
    current: Context
    parent: SpanContext | None
    queue: Queue | None
    thread: int
    allowed: frozenset[str]
    call_site: CallSite | None
    parameters: Any
    parameters_hash: int | None
    values: Mapping[object, int] | None
    pool: str | None
    pool_wait: float
    connect_time: float
    rows: int | None
    batch_size: int
    error_type: str | None
    error_code: str | None
    extra: Mapping[str, Any] | None
    profiles: tuple[Any, ...]
    over: bool
    own_span: bool

    __slots__ = (
        "allowed",
        "batch_size",
        "began",
        "call_site",
        "connect_time",
        "current",
        "database",
        "duration",
        "end_ns",
        "error_code",
        "error_type",
        "extra",
        "factory",
        "over",
        "own_span",
        "parameters",
        "parameters_hash",
        "parent",
        "pool",
        "pool_wait",
        "profiles",
        "queue",
        "rows",
        "start_ns",
        "statement",
        "template",
        "thread",
        "values",
    )

    def __init__(self) -> None:
        self.parent = self.queue = self.call_site = self.parameters = self.parameters_hash = self.values = None
        self.pool = self.rows = self.error_type = self.error_code = self.extra = None
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

    def operation(self) -> Operation:
        """As a record of ``dbsight.model``, but for its context and its origin. Called once, in the drain."""
        if self.parameters is not None:
            self._hash(self.parameters)
            self.parameters = None  # freed: values are not kept longer than needed
        operation = operation_of(self)
        operation.parameters = self.parameters_hash
        operation.values = self.values
        return operation

    @classmethod
    def operations(cls, records: Sequence[Self], /) -> list[Operation]:
        """The operations of records that are drained together."""
        return [record.operation() for record in records]

    def other_span(self) -> tuple[PendingSpan, SpanContext | None]:
        """What stands for its span where another instrumentation makes it, and that one's context."""
        return self.factory.no_span(), None

    @classmethod
    def reported(cls, records: Sequence[Self], operations: Sequence[Operation], /) -> None:
        """Their spans were handed on: do what else depends on the operations. Never raises."""

    def settle(self, operation: Operation, verdict: Verdict | None) -> None:
        """Hand on the span that another instrumentation made."""

    @classmethod
    def flush_all(cls, records: Sequence[Self]) -> None:
        """Complete, publish and report records in the order of their ends. Never raises."""
        try:
            completed = complete(records)
            verdicts = recording.publish_all([operation for _, operation in completed]) or (None,) * len(completed)
        except Exception:
            failed("span.flush_all")
            if len(records) > 1:
                for record in records:
                    cls.flush_all((record,))
            return
        built: list[ReadableSpan] = []
        latest: PendingSpan | None = None
        for record, (pending, operation), verdict in zip(records, completed, verdicts, strict=True):
            del record.current  # what belongs to the request is not kept alive longer than it
            record.queue = None
            try:
                if record.own_span:
                    if built and latest is not None and pending.tracer is not latest.tracer:
                        latest.hand_over(built)
                        built = []
                    latest = pending
                    if pending.tracer is not None or pending.span is not None:
                        span = pending.factory.sdk_path.emit(pending, operation, verdict, record.template)
                        if span is not None:
                            built.append(span)
                else:
                    record.settle(operation, verdict)
                for profile in record.profiles:
                    profile.add(operation, record.extra)
            except Exception:
                failed("span.flush_all")
        if built and latest is not None:
            latest.hand_over(built)
        cls.reported(records, [operation for _, operation in completed])


def complete(records: Sequence[PendingQuery]) -> list[tuple[PendingSpan, Operation]]:
    """Decide about the spans of records of one class, and make their operations."""
    completed = []
    begin: Begin | None = None
    factory: SpanFactory | None = None
    parent: SpanContext | None = None
    for record, operation in zip(records, type(records[0]).operations(records), strict=True):
        if begin is None or record.parent is not parent or record.factory is not factory:  # most have the same
            parent, factory = record.parent, record.factory
            begin = factory.spans_below(parent)
        pending, operation.context = begin(record) if record.own_span else record.other_span()
        operation.origin = pending.origin
        if record.extra and (pending.tracer is not None or pending.span is not None):
            pending = copy(pending)
            pending.extra = {**pending.extra, **record.extra}
        completed.append((pending, operation))
    return completed
