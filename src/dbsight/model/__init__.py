"""The records that cross rooms.

Immutable by convention: only the creator of a record writes to it. Those made for every query are plain
classes with slots (0.3 µs to make, against 2.5 µs for a frozen dataclass); those made for a finding are dataclasses.
Times are seconds (float) unless a name ends in ``_ns`` or the text says otherwise.
"""

import importlib
from typing import TYPE_CHECKING, Final

from dbsight.model.attributes import SharedAttributes, TextAttributes
from dbsight.model.blocking import Blocker
from dbsight.model.events import (
    BudgetEvent,
    CacheEvent,
    Event,
    LockEvent,
    Observation,
    OpenedBy,
    OrmEvent,
    OrmOperation,
    PoolEvent,
    PoolEventKind,
    PoolUse,
    PoolUses,
    TransactionEvent,
)
from dbsight.model.examples import Step, WindowExample
from dbsight.model.finding import (
    PRIORITY_OF,
    SEVERITIES,
    Category,
    Effort,
    Finding,
    MergedFinding,
    QueryClass,
    Severity,
    Verdict,
    WindowSummary,
)
from dbsight.model.loads import EagerLoad, LoadEvent
from dbsight.model.monitoring import PRIORITIES, Alert, AlertSeverity, Priority, Recommendation, RouteTotals
from dbsight.model.query import (
    CallSite,
    Database,
    DjangoQuery,
    Kind,
    Operation,
    Statement,
    operation_of,
)

if TYPE_CHECKING:
    from dbsight.model.plan import (
        ExplainedQuery,
        IndexAdvice,
        IndexReport,
        Plan,
        PlanIssue,
        PlanKind,
        PlanNode,
        PlanSummary,
        SuperfluousIndex,
    )
    from dbsight.model.pools import (
        Borrowing,
        Holder,
        Leak,
        PoolSample,
        PoolSnapshot,
        PoolState,
        PoolTotals,
    )
    from dbsight.model.totals import (
        CacheTotals,
        KindTotals,
        LockTotals,
        MemorySample,
        ModelTotals,
        OpenTransaction,
        RepeatedRead,
        SlowQuery,
        Snapshot,
        StatementTotals,
        TransactionTotals,
    )

__all__ = [
    "PRIORITIES",
    "PRIORITY_OF",
    "SEVERITIES",
    "Alert",
    "AlertSeverity",
    "Blocker",
    "Borrowing",
    "BudgetEvent",
    "CacheEvent",
    "CacheTotals",
    "CallSite",
    "Category",
    "Database",
    "DjangoQuery",
    "EagerLoad",
    "Effort",
    "Event",
    "ExplainedQuery",
    "Finding",
    "Holder",
    "IndexAdvice",
    "IndexReport",
    "Kind",
    "KindTotals",
    "Leak",
    "LoadEvent",
    "LockEvent",
    "LockTotals",
    "MemorySample",
    "MergedFinding",
    "ModelTotals",
    "Observation",
    "OpenTransaction",
    "OpenedBy",
    "Operation",
    "OrmEvent",
    "OrmOperation",
    "Plan",
    "PlanIssue",
    "PlanKind",
    "PlanNode",
    "PlanSummary",
    "PoolEvent",
    "PoolEventKind",
    "PoolSample",
    "PoolSnapshot",
    "PoolState",
    "PoolTotals",
    "PoolUse",
    "PoolUses",
    "Priority",
    "QueryClass",
    "Recommendation",
    "RepeatedRead",
    "RouteTotals",
    "Severity",
    "SharedAttributes",
    "SlowQuery",
    "Snapshot",
    "Statement",
    "StatementTotals",
    "Step",
    "SuperfluousIndex",
    "TextAttributes",
    "TransactionEvent",
    "TransactionTotals",
    "Verdict",
    "WindowExample",
    "WindowSummary",
    "operation_of",
]

_LATE: Final = {
    "ExplainedQuery": "plan",
    "IndexAdvice": "plan",
    "IndexReport": "plan",
    "Plan": "plan",
    "PlanIssue": "plan",
    "PlanKind": "plan",
    "PlanNode": "plan",
    "PlanSummary": "plan",
    "SuperfluousIndex": "plan",
    "Borrowing": "pools",
    "Holder": "pools",
    "Leak": "pools",
    "PoolSample": "pools",
    "PoolSnapshot": "pools",
    "PoolState": "pools",
    "PoolTotals": "pools",
    "CacheTotals": "totals",
    "KindTotals": "totals",
    "LockTotals": "totals",
    "MemorySample": "totals",
    "ModelTotals": "totals",
    "OpenTransaction": "totals",
    "RepeatedRead": "totals",
    "SlowQuery": "totals",
    "Snapshot": "totals",
    "StatementTotals": "totals",
    "TransactionTotals": "totals",
}
"""Records whose module is imported at their first use: these dataclasses would slow down every start."""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    return globals().setdefault(name, value)
