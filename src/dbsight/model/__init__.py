"""The records that cross rooms.

Immutable by convention: only the creator of a record writes to it. Those made for every query are plain
classes with slots (0.3 µs to make, against 2.5 µs for a frozen dataclass); those made for a finding are dataclasses.
Times are seconds (float) unless a name ends in ``_ns`` or the text says otherwise.
"""

from dbsight.model.attributes import SharedAttributes, TextAttributes
from dbsight.model.blocking import Blocker
from dbsight.model.events import (
    BudgetEvent,
    CacheEvent,
    Event,
    LockEvent,
    Observation,
    OrmEvent,
    OrmOperation,
    PoolEvent,
    PoolEventKind,
    PoolUse,
    PoolUses,
    TransactionEvent,
)
from dbsight.model.finding import (
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
from dbsight.model.monitoring import PRIORITIES, Alert, AlertSeverity, Priority, Recommendation, RouteTotals
from dbsight.model.plan import ExplainedQuery, IndexAdvice, Plan, PlanIssue, PlanKind, PlanNode, PlanSummary
from dbsight.model.pools import (
    Holder,
    Leak,
    PoolSample,
    PoolSnapshot,
    PoolState,
    PoolTotals,
)
from dbsight.model.query import (
    CallSite,
    Database,
    Kind,
    Operation,
    Statement,
)
from dbsight.model.totals import (
    CacheTotals,
    KindTotals,
    LockTotals,
    MemorySample,
    ModelTotals,
    OpenTransaction,
    SlowQuery,
    Snapshot,
    StatementTotals,
    TransactionTotals,
)

__all__ = [
    "PRIORITIES",
    "SEVERITIES",
    "Alert",
    "AlertSeverity",
    "Blocker",
    "BudgetEvent",
    "CacheEvent",
    "CacheTotals",
    "CallSite",
    "Category",
    "Database",
    "Effort",
    "Event",
    "ExplainedQuery",
    "Finding",
    "Holder",
    "IndexAdvice",
    "Kind",
    "KindTotals",
    "Leak",
    "LockEvent",
    "LockTotals",
    "MemorySample",
    "MergedFinding",
    "ModelTotals",
    "Observation",
    "OpenTransaction",
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
    "RouteTotals",
    "Severity",
    "SharedAttributes",
    "SlowQuery",
    "Snapshot",
    "Statement",
    "StatementTotals",
    "TextAttributes",
    "TransactionEvent",
    "TransactionTotals",
    "Verdict",
    "WindowSummary",
]
