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
DB_SYSTEM_NAME: Final = "db.system.name"  # postgresql | mysql | mariadb | sqlite | redis …
DB_NAMESPACE: Final = "db.namespace"  # database; of Redis its number; of SQLite the file's name
DB_OPERATION_NAME: Final = "db.operation.name"  # SELECT, GET …
DB_QUERY_TEXT: Final = "db.query.text"  # sanitized: literals are `?`, comments are removed
DB_QUERY_SUMMARY: Final = "db.query.summary"  # operation and tables: SELECT orders; also the name of the span
DB_QUERY_PARAMETER: Final = "db.query.parameter."  # prefix, followed by the parameter's name or index
DB_OPERATION_PARAMETER: Final = "db.operation.parameter."  # prefix, followed by the parameter's name
DB_OPERATION_INDEX: Final = "db.operation.parameter.index"  # of Elasticsearch
URL_FULL: Final = "url.full"  # of requests to Elasticsearch
DB_OPERATION_BATCH_SIZE: Final = "db.operation.batch.size"  # statements of a batch, where more than one
DB_RESPONSE_RETURNED_ROWS: Final = "db.response.returned_rows"  # rows that were fetched
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"  # SQLSTATE, errno or prefix of a Redis error
ERROR_TYPE: Final = "error.type"  # class of the exception
SERVER_ADDRESS: Final = "server.address"  # host of the database server
SERVER_PORT: Final = "server.port"  # port of the database server
CODE_FILE_PATH: Final = "code.file.path"  # of the line of the application that caused the query
CODE_LINE_NUMBER: Final = "code.line.number"  # of the same line
CODE_FUNCTION_NAME: Final = "code.function.name"  # of the same line
HTTP_ROUTE: Final = "http.route"  # route of the request; on metrics of requests
ENDUSER_ID: Final = "enduser.id"  # `user_id` given to dbsight.record_query()

POOL_NAME: Final = "db.client.connection.pool.name"  # host:port/namespace, or the name of a SQLite file
CONNECTION_STATE: Final = "db.client.connection.state"  # idle | used
GC_GENERATION: Final = "cpython.gc.generation"  # 0 | 1 | 2

# Old names: read from foreign spans, written when OTEL_SEMCONV_STABILITY_OPT_IN asks for `database/dup`.
DB_SYSTEM: Final = "db.system"  # always written: Datadog, SigNoz and New Relic still read it
DB_STATEMENT: Final = "db.statement"  # old name of db.query.text
DB_NAME: Final = "db.name"  # old name of db.namespace
DB_OPERATION: Final = "db.operation"  # old name of db.operation.name
NET_PEER_NAME: Final = "net.peer.name"  # old name of server.address
NET_PEER_PORT: Final = "net.peer.port"  # old name of server.port

# -- On the span of a query ---------------------------------------------------------------------------------------
QUERY_FINGERPRINT: Final = "dbsight.query.fingerprint"  # 16 hexadecimal digits; literals do not change it
QUERY_CLASS: Final = "dbsight.query.class"  # slow | very_slow, never written for a normal query
QUERY_THRESHOLD: Final = "dbsight.query.threshold"  # s; the limit that the query exceeded
QUERY_CONNECT_TIME: Final = "dbsight.query.connect_time"  # s; opening the connection
DATADOG_TRACE_INJECTED: Final = "_dd.dbm_trace_injected"  # Datadog's: the statement names its trace
QUERY_LOCK_TIME: Final = "dbsight.query.lock_time"  # s; waiting for locks, as the server says
QUERY_FETCH_TIME: Final = "dbsight.query.fetch_time"  # s; fetching rows after the execution
QUERY_TYPE: Final = "dbsight.query.type"  # select | insert | update | delete | ddl | transaction | ping | other
QUERY_SLOWLOG_LEVEL: Final = "dbsight.query.slowlog_level"  # trace | debug | info | warn: step of a ladder of limits
QUERY_RETRIES: Final = "dbsight.query.retries"  # attempts that failed before
QUERY_ROWS_AFFECTED: Final = "dbsight.query.rows_affected"  # rows that a write changed
FINDING_IDS: Final = "dbsight.finding.ids"  # string[]; findings about this query
CONNECTION_ID: Final = "dbsight.connection.id"  # `connection_id` given to dbsight.record_query()

# -- On the span of a slow query: the session that blocks it ------------------------------------------------------
BLOCKER_SESSION: Final = "dbsight.blocker.session"  # its process or connection id on the server
BLOCKER_APPLICATION: Final = "dbsight.blocker.application"  # its application_name or program name
BLOCKER_STATE: Final = "dbsight.blocker.state"  # active | idle in transaction …
BLOCKER_TRANSACTION_TIME: Final = "dbsight.blocker.transaction_time"  # s; age of its transaction
BLOCKER_QUERY_SUMMARY: Final = "dbsight.blocker.query.summary"  # of its latest statement
BLOCKER_QUERY_FINGERPRINT: Final = "dbsight.blocker.query.fingerprint"  # of its latest statement
BLOCKER_TRACE: Final = "dbsight.blocker.trace"  # 32 hexadecimal digits: its trace, from the comment of its statement

