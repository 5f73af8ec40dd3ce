"""Every span attribute, event, metric, logger and scope name that dbsight writes or reads.

The names of OpenTelemetry's semantic conventions (1.44) come first, as literals: the generated package
``opentelemetry.semconv`` moves them between modules as they become stable, and importing it costs start-up time.
Names of our own begin with ``dbsight.``.
"""

from typing import Final

SCOPE: Final = "dbsight"
"""Instrumentation scope of every span, metric and log record of ours; the processor passes such spans by."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# -- Semantic conventions: database client spans ------------------------------------------------------------------
DB_SYSTEM_NAME: Final = "db.system.name"
DB_NAMESPACE: Final = "db.namespace"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_COLLECTION_NAME: Final = "db.collection.name"
DB_QUERY_TEXT: Final = "db.query.text"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_QUERY_PARAMETER: Final = "db.query.parameter."  # prefix, followed by the parameter's name or index
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

# Old names: read from foreign spans, written when OTEL_SEMCONV_STABILITY_OPT_IN asks for `database/dup`.
DB_SYSTEM: Final = "db.system"  # always written: Datadog, SigNoz and New Relic still read it
DB_STATEMENT: Final = "db.statement"
DB_NAME: Final = "db.name"
DB_OPERATION: Final = "db.operation"
DB_SQL_TABLE: Final = "db.sql.table"
NET_PEER_NAME: Final = "net.peer.name"
NET_PEER_PORT: Final = "net.peer.port"

# -- Our own: on the span of a query ------------------------------------------------------------------------------
QUERY_FINGERPRINT: Final = "dbsight.query.fingerprint"
QUERY_CLASS: Final = "dbsight.query.class"  # slow | very_slow, never written for a normal query
QUERY_THRESHOLD: Final = "dbsight.query.threshold"  # s
QUERY_FETCH_TIME: Final = "dbsight.query.fetch_time"  # s
QUERY_TYPE: Final = "dbsight.query.type"  # select | insert | update | delete | ddl | transaction | ping | other
QUERY_ROWS_AFFECTED: Final = "dbsight.query.rows_affected"
POOL_WAIT: Final = "dbsight.pool.wait"  # s
ORM_RELATIONSHIP: Final = "dbsight.orm.relationship"
ORM_LOAD: Final = "dbsight.orm.load"  # lazy | deferred | expired | inherited | eager
FINDING_IDS: Final = "dbsight.finding.ids"  # string[]
CONNECTION_ID: Final = "dbsight.connection.id"

# -- Our own: on the local root -----------------------------------------------------------------------------------
DB_CALLS: Final = "dbsight.db.calls"
DB_TIME: Final = "dbsight.db.time"  # s
DB_TIME_RATIO: Final = "dbsight.db.time_ratio"
FINDINGS_COUNT: Final = "dbsight.findings.count"
FINDINGS_RULES: Final = "dbsight.findings.rules"  # string[]
FINDINGS_MAX_SEVERITY: Final = "dbsight.findings.max_severity"

WINDOW_SPAN: Final = "dbsight.window"
"""Name of the INTERNAL span that roots the queries that ran outside any span."""

# -- The event of a finding, on a span or as a log record ---------------------------------------------------------
FINDING_EVENT: Final = "dbsight.finding"
FINDING_ID: Final = "dbsight.finding.id"
FINDING_RULE: Final = "dbsight.finding.rule"
FINDING_SEVERITY: Final = "dbsight.finding.severity"
FINDING_CATEGORY: Final = "dbsight.finding.category"
FINDING_TITLE: Final = "dbsight.finding.title"
FINDING_DESCRIPTION: Final = "dbsight.finding.description"
FINDING_SUGGESTION: Final = "dbsight.finding.suggestion"
FINDING_IMPACT: Final = "dbsight.finding.impact"  # s
FINDING_EFFORT: Final = "dbsight.finding.effort"
FINDING_COUNT: Final = "dbsight.finding.count"
FINDING_METRIC: Final = "dbsight.finding.metric"
FINDING_CURRENT_VALUE: Final = "dbsight.finding.current_value"
FINDING_THRESHOLD: Final = "dbsight.finding.threshold"

EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

# -- Metrics ------------------------------------------------------------------------------------------------------
METRIC_OPERATION_DURATION: Final = "db.client.operation.duration"  # histogram, s
METRIC_RETURNED_ROWS: Final = "db.client.response.returned_rows"  # histogram, {row}
METRIC_FINDINGS: Final = "dbsight.findings"  # counter, {finding}
METRIC_QUERIES: Final = "dbsight.queries"  # counter, {query}
METRIC_REQUEST_QUERIES: Final = "dbsight.request.queries"  # histogram, {query}
METRIC_SELF_DROPPED: Final = "dbsight.self.dropped"  # observable counter
METRIC_SELF_ERRORS: Final = "dbsight.self.errors"  # observable counter

DURATION_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""s; the boundaries that the semantic conventions recommend for ``db.client.operation.duration``."""

ROWS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
"""The boundaries that the semantic conventions recommend for ``db.client.response.returned_rows``."""

OTHER: Final = "other"
"""What an attribute value becomes once its metric has as many values as it may have."""
