"""The list of checks: a new one is a file in this folder and a line here; the checklist has a file per subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.cli.checks.application import Awaits, Batches, Caching, Leaks, Monitoring
from dbsight.cli.checks.caching import Expiry, HitRate, Invalidation, Layers, Warming
from dbsight.cli.checks.database import Health, Indexes, Pooling, SlowLog, Timeouts
from dbsight.cli.checks.distribution import Distribution
from dbsight.cli.checks.django import DjangoConnections, DjangoDebug, DjangoTransactions
from dbsight.cli.checks.engines import Engines
from dbsight.cli.checks.exporter import Exporter
from dbsight.cli.checks.habits import Benchmarks, Budgets, Profiling, QueryLogging, Regressions
from dbsight.cli.checks.ignored import Ignored
from dbsight.cli.checks.instrumented import Instrumented
from dbsight.cli.checks.pools import IdleTransactions, PoolTimeout, Recycling, Sizing, Workload
from dbsight.cli.checks.redis_pools import RedisCleanup, RedisHealth, RedisLazy, RedisSharing
from dbsight.cli.checks.sampler import SamplerCheck
from dbsight.cli.checks.settings import SettingsCheck
from dbsight.cli.checks.spans import Spans
from dbsight.cli.checks.switches import Switches
from dbsight.cli.checks.twice import Twice
from dbsight.cli.checks.versions import Versions

if TYPE_CHECKING:
    from dbsight.cli.check import Check

CHECKS: tuple[type[Check], ...] = (
    Versions,
    Distribution,
    Switches,
    SettingsCheck,
    Instrumented,
    Twice,
    SamplerCheck,
    Exporter,
    Spans,
    Engines,
    Ignored,
    *(Pooling, Indexes, Timeouts, Health, SlowLog),
    *(Caching, Batches, Awaits, Leaks, Monitoring),
    *(HitRate, Expiry, Invalidation, Layers, Warming),
    *(Sizing, PoolTimeout, Recycling, IdleTransactions, Workload),
    *(RedisSharing, RedisLazy, RedisCleanup, RedisHealth),
    *(DjangoConnections, DjangoTransactions, DjangoDebug),
    *(Profiling, Benchmarks, Budgets, Regressions, QueryLogging),
)