# -- Connection pools, caches and locks ---------------------------------------------------------------------------
POOL_WAIT: Final = "dbsight.pool.wait"  # s; waiting for a connection of the pool
POOL_REASON: Final = "dbsight.pool.reason"  # recycle | invalid | overflow | dispose | collected …
POOL_ROLE: Final = "dbsight.pool.role"  # master | slave | local | async
CACHE_NAME: Final = "dbsight.cache.name"  # its library, Django's alias, or the name given to watch_cache()
CACHE_RESULT: Final = "dbsight.cache.result"  # hit | miss
CACHE_LAYER: Final = "dbsight.cache.layer"  # l1 | l2 | …
CACHE_KEY_PREFIX: Final = "dbsight.cache.key_prefix"  # user:{}:cart
CACHE_MODEL: Final = "dbsight.cache.model"  # name given to watch_cache(model=…)
LOCK_NAME: Final = "dbsight.lock.name"  # template of the lock's name: basket:{}
LOCK_RESULT: Final = "dbsight.lock.result"  # acquired | failed
LOCK_RETRIES: Final = "dbsight.lock.retries"  # attempts after the first
LOCK_BACKOFF: Final = "dbsight.lock.backoff"  # fixed | growing | none

# -- Object-relational mapping ------------------------------------------------------------------------------------
ORM_MODEL: Final = "dbsight.orm.model"  # class of the ORM that is loaded or written
ORM_OPERATION: Final = "dbsight.orm.operation"  # load | insert | update | delete; of a duration: read | write
METRIC_ORM_OPERATIONS: Final = "dbsight.orm.operations"  # counter, {object}
METRIC_ORM_DURATION: Final = "dbsight.orm.duration"  # histogram, s
ORM_RELATIONSHIP: Final = "dbsight.orm.relationship"  # Order.customer
ORM_COMPILED_CACHE: Final = "dbsight.orm.compiled_cache"  # miss: SQLAlchemy compiled the statement; else absent
ORM_LOAD: Final = "dbsight.orm.load"  # lazy | eager | deferred | expired | inherited | generated | related | refreshed

# -- Query plans --------------------------------------------------------------------------------------------------
PLAN_EVENT: Final = "dbsight.plan"  # a log event; its body is the plan as a tree
PLAN_HASH: Final = "dbsight.plan.hash"  # the same for the same steps on the same tables and indexes
PLAN_COST: Final = "dbsight.plan.cost"  # estimated, in the database's unit
PLAN_ISSUES: Final = "dbsight.plan.issues"  # string[]; names of what the plan does

# -- The log event of a query, where the query log is exported ----------------------------------------------------
QUERY_EVENT: Final = "dbsight.query"  # a log event, one per query
QUERY_DURATION: Final = "dbsight.query.duration"  # s; wall clock
ROUTE: Final = "dbsight.route"  # name of the request or task: GET /orders

# -- On the local root: the request, task or script ---------------------------------------------------------------
DB_CALLS: Final = "dbsight.db.calls"  # operations of the request
DB_TIME: Final = "dbsight.db.time"  # s; the sum of the durations of all operations
DB_TIME_RATIO: Final = "dbsight.db.time_ratio"  # dbsight.db.time divided by the duration of the root
DB_CONCURRENCY: Final = "dbsight.db.concurrency"  # most queries that ran at once, where that is more than one
FINDINGS_COUNT: Final = "dbsight.findings.count"  # number of findings of the request
FINDINGS_RULES: Final = "dbsight.findings.rules"  # string[]; names of the rules
FINDINGS_MAX_SEVERITY: Final = "dbsight.findings.max_severity"  # info | warning | error

# -- Spans that dbsight itself creates ----------------------------------------------------------------------------
PROFILE_SPAN: Final = "dbsight.profile"
"""Name of the INTERNAL span around a profiled block."""

BENCH_SPAN: Final = "dbsight.bench"
"""Name of the INTERNAL span around each execution of a benchmark."""

TRANSACTION_SPAN: Final = "transaction"
"""Name of the INTERNAL span of a transaction, where ``transaction_spans`` is set."""

WINDOW_SPAN: Final = "dbsight.window"
"""Name of the INTERNAL span that is the root of queries outside any span."""

# -- Measured blocks, health checks and benchmarks ----------------------------------------------------------------
OPERATION: Final = "operation"  # name given to dbsight.measure()
COMPONENT: Final = "component"  # name given to dbsight.health_check()
METRIC_HEALTH: Final = "dbsight.health.status"  # observable gauge, 1
BENCH_NAME: Final = "dbsight.bench.name"  # of the function or scenario
BENCH_EVENT: Final = "dbsight.bench"  # a log event: the result of a benchmark or load test
BENCH_EXECUTIONS: Final = "dbsight.bench.executions"  # executions that were measured
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

