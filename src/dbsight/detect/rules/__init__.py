"""The list of rules: a new one is a file in this folder and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.detect.rules.async_engine_sync_pool import AsyncEngineSyncPool
from dbsight.detect.rules.bad_plan import BadPlan
from dbsight.detect.rules.blocking_call import BlockingCall
from dbsight.detect.rules.budget_exceeded import BudgetExceeded
from dbsight.detect.rules.cache_miss import CacheMiss
from dbsight.detect.rules.cacheable_query import CacheableQuery
from dbsight.detect.rules.client_side_filter import ClientSideFilter
from dbsight.detect.rules.concurrency_over_pool import ConcurrencyOverPool
from dbsight.detect.rules.connection_growth import ConnectionGrowth
from dbsight.detect.rules.connection_leak import ConnectionLeak
from dbsight.detect.rules.duplicate_pools import DuplicatePools
from dbsight.detect.rules.error_burst import ErrorBurst
from dbsight.detect.rules.es_query_context import EsQueryContext
from dbsight.detect.rules.fan_out import FanOut
from dbsight.detect.rules.hot_table import HotTable
from dbsight.detect.rules.invalidation_storm import InvalidationStorm
from dbsight.detect.rules.lock_contention import LockContention
from dbsight.detect.rules.lock_fixed_retry import LockFixedRetry
from dbsight.detect.rules.lock_leak import LockLeak
from dbsight.detect.rules.long_transaction import LongTransaction
from dbsight.detect.rules.memory_growth import MemoryGrowth
from dbsight.detect.rules.memory_spike import MemorySpike
from dbsight.detect.rules.missing_index import MissingIndex
from dbsight.detect.rules.n_plus_one import NPlusOne
from dbsight.detect.rules.over_fetch import OverFetch
from dbsight.detect.rules.pool_churn import PoolChurn
from dbsight.detect.rules.pool_profile_mismatch import PoolProfileMismatch
from dbsight.detect.rules.pool_role_size import PoolRoleSize
from dbsight.detect.rules.pool_wait import PoolWait
from dbsight.detect.rules.redis_chatter import RedisChatter
from dbsight.detect.rules.redundant_query import RedundantQuery
from dbsight.detect.rules.regression import Regression
from dbsight.detect.rules.retry_storm import RetryStorm
from dbsight.detect.rules.rollback_rate import RollbackRate
from dbsight.detect.rules.row_by_row_write import RowByRowWrite
from dbsight.detect.rules.serial_awaits import SerialAwaits
from dbsight.detect.rules.serial_writes import SerialWrites
from dbsight.detect.rules.session_leak import SessionLeak
from dbsight.detect.rules.slow_consumer import SlowConsumer
from dbsight.detect.rules.slow_query import SlowQuery
from dbsight.detect.rules.text_smell import TextSmell
from dbsight.detect.rules.unbounded_fetch import UnboundedFetch
from dbsight.detect.rules.unprepared_repeat import UnpreparedRepeat
from dbsight.detect.rules.unused_eager_load import UnusedEagerLoad
from dbsight.detect.rules.write_heavy import WriteHeavy

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.detect.rule import Rule

RULES: tuple[type[Rule], ...] = (
    SlowQuery,
    MissingIndex,
    BadPlan,
    Regression,
    NPlusOne,
    RedundantQuery,
    RowByRowWrite,
    TextSmell,
    UnpreparedRepeat,
    FanOut,
    SerialAwaits,
    SerialWrites,
    UnboundedFetch,
    MemorySpike,
    UnusedEagerLoad,
    OverFetch,
    ClientSideFilter,
    RetryStorm,
    ErrorBurst,
    BudgetExceeded,
    RedisChatter,
    EsQueryContext,
    CacheMiss,
    CacheableQuery,
    InvalidationStorm,
    ConnectionGrowth,
    PoolRoleSize,
    LockLeak,
    LockFixedRetry,
    LockContention,
    PoolWait,
    ConcurrencyOverPool,
    PoolProfileMismatch,
    ConnectionLeak,
    SessionLeak,
    LongTransaction,
    SlowConsumer,
    BlockingCall,
    DuplicatePools,
    PoolChurn,
    RollbackRate,
    AsyncEngineSyncPool,
    MemoryGrowth,
    WriteHeavy,
    HotTable,
)


def make_rules(settings: Settings) -> list[Rule]:
    """Instantiate the rules that the setting ``rules`` enables, in the order of the list."""
    return [rule(settings) for rule in RULES if settings.rule_enabled(rule.name)]
