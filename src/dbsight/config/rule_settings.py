"""The settings of the rules: what they compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from dbsight.config import parsers
from dbsight.config.general_settings import GeneralSettings, setting
from dbsight.config.parsers import Parser, choice, whole
from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Mapping

PoolProfileName = Literal["read", "write", "mixed", "high-performance", "memory-optimized"]

_POOL_PROFILE: Final[Parser[PoolProfileName]] = choice(
    ("read", "write", "mixed", "high-performance", "memory-optimized")
)


@record(frozen=True, kw_only=True)
class RuleSettings(GeneralSettings):
    """The part of ``Settings`` that rules read."""

    slow_query_threshold: float = setting(
        1.0,
        "Report SQL queries that take at least this long as slow (severity warning).",
        parsers.duration,
        theme="Slow queries",
        overridable=True,
    )
    very_slow_query_threshold: float = setting(
        5.0,
        "Report SQL queries that take at least this long as very slow (severity error).",
        parsers.duration,
        overridable=True,
    )
    slow_query_thresholds: Mapping[str, tuple[float, ...]] = setting(
        {"redis": (0.05, 0.25), "s3": (2.0, 10.0), "elasticsearch": (0.5, 2.0, 5.0, 10.0)},
        "Slow and very slow thresholds per database system, or four thresholds for trace, debug, info and warn;"
        " systems that are not named keep their defaults.",
        parsers.ladders,
    )

    rules: tuple[str, ...] = setting(
        ("all",), "Enabled rules; prefix a rule with `-` to disable it.", parsers.rules, theme="Rules", overridable=True
    )
    n_plus_one_threshold: int = setting(
        5, "Report an N+1 as a warning from this number of repetitions of one query.", whole(2), overridable=True
    )
    row_by_row_write_threshold: int = setting(
        5, "Report row-by-row writes from this number of rows written from one place.", whole(2), overridable=True
    )
    redundant_query_threshold: int = setting(
        3, "Report a query that is repeated with the same parameters from this number of executions on.", whole(2)
    )
    redundant_query_warning_threshold: int = setting(
        5, "A query that is repeated with the same parameters is a warning from this number of executions on.", whole(2)
    )
    write_batch_size: int = setting(500, "Suggest to write this many rows at a time.", whole(1))
    write_stream_threshold: int = setting(
        1000, "Suggest to stream the rows in parallel batches from this number of rows written one by one.", whole(1)
    )
    max_rows_threshold: int = setting(
        10_000,
        "Report a query without LIMIT or streaming that fetches more rows than this.",
        whole(1),
        overridable=True,
    )
    max_rows_error_factor: float = setting(
        10.0,
        "A query without LIMIT or streaming is an error from this many times `max_rows_threshold` on.",
        parsers.number,
    )
    watch_reads: bool = setting(
        False,
        "Watch which attributes of the objects that an ORM loaded are read, for the rules `unused_eager_load`,"
        " `over_fetch` and `client_side_filter`. For development: each read takes longer.",
        parsers.boolean,
    )
    unused_eager_load_threshold: int = setting(
        10, "Report an eager load of at least this many objects that nobody reads.", whole(1)
    )
    unused_eager_load_warning_factor: float = setting(
        50.0, "An unused eager load is a warning from this many times `unused_eager_load_threshold` on.", parsers.number
    )
    over_fetch_threshold: int = setting(
        65_536, "Report a query that loads at least this many bytes in columns that nobody reads.", whole(1)
    )
    over_fetch_share_threshold: float = setting(
        0.5,
        "Report columns that nobody reads only when they are at least this share of the bytes of the query.",
        parsers.fraction,
    )
    over_fetch_warning_factor: float = setting(
        16.0, "Columns that nobody reads are a warning from this many times `over_fetch_threshold` on.", parsers.number
    )
    client_side_filter_threshold: int = setting(
        100, "Report a filter in Python that looks at at least this many objects.", whole(2)
    )
    client_side_filter_share_threshold: float = setting(
        0.8, "Report a filter in Python only when it discards at least this share of the objects.", parsers.fraction
    )
    client_side_filter_warning_factor: float = setting(
        10.0, "A filter in Python is a warning from this many times `client_side_filter_threshold` on.", parsers.number
    )
    client_side_filter_warning_share: float = setting(
        0.95,
        "A filter in Python is a warning only when it discards at least this share of the objects.",
        parsers.fraction,
    )
    fan_out_threshold: int = setting(
        100, "Report a request that sends at least this many queries, each counted five times at most.", whole(2)
    )
    connection_leak_after: float = setting(
        30.0,
        "Report a connection that is checked out for longer than this, without running a query, as leaked.",
        parsers.duration,
    )
    pool_wait_threshold: float = setting(
        0.1, "Report when a request waits longer than this, in total, for pooled connections.", parsers.duration
    )
    pool_wait_share_threshold: float = setting(
        0.2,
        "Report also a request that waits for connections for at least this share of its duration.",
        parsers.fraction,
    )
    pool_wait_error_threshold: float = setting(
        1.0, "Waiting for connections is an error when a request waits for at least this long.", parsers.duration
    )
    pool_wait_count_threshold: int = setting(
        5, "Report a pool as too small only when at least this many checkouts had to wait.", whole(1)
    )
    pool_wait_checkouts_threshold: float = setting(
        0.05, "Report a pool as too small only when at least this share of its checkouts had to wait.", parsers.fraction
    )
    pool_spare_threshold: int = setting(
        10, "Report a pool as too large only when it keeps at least this many connections open.", whole(1)
    )
    pool_spare_factor: float = setting(
        4.0,
        "Report a pool as too large when it keeps this many times the connections open that are ever in use at once.",
        parsers.number,
    )
    pool_spare_checkouts_threshold: int = setting(
        500, "Judge whether a pool is too large after this number of checkouts.", whole(1)
    )
    concurrency_wait_threshold: float = setting(
        0.001,
        "Count a request as waiting for a connection from this time on, in `concurrency_over_pool`.",
        parsers.duration,
    )
    concurrency_warning_factor: float = setting(
        2.0, "Too much concurrency is a warning from this many times the connections of the pool on.", parsers.number
    )
    long_transaction_threshold: float = setting(
        5.0, "Report transactions that stay open longer than this.", parsers.duration
    )
    long_transaction_error_factor: float = setting(
        6.0,
        "A long transaction or a slow consumer is an error from this many times `long_transaction_threshold` on.",
        parsers.number,
    )
    blocked_loop_threshold: float = setting(
        0.05, "Report when synchronous database calls block the event loop longer than this.", parsers.duration
    )
    blocked_loop_error_threshold: float = setting(
        1.0,
        "Synchronous database calls are an error when they block the event loop for at least this long.",
        parsers.duration,
    )
    cache_hit_ratio_threshold: float = setting(
        0.7, "Report caches with a lower hit ratio, once they have enough requests.", parsers.fraction
    )
    pool_count_threshold: int = setting(100, "Report when the process has more connection pools than this.", whole(1))
    text_smell_threshold: int = setting(
        1000, "Look at the text of statements that return or write at least this many rows.", whole(1)
    )
    duplicate_pools_warning_threshold: int = setting(
        3, "Several pools with the same settings are a warning from this number on.", whole(2)
    )
    in_list_threshold: int = setting(500, "Report lists of `IN` with more values than this.", whole(1))
    slow_count_threshold: float = setting(
        0.02, "Report a `COUNT` that only tests for existence when it takes at least this long.", parsers.duration
    )
    unprepared_repeat_threshold: int = setting(
        10, "Report a query that is sent in at least this many texts, which differ in their values.", whole(2)
    )
    serial_awaits_threshold: float = setting(
        0.1, "Report reads awaited one after the other that would save at least this much at once.", parsers.duration
    )
    serial_awaits_error_threshold: float = setting(
        1.0,
        "Reads awaited one after the other are an error when a request would save at least this much at once.",
        parsers.duration,
    )
    serial_awaits_share_threshold: float = setting(
        0.1,
        "Report reads awaited one after the other that would save at least this share of the request.",
        parsers.fraction,
    )
    serial_writes_threshold: int = setting(
        5, "Report at least this many different writes that are sent one after the other.", whole(2)
    )
    serial_writes_time_threshold: float = setting(
        0.01,
        "Report writes that are sent one after the other only when a pipeline would save at least this much.",
        parsers.duration,
    )
    serial_writes_warning_threshold: float = setting(
        1.0,
        "Writes that are sent one after the other are a warning when a request would save at least this much.",
        parsers.duration,
    )
    serial_writes_share_threshold: float = setting(
        0.1,
        "Report writes that are sent one after the other that would save at least this share of the unit of work.",
        parsers.fraction,
    )
    cacheable_query_threshold: int = setting(
        50, "Report a query that was sent with the same values in at least this many requests.", whole(2)
    )
    cacheable_query_time_threshold: float = setting(
        0.1, "Report a query that could be cached only when it took at least this long in all.", parsers.duration
    )
    cacheable_query_mean_threshold: float = setting(
        0.0005,
        "Report a query that could be cached only when it takes at least this long on average.",
        parsers.duration,
    )
    cacheable_query_reads_per_write: int = setting(
        20,
        "Report a query that could be cached only when its tables are read at least this often for each write.",
        whole(1),
    )
    memory_spike_threshold: int = setting(
        50_000_000,
        "Report a query whose rows make the memory of the process grow by at least this many bytes.",
        whole(1),
    )
    memory_spike_rows_threshold: int = setting(
        1000, "Look for the query that made memory grow among those of at least this many rows.", whole(1)
    )
    memory_spike_error_factor: float = setting(
        10.0,
        "Memory that a query makes grow is an error from this many times `memory_spike_threshold` on.",
        parsers.number,
    )
    memory_growth_threshold: int = setting(
        50_000_000, "Report memory that grows steadily by at least this many bytes.", whole(1)
    )
    memory_growth_share_threshold: float = setting(
        0.2, "Report memory that grows steadily only when it grew by at least this share.", parsers.fraction
    )
    memory_growth_samples_threshold: int = setting(
        15, "Judge the growth of memory after this number of samples, one for each minute.", whole(3, 60)
    )
    memory_growth_rising_threshold: float = setting(
        0.7,
        "Report memory that grows steadily only when it grew in at least this share of the minutes.",
        parsers.fraction,
    )
    regression_factor: float = setting(
        2.0,
        "Report a new plan that costs, or a query that takes (median and 95th percentile), this many times as much.",
        parsers.number,
    )
    regression_threshold: float = setting(
        0.005, "Report a slower query only when its median grew by at least this much.", parsers.duration
    )
    redis_chatter_threshold: int = setting(
        5, "Report Redis commands that are sent one by one from this number on.", whole(2)
    )
    redis_reply_threshold: int = setting(1000, "Report replies of Redis with at least this many elements.", whole(1))
    redis_pipeline_threshold: int = setting(
        10_000, "Report pipelines of Redis with at least this many commands.", whole(1)
    )
    redis_scan_threshold: int = setting(100, "Report `SCAN` in small steps from this number of calls on.", whole(2))
    redis_scan_keys_threshold: int = setting(
        20, "Steps of `SCAN` are small when they find fewer keys than this on average.", whole(1)
    )
    redis_scan_few_threshold: int = setting(
        5, "Report `SCAN` as too broad when it finds fewer keys than this for each call on average.", whole(1)
    )
    redis_reply_warning_factor: float = setting(
        10.0, "A large reply of Redis is a warning from this many times `redis_reply_threshold` on.", parsers.number
    )
    retry_storm_threshold: int = setting(5, "Report a statement that fails at least this often in a row.", whole(2))
    retry_storm_error_threshold: int = setting(
        20, "A statement that fails again and again is an error from this number of attempts on.", whole(2)
    )
    retry_storm_pause_threshold: float = setting(
        1.0, "Leave alone a statement that fails again and again with pauses of at least this long.", parsers.duration
    )
    error_burst_threshold: int = setting(3, "Report a request in which at least this many queries fail.", whole(2))
    error_burst_error_threshold: int = setting(
        10, "A request in which queries fail is an error from this number of errors of one class on.", whole(2)
    )
    es_query_context_threshold: float = setting(
        0.5, "Report searches that compute scores for nothing as a warning from this time on.", parsers.duration
    )
    workload_calls_threshold: int = setting(
        1000, "Judge the workload of the process after this number of queries.", whole(1)
    )
    write_share_threshold: float = setting(0.5, "Report a workload of which a larger share writes.", parsers.fraction)
    table_share_threshold: float = setting(
        0.5, "Report a table that takes a larger share of the time in the database.", parsers.fraction
    )
    workload_time_threshold: float = setting(
        1.0, "Judge the tables of the process after this time in the database.", parsers.duration
    )
    rollback_rate_threshold: float = setting(
        0.1, "Report databases where a larger share of the writing transactions is rolled back.", parsers.fraction
    )
    rollback_rate_error_threshold: float = setting(
        0.5,
        "Rollbacks are an error when at least this share of the writing transactions is rolled back.",
        parsers.fraction,
    )
    rollback_rate_transactions_threshold: int = setting(
        20, "Judge the rollbacks of a database after this number of writing transactions.", whole(1)
    )
    cache_requests_threshold: int = setting(
        100, "Judge the hit ratio of a cache after this number of look-ups.", whole(1)
    )
    invalidation_storm_threshold: int = setting(
        100, "Report a request that removes at least this many keys from a cache one by one.", whole(2)
    )
    lock_contention_threshold: float = setting(
        0.5, "Report distributed locks of which at least this share of the acquisitions had to wait.", parsers.fraction
    )
    lock_contention_tries_threshold: int = setting(
        10, "Judge a distributed lock after this number of acquisitions.", whole(1)
    )
    lock_contention_wait_threshold: float = setting(
        0.01, "Report distributed locks only when an acquisition waits at least this long on average.", parsers.duration
    )
    lock_fixed_retry_threshold: int = setting(
        3, "Report locks that are retried at a fixed interval from this number of acquisitions on.", whole(1)
    )
    lock_fixed_retry_warning_threshold: float = setting(
        1.0,
        "Locks that are retried at a fixed interval are a warning when they waited at least this long in all.",
        parsers.duration,
    )
    pool_churn_threshold: int = setting(
        10, "Report pools of one target that are made at least this often, and hardly used.", whole(2)
    )
    pool_churn_uses_threshold: int = setting(
        5, "Pools that are made again and again are hardly used with at most this many checkouts each.", whole(1)
    )
    pool_churn_connections_threshold: int = setting(
        50, "Report a pool that opened at least this many connections, most of them for few checkouts.", whole(1)
    )
    pool_churn_share_threshold: float = setting(
        0.5,
        "Connections are opened again and again when there are at least this many for each checkout.",
        parsers.fraction,
    )
    connection_growth_threshold: int = setting(
        20, "Report pools whose open connections grow steadily by at least this many.", whole(1)
    )
    connection_growth_samples_threshold: int = setting(
        12, "Judge the growth of connections after this number of samples, ten seconds apart.", whole(3, 360)
    )
    pool_profile: PoolProfileName | None = setting(
        None,
        "Profile that the pools of SQL servers are expected to have: `read`, `write`, `mixed`, `high-performance` or"
        " `memory-optimized`.",
        _POOL_PROFILE,
        unset="that of the queries, for pools that were full",
    )