# -- On the span of a transaction ---------------------------------------------------------------------------------
TRANSACTION_RESULT: Final = "dbsight.transaction.result"  # commit | rollback
TRANSACTION_QUERIES: Final = "dbsight.transaction.queries"  # statements between begin and end
TRANSACTION_WRITES: Final = "dbsight.transaction.writes"  # of these, INSERT, UPDATE, DELETE and the like
TRANSACTION_IDLE: Final = "dbsight.transaction.idle"  # s without a running statement

# -- The event of a finding, on a span or as a log record ---------------------------------------------------------
FINDING_EVENT: Final = "dbsight.finding"  # on the span of a query, on a local root, or a log event
FINDING_ID: Final = "dbsight.finding.id"  # the same in every run for the same problem in the same place
FINDING_RULE: Final = "dbsight.finding.rule"  # name of the rule: n_plus_one
FINDING_SEVERITY: Final = "dbsight.finding.severity"  # info | warning | error
FINDING_PRIORITY: Final = "dbsight.finding.priority"  # low | medium | high
FINDING_CATEGORY: Final = "dbsight.finding.category"  # query | index | pool | cache …
FINDING_RUNBOOK: Final = "dbsight.finding.runbook"  # address of the rule's page
FINDING_TITLE: Final = "dbsight.finding.title"  # what is wrong, in one line
FINDING_DESCRIPTION: Final = "dbsight.finding.description"  # what was seen, with numbers
FINDING_SUGGESTION: Final = "dbsight.finding.suggestion"  # code to paste, or what to change
FINDING_IMPACT: Final = "dbsight.finding.impact"  # s; estimated time that the change saves
FINDING_EFFORT: Final = "dbsight.finding.effort"  # of the change: low | medium | high
FINDING_ROOT: Final = "dbsight.finding.root"  # id of the finding whose cause is the same
FINDING_COUNT: Final = "dbsight.finding.count"  # operations that the finding is about
FINDING_METRIC: Final = "dbsight.finding.metric"  # what was compared with a threshold
FINDING_CURRENT_VALUE: Final = "dbsight.finding.current_value"  # what was measured
FINDING_THRESHOLD: Final = "dbsight.finding.threshold"  # what it was compared with

# -- The log event of an alert ------------------------------------------------------------------------------------
ALERT_EVENT: Final = "dbsight.alert"  # a log event, when an alert is raised and when it is cleared
ALERT_METRIC: Final = "dbsight.alert.metric"  # error_rate | avg_query_time | connection_pool_usage …
ALERT_SEVERITY: Final = "dbsight.alert.severity"  # warning | error
ALERT_STATE: Final = "dbsight.alert.state"  # raised | cleared
ALERT_CURRENT_VALUE: Final = "dbsight.alert.current_value"  # what was measured
ALERT_THRESHOLD: Final = "dbsight.alert.threshold"  # what it was compared with
ALERT_SUBJECT: Final = "dbsight.alert.subject"  # name of a pool, fingerprint of a query

# -- The log event of a recommendation ----------------------------------------------------------------------------
RECOMMENDATION_EVENT: Final = "dbsight.recommendation"  # a log event
RECOMMENDATION_ID: Final = "dbsight.recommendation.id"  # the same in every run for the same problem
RECOMMENDATION_PRIORITY: Final = "dbsight.recommendation.priority"  # medium | high
RECOMMENDATION_CATEGORY: Final = "dbsight.recommendation.category"  # as of findings
RECOMMENDATION_DESCRIPTION: Final = "dbsight.recommendation.description"  # what was seen, with numbers
RECOMMENDATION_SUGGESTION: Final = "dbsight.recommendation.suggestion"  # code to paste, or what to change
RECOMMENDATION_IMPACT: Final = "dbsight.recommendation.impact"  # s; estimated time that the change saves
RECOMMENDATION_EFFORT: Final = "dbsight.recommendation.effort"  # low | medium | high

# -- Other span events --------------------------------------------------------------------------------------------
POOL_CHECKOUT_EVENT: Final = "pool.checkout"  # on the first query of a connection that was waited for
EXCEPTION_EVENT: Final = "exception"  # of OpenTelemetry: an operation failed
EXCEPTION_TYPE: Final = "exception.type"  # class of the exception
EXCEPTION_MESSAGE: Final = "exception.message"  # removed from database spans unless a setting keeps it
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"  # likewise

# -- Metrics ------------------------------------------------------------------------------------------------------
METRIC_OPERATION_DURATION: Final = "db.client.operation.duration"  # histogram, s
METRIC_RETURNED_ROWS: Final = "db.client.response.returned_rows"  # histogram, {row}
METRIC_FINDINGS: Final = "dbsight.findings"  # counter, {finding}
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
