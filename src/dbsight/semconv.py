"""Every span attribute, event, metric, logger and scope name that dbsight writes or reads.

The names of OpenTelemetry's semantic conventions (1.44) come first, as literals: the generated package
``opentelemetry.semconv`` moves them between modules as they become stable, and importing it costs start-up time.
Names of our own begin with ``dbsight.``.
"""

from typing import Final

SCOPE: Final = "dbsight"
"""Instrumentation scope of all spans, metrics and log records of dbsight; the processor ignores such spans."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# -- Semantic conventions: database client spans ------------------------------------------------------------------
DB_SYSTEM_NAME: Final = "db.system.name"
DB_NAMESPACE: Final = "db.namespace"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_QUERY_TEXT: Final = "db.query.text"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_QUERY_PARAMETER: Final = "db.query.parameter."  # prefix, followed by the parameter's name or index
DB_OPERATION_PARAMETER: Final = "db.operation.parameter."  # prefix, followed by the parameter's name
DB_OPERATION_INDEX: Final = "db.operation.parameter.index"  # of Elasticsearch
URL_FULL: Final = "url.full"
DB_OPERATION_BATCH_SIZE: Final = "db.operation.batch.size"
DB_RESPONSE_RETURNED_ROWS: Final = "db.response.returned_rows"
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
CODE_FILE_PATH: Final = "code.file.path"
CODE_LINE_NUMBER: Final = "code.line.number"
CODE_FUNCTION_NAME: Final = "code.function.name"
HTTP_ROUTE: Final = "http.route"
ENDUSER_ID: Final = "enduser.id"

POOL_NAME: Final = "db.client.connection.pool.name"
CONNECTION_STATE: Final = "db.client.connection.state"  # idle | used
GC_GENERATION: Final = "cpython.gc.generation"

# Old names: read from foreign spans, written when OTEL_SEMCONV_STABILITY_OPT_IN asks for `database/dup`.
DB_SYSTEM: Final = "db.system"  # always written: Datadog, SigNoz and New Relic still read it
DB_STATEMENT: Final = "db.statement"
DB_NAME: Final = "db.name"
DB_OPERATION: Final = "db.operation"
NET_PEER_NAME: Final = "net.peer.name"
NET_PEER_PORT: Final = "net.peer.port"

# -- Our own: on the span of a query ------------------------------------------------------------------------------
QUERY_FINGERPRINT: Final = "dbsight.query.fingerprint"
QUERY_CLASS: Final = "dbsight.query.class"  # slow | very_slow, never written for a normal query
QUERY_THRESHOLD: Final = "dbsight.query.threshold"  # s
QUERY_CONNECT_TIME: Final = "dbsight.query.connect_time"  # s
DATADOG_TRACE_INJECTED: Final = "_dd.dbm_trace_injected"  # Datadog's: the statement names its trace
QUERY_LOCK_TIME: Final = "dbsight.query.lock_time"  # s
QUERY_FETCH_TIME: Final = "dbsight.query.fetch_time"  # s
QUERY_TYPE: Final = "dbsight.query.type"  # select | insert | update | delete | ddl | transaction | ping | other
QUERY_SLOWLOG_LEVEL: Final = "dbsight.query.slowlog_level"  # trace | debug | info | warn: step of a ladder of limits
QUERY_RETRIES: Final = "dbsight.query.retries"  # attempts that failed before
QUERY_ROWS_AFFECTED: Final = "dbsight.query.rows_affected"
BLOCKER_SESSION: Final = "dbsight.blocker.session"  # its process or connection id on the server
BLOCKER_APPLICATION: Final = "dbsight.blocker.application"
BLOCKER_STATE: Final = "dbsight.blocker.state"  # active | idle in transaction …
BLOCKER_TRANSACTION_TIME: Final = "dbsight.blocker.transaction_time"  # s
BLOCKER_QUERY_SUMMARY: Final = "dbsight.blocker.query.summary"
BLOCKER_QUERY_FINGERPRINT: Final = "dbsight.blocker.query.fingerprint"
BLOCKER_TRACE: Final = "dbsight.blocker.trace"  # 32 hexadecimal digits
POOL_WAIT: Final = "dbsight.pool.wait"  # s
POOL_REASON: Final = "dbsight.pool.reason"  # recycle | invalid | overflow | dispose | collected …
TRANSACTION_RESULT: Final = "dbsight.transaction.result"  # commit | rollback
POOL_ROLE: Final = "dbsight.pool.role"  # master | slave | local | async
CACHE_NAME: Final = "dbsight.cache.name"
CACHE_RESULT: Final = "dbsight.cache.result"  # hit | miss
CACHE_LAYER: Final = "dbsight.cache.layer"  # l1 | l2 | …
CACHE_KEY_PREFIX: Final = "dbsight.cache.key_prefix"  # user:{}:cart
CACHE_MODEL: Final = "dbsight.cache.model"
LOCK_NAME: Final = "dbsight.lock.name"
LOCK_RESULT: Final = "dbsight.lock.result"  # acquired | failed
LOCK_RETRIES: Final = "dbsight.lock.retries"
LOCK_BACKOFF: Final = "dbsight.lock.backoff"  # fixed | growing | none
ORM_MODEL: Final = "dbsight.orm.model"
ORM_OPERATION: Final = "dbsight.orm.operation"  # load | insert | update | delete; of a duration: read | write
METRIC_ORM_OPERATIONS: Final = "dbsight.orm.operations"  # counter, {object}
METRIC_ORM_DURATION: Final = "dbsight.orm.duration"  # histogram, s
ORM_RELATIONSHIP: Final = "dbsight.orm.relationship"
ORM_COMPILED_CACHE: Final = "dbsight.orm.compiled_cache"  # miss: SQLAlchemy compiled the statement; else absent
ORM_LOAD: Final = "dbsight.orm.load"  # lazy | eager | deferred | expired | inherited | generated | related | refreshed
FINDING_IDS: Final = "dbsight.finding.ids"  # string[]
PLAN_EVENT: Final = "dbsight.plan"  # a log event; its body is the plan as a tree
PLAN_HASH: Final = "dbsight.plan.hash"  # the same for the same steps on the same tables and indexes
PLAN_COST: Final = "dbsight.plan.cost"  # estimated, in the database's unit
PLAN_ISSUES: Final = "dbsight.plan.issues"  # string[]
CONNECTION_ID: Final = "dbsight.connection.id"

# -- The log event of a query, where the query log is exported ----------------------------------------------------
QUERY_EVENT: Final = "dbsight.query"
QUERY_DURATION: Final = "dbsight.query.duration"  # s
ROUTE: Final = "dbsight.route"  # name of the request or task: GET /orders

# -- Our own: on the local root -----------------------------------------------------------------------------------
DB_CALLS: Final = "dbsight.db.calls"
DB_TIME: Final = "dbsight.db.time"  # s
DB_TIME_RATIO: Final = "dbsight.db.time_ratio"
DB_CONCURRENCY: Final = "dbsight.db.concurrency"  # most queries that ran at once, where that is more than one
FINDINGS_COUNT: Final = "dbsight.findings.count"
FINDINGS_RULES: Final = "dbsight.findings.rules"  # string[]
FINDINGS_MAX_SEVERITY: Final = "dbsight.findings.max_severity"

PROFILE_SPAN: Final = "dbsight.profile"
"""Name of the INTERNAL span around a profiled block."""

OPERATION: Final = "operation"  # name given to dbsight.measure()
COMPONENT: Final = "component"  # name given to dbsight.health_check()
METRIC_HEALTH: Final = "dbsight.health.status"  # observable gauge, 1
BENCH_SPAN: Final = "dbsight.bench"
BENCH_NAME: Final = "dbsight.bench.name"  # of the function or scenario
BENCH_EVENT: Final = "dbsight.bench"  # a log event: the result of a benchmark or load test
BENCH_EXECUTIONS: Final = "dbsight.bench.executions"
BENCH_RATE: Final = "dbsight.bench.rate"  # executions per second
BENCH_MEAN: Final = "dbsight.bench.mean"  # s
BENCH_P50: Final = "dbsight.bench.p50"  # s
BENCH_P95: Final = "dbsight.bench.p95"  # s
BENCH_MAX: Final = "dbsight.bench.max"  # s
BENCH_ERROR_RATE: Final = "dbsight.bench.error_rate"  # share, 0 to 1
BENCH_QUERIES: Final = "dbsight.bench.queries"  # per execution
BENCH_DB_TIME: Final = "dbsight.bench.db_time"  # s per execution
METRIC_BENCH: Final = "dbsight.bench.duration"  # histogram, s
METRIC_MEASURED: Final = "dbsight.operation.duration"  # histogram, s

TRANSACTION_SPAN: Final = "transaction"
"""Name of the INTERNAL span of a transaction, where ``transaction_spans`` is set."""

TRANSACTION_QUERIES: Final = "dbsight.transaction.queries"
TRANSACTION_WRITES: Final = "dbsight.transaction.writes"
TRANSACTION_IDLE: Final = "dbsight.transaction.idle"  # s without a running statement

WINDOW_SPAN: Final = "dbsight.window"
"""Name of the INTERNAL span that is the root of queries outside any span."""

# -- The event of a finding, on a span or as a log record ---------------------------------------------------------
FINDING_EVENT: Final = "dbsight.finding"
FINDING_ID: Final = "dbsight.finding.id"
FINDING_RULE: Final = "dbsight.finding.rule"
FINDING_SEVERITY: Final = "dbsight.finding.severity"
FINDING_PRIORITY: Final = "dbsight.finding.priority"  # low | medium | high
FINDING_CATEGORY: Final = "dbsight.finding.category"
FINDING_RUNBOOK: Final = "dbsight.finding.runbook"  # address of the rule's page
FINDING_TITLE: Final = "dbsight.finding.title"
FINDING_DESCRIPTION: Final = "dbsight.finding.description"
FINDING_SUGGESTION: Final = "dbsight.finding.suggestion"
FINDING_IMPACT: Final = "dbsight.finding.impact"  # s
FINDING_EFFORT: Final = "dbsight.finding.effort"
FINDING_COUNT: Final = "dbsight.finding.count"
FINDING_METRIC: Final = "dbsight.finding.metric"
FINDING_CURRENT_VALUE: Final = "dbsight.finding.current_value"
FINDING_THRESHOLD: Final = "dbsight.finding.threshold"

# -- The log event of an alert ------------------------------------------------------------------------------------
ALERT_EVENT: Final = "dbsight.alert"
ALERT_METRIC: Final = "dbsight.alert.metric"  # error_rate | avg_query_time | connection_pool_usage …
ALERT_SEVERITY: Final = "dbsight.alert.severity"
ALERT_STATE: Final = "dbsight.alert.state"  # raised | cleared
ALERT_CURRENT_VALUE: Final = "dbsight.alert.current_value"
ALERT_THRESHOLD: Final = "dbsight.alert.threshold"
ALERT_SUBJECT: Final = "dbsight.alert.subject"  # name of a pool, fingerprint of a query

POOL_CHECKOUT_EVENT: Final = "pool.checkout"  # on the first query of a connection that was waited for
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

# -- Metrics ------------------------------------------------------------------------------------------------------
METRIC_OPERATION_DURATION: Final = "db.client.operation.duration"  # histogram, s
METRIC_RETURNED_ROWS: Final = "db.client.response.returned_rows"  # histogram, {row}
METRIC_FINDINGS: Final = "dbsight.findings"  # counter, {finding}
RECOMMENDATION_EVENT: Final = "dbsight.recommendation"
RECOMMENDATION_ID: Final = "dbsight.recommendation.id"
RECOMMENDATION_PRIORITY: Final = "dbsight.recommendation.priority"  # medium | high
RECOMMENDATION_CATEGORY: Final = "dbsight.recommendation.category"
RECOMMENDATION_DESCRIPTION: Final = "dbsight.recommendation.description"
RECOMMENDATION_SUGGESTION: Final = "dbsight.recommendation.suggestion"
RECOMMENDATION_IMPACT: Final = "dbsight.recommendation.impact"  # s
RECOMMENDATION_EFFORT: Final = "dbsight.recommendation.effort"  # low | medium | high
METRIC_ALERTS: Final = "dbsight.alerts"  # counter, {alert}
METRIC_QUERIES: Final = "dbsight.queries"  # counter, {query}
METRIC_REQUEST_QUERIES: Final = "dbsight.request.queries"  # histogram, {query}
METRIC_CONCURRENCY: Final = "dbsight.db.concurrency"  # histogram, {query}
METRIC_CONNECTION_COUNT: Final = "db.client.connection.count"  # observable up-down counter, {connection}
METRIC_CONNECTION_MAX: Final = "db.client.connection.max"  # observable up-down counter, {connection}
METRIC_CONNECTION_IDLE_MAX: Final = "db.client.connection.idle.max"  # observable up-down counter, {connection}
METRIC_CONNECTION_IDLE_MIN: Final = "db.client.connection.idle.min"  # observable up-down counter, {connection}
METRIC_CONNECTION_PENDING: Final = "db.client.connection.pending_requests"  # observable up-down counter, {request}
METRIC_CONNECTION_TIMEOUTS: Final = "db.client.connection.timeouts"  # counter, {timeout}
METRIC_CONNECTION_CREATE_TIME: Final = "db.client.connection.create_time"  # histogram, s
METRIC_CONNECTION_WAIT_TIME: Final = "db.client.connection.wait_time"  # histogram, s
METRIC_CONNECTION_USE_TIME: Final = "db.client.connection.use_time"  # histogram, s
METRIC_POOL_USAGE: Final = "dbsight.pool.usage"  # observable gauge, 1
METRIC_POOL_OVERFLOW: Final = "dbsight.pool.overflow"  # observable up-down counter, {connection}
METRIC_POOL_CREATED: Final = "dbsight.pool.created"  # observable counter, {connection}
METRIC_POOL_CLOSED: Final = "dbsight.pool.closed"  # observable counter, {connection}
METRIC_POOL_IDLE_TIME: Final = "dbsight.pool.idle_time"  # observable gauge, s
METRIC_POOL_CLIENTS: Final = "dbsight.pool.clients"  # observable up-down counter, {client}
METRIC_POOL_CLEANUP_FAILURES: Final = "dbsight.pool.cleanup_failures"  # observable counter, {failure}
METRIC_POOLS: Final = "dbsight.pools"  # observable up-down counter, {pool}
METRIC_ENGINES: Final = "dbsight.engines"  # observable up-down counter, {engine}
METRIC_CONNECTION_FAILURES: Final = "dbsight.connection.failures"  # counter, {failure}
METRIC_POOL_DISCARDED: Final = "dbsight.pool.discarded"  # counter, {connection}
METRIC_CONNECTION_LEAKS: Final = "dbsight.connection.leaks"  # counter, {connection}
METRIC_CONNECTION_AGE: Final = "dbsight.connection.age"  # histogram, s
METRIC_TRANSACTION_DURATION: Final = "dbsight.transaction.duration"  # histogram, s
METRIC_EVENTLOOP_BLOCKED: Final = "dbsight.eventloop.blocked"  # histogram, s
METRIC_PROCESS_MEMORY: Final = "process.memory.usage"  # observable up-down counter, By
METRIC_PROCESS_VIRTUAL: Final = "process.memory.virtual"  # observable up-down counter, By
METRIC_GC_COLLECTIONS: Final = "cpython.gc.collections"  # observable counter, {collection}
METRIC_GC_COLLECTED: Final = "cpython.gc.collected_objects"  # observable counter, {object}
METRIC_GC_UNCOLLECTABLE: Final = "cpython.gc.uncollectable_objects"  # observable counter, {object}
METRIC_CACHE_REQUESTS: Final = "dbsight.cache.requests"  # counter, {request}
METRIC_CACHE_EVICTIONS: Final = "dbsight.cache.evictions"  # counter, {item}
METRIC_CACHE_ITEMS: Final = "dbsight.cache.items"  # observable up-down counter, {item}
METRIC_CACHE_TTL: Final = "dbsight.cache.ttl"  # observable gauge, s
METRIC_CACHE_SIZE: Final = "dbsight.cache.payload.size"  # histogram, By
METRIC_LOCK_ACQUIRE: Final = "dbsight.lock.acquire.duration"  # histogram, s
METRIC_LOCK_ATTEMPTS: Final = "dbsight.lock.attempts"  # counter, {attempt}
METRIC_LOCK_HOLD: Final = "dbsight.lock.hold.duration"  # histogram, s
METRIC_LOCK_LEAKS: Final = "dbsight.lock.leaks"  # counter, {lock}
METRIC_REDIS_CONNECTED: Final = "redis.clients.connected"  # observable up-down counter, {client}
METRIC_REDIS_BLOCKED: Final = "redis.clients.blocked"  # observable up-down counter, {client}
METRIC_REDIS_MEMORY: Final = "redis.memory.used"  # observable up-down counter, By
METRIC_REDIS_RSS: Final = "redis.memory.rss"  # observable up-down counter, By
METRIC_REDIS_PEAK: Final = "redis.memory.peak"  # observable up-down counter, By
METRIC_REDIS_EVICTED: Final = "redis.keys.evicted"  # observable counter, {key}
METRIC_REDIS_EXPIRED: Final = "redis.keys.expired"  # observable counter, {event}
METRIC_REDIS_HITS: Final = "redis.keyspace.hits"  # observable counter, {hit}
METRIC_REDIS_MISSES: Final = "redis.keyspace.misses"  # observable counter, {miss}
METRIC_REDIS_REJECTED: Final = "redis.connections.rejected"  # observable counter, {connection}
METRIC_REDIS_COMMANDS: Final = "redis.commands.processed"  # observable counter, {command}
METRIC_REDIS_SLOW: Final = "dbsight.redis.slow_log"  # observable counter, {command}
METRIC_SELF_DROPPED: Final = "dbsight.self.dropped"  # observable counter
METRIC_SELF_ERRORS: Final = "dbsight.self.errors"  # observable counter

METRIC_ATTRIBUTES: Final = {
    METRIC_OPERATION_DURATION: (
        DB_SYSTEM_NAME,
        DB_QUERY_SUMMARY,
        DB_NAMESPACE,
        SERVER_ADDRESS,
        SERVER_PORT,
        ERROR_TYPE,
        DB_RESPONSE_STATUS_CODE,
    ),
    METRIC_RETURNED_ROWS: (DB_SYSTEM_NAME, DB_QUERY_SUMMARY, DB_NAMESPACE, SERVER_ADDRESS, SERVER_PORT),
    METRIC_QUERIES: (DB_SYSTEM_NAME, QUERY_TYPE, QUERY_CLASS),
    METRIC_FINDINGS: (FINDING_RULE, FINDING_SEVERITY, FINDING_CATEGORY),
    METRIC_MEASURED: (OPERATION,),
    METRIC_BENCH: (BENCH_NAME,),
    METRIC_HEALTH: (COMPONENT,),
    METRIC_ALERTS: (ALERT_METRIC, ALERT_SEVERITY),
    METRIC_REQUEST_QUERIES: (HTTP_ROUTE,),
    METRIC_CONCURRENCY: (HTTP_ROUTE,),
    METRIC_CONNECTION_COUNT: (POOL_NAME, CONNECTION_STATE, POOL_ROLE),
    METRIC_CONNECTION_MAX: (POOL_NAME, POOL_ROLE),
    METRIC_CONNECTION_IDLE_MAX: (POOL_NAME, POOL_ROLE),
    METRIC_CONNECTION_IDLE_MIN: (POOL_NAME, POOL_ROLE),
    METRIC_CONNECTION_PENDING: (POOL_NAME, POOL_ROLE),
    METRIC_CONNECTION_TIMEOUTS: (POOL_NAME,),
    METRIC_CONNECTION_CREATE_TIME: (POOL_NAME,),
    METRIC_CONNECTION_WAIT_TIME: (POOL_NAME,),
    METRIC_CONNECTION_USE_TIME: (POOL_NAME,),
    METRIC_POOL_USAGE: (POOL_NAME, POOL_ROLE),
    METRIC_POOL_OVERFLOW: (POOL_NAME, POOL_ROLE),
    METRIC_POOL_CREATED: (POOL_NAME, POOL_ROLE),
    METRIC_POOL_CLOSED: (POOL_NAME, POOL_REASON, POOL_ROLE),
    METRIC_POOL_IDLE_TIME: (POOL_NAME, POOL_ROLE),
    METRIC_POOL_CLIENTS: (POOL_NAME, POOL_ROLE),
    METRIC_POOL_CLEANUP_FAILURES: (POOL_NAME, POOL_ROLE),
    METRIC_POOLS: (POOL_NAME, POOL_ROLE),
    METRIC_ENGINES: (),
    METRIC_CONNECTION_FAILURES: (POOL_NAME, ERROR_TYPE),
    METRIC_POOL_DISCARDED: (POOL_NAME,),
    METRIC_CONNECTION_LEAKS: (POOL_NAME, POOL_REASON),
    METRIC_CONNECTION_AGE: (POOL_NAME, POOL_REASON),
    METRIC_TRANSACTION_DURATION: (DB_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT, TRANSACTION_RESULT),
    METRIC_EVENTLOOP_BLOCKED: (DB_SYSTEM_NAME,),
    METRIC_CACHE_REQUESTS: (CACHE_NAME, CACHE_RESULT, CACHE_LAYER, CACHE_KEY_PREFIX, CACHE_MODEL),
    METRIC_CACHE_EVICTIONS: (CACHE_NAME,),
    METRIC_CACHE_ITEMS: (CACHE_NAME, CACHE_LAYER),
    METRIC_CACHE_TTL: (CACHE_NAME, CACHE_LAYER),
    METRIC_CACHE_SIZE: (CACHE_NAME,),
    METRIC_ORM_OPERATIONS: (ORM_MODEL, ORM_OPERATION),
    METRIC_ORM_DURATION: (ORM_MODEL, ORM_OPERATION),
    METRIC_LOCK_ATTEMPTS: (DB_SYSTEM_NAME, LOCK_NAME, LOCK_RESULT),
    METRIC_LOCK_ACQUIRE: (DB_SYSTEM_NAME, LOCK_NAME, LOCK_RESULT),
    METRIC_LOCK_HOLD: (DB_SYSTEM_NAME, LOCK_NAME),
    METRIC_LOCK_LEAKS: (DB_SYSTEM_NAME, LOCK_NAME),
    METRIC_REDIS_CONNECTED: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_BLOCKED: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_MEMORY: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_RSS: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_PEAK: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_EVICTED: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_EXPIRED: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_HITS: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_MISSES: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_REJECTED: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_COMMANDS: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_REDIS_SLOW: (SERVER_ADDRESS, SERVER_PORT),
    METRIC_PROCESS_MEMORY: (),
    METRIC_PROCESS_VIRTUAL: (),
    METRIC_GC_COLLECTIONS: (GC_GENERATION,),
    METRIC_GC_COLLECTED: (GC_GENERATION,),
    METRIC_GC_UNCOLLECTABLE: (GC_GENERATION,),
    METRIC_SELF_DROPPED: ("dbsight.reason",),
    METRIC_SELF_ERRORS: ("dbsight.place",),
}
"""The attributes of each metric; docs/metrics.md is generated from it."""

DURATION_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""s; boundaries recommended by the semantic conventions for ``db.client.operation.duration``."""

HOLD_BUCKETS: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""s; boundaries for long durations: transactions, the age of connections."""

SIZE_BUCKETS: Final = (64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 16_777_216)
"""Bytes; boundaries for the size of cached values."""

CONCURRENCY_BUCKETS: Final = (1, 2, 3, 5, 10, 20, 50, 100)
"""Boundaries for the number of queries that run at once."""

ROWS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
"""Boundaries recommended by the semantic conventions for ``db.client.response.returned_rows``."""

RULES_PAGE: Final = "https://github.com/dbsight/dbsight/blob/main/docs/rules.md"
"""The page about rules; the name of a rule is its anchor."""

OTHER: Final = "other"
"""Replaces further attribute values once the metric has reached its limit."""
