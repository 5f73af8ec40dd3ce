"""What stands on a span: attributes and events of statements, operations, verdicts and findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace.status import Status, StatusCode

from dbsight import config, semconv

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event

    from dbsight.model import CallSite, Database, Finding, Operation, PlanSummary, Statement, Verdict

Attributes = dict[str, Any]

PART_SHOWN = 0.001
"""s; less time spent fetching or connecting is noise; most spans of a statement share their attributes without."""


def base_attributes(statement: Statement, database: Database) -> Attributes:
    """What is known of a statement on a database before it runs, but for a text that is its own."""
    attributes: Attributes = {
        semconv.DB_SYSTEM_NAME: database.system,
        semconv.DB_SYSTEM: database.system,
        semconv.QUERY_FINGERPRINT: statement.fingerprint,
    }
    if database.namespace is not None:
        attributes[semconv.DB_NAMESPACE] = database.namespace
    if statement.operation:
        attributes[semconv.DB_OPERATION_NAME] = statement.operation
    if statement.summary:
        attributes[semconv.DB_QUERY_SUMMARY] = statement.summary
    if not statement.own_text and statement.text:
        attributes |= dict.fromkeys(text_names(), statement.text)
    if database.address is not None:
        attributes[semconv.SERVER_ADDRESS] = database.address
    if database.port is not None:
        attributes[semconv.SERVER_PORT] = database.port
    if config.current().surroundings.semconv_dup:
        attributes |= {
            old: attributes[new]
            for old, new in (
                (semconv.DB_NAME, semconv.DB_NAMESPACE),
                (semconv.DB_OPERATION, semconv.DB_OPERATION_NAME),
                (semconv.NET_PEER_NAME, semconv.SERVER_ADDRESS),
                (semconv.NET_PEER_PORT, semconv.SERVER_PORT),
            )
            if new in attributes
        }
    return attributes


def text_names() -> tuple[str, ...]:
    """Names of the attributes that hold the text of a query; empty where the settings want none."""
    settings = config.current()
    if settings.query_text == "off":
        return ()
    if settings.surroundings.semconv_dup:
        return (semconv.DB_QUERY_TEXT, semconv.DB_STATEMENT)
    return (semconv.DB_QUERY_TEXT,)


def changing_attributes(operation: Operation, verdict: Verdict | None) -> Attributes:
    """The attributes that differ between executions of one statement on one engine."""
    attributes: Attributes = {}
    if operation.call_site is not None:
        attributes.update(code_attributes(operation.call_site))
    if operation.rows is not None:
        attributes[semconv.DB_RESPONSE_RETURNED_ROWS] = operation.rows
    if operation.affected is not None:
        attributes[semconv.QUERY_ROWS_AFFECTED] = operation.affected
    if operation.batch_size:
        attributes[semconv.DB_OPERATION_BATCH_SIZE] = operation.batch_size
    if operation.relationship is not None:
        attributes[semconv.ORM_RELATIONSHIP] = operation.relationship
    if operation.load is not None:
        attributes[semconv.ORM_LOAD] = operation.load
    if operation.fetch_time >= PART_SHOWN:
        attributes[semconv.QUERY_FETCH_TIME] = operation.fetch_time
    if operation.pool_wait > 0:
        attributes[semconv.POOL_WAIT] = operation.pool_wait
    if operation.connect_time >= PART_SHOWN:
        attributes[semconv.QUERY_CONNECT_TIME] = operation.connect_time
    if operation.error_type is not None:
        attributes[semconv.ERROR_TYPE] = operation.error_type
        if operation.error_code is not None:
            attributes[semconv.DB_RESPONSE_STATUS_CODE] = operation.error_code
    if verdict is not None:
        attributes.update(verdict_attributes(verdict))
    return attributes


def verdict_attributes(verdict: Verdict) -> Attributes:
    """What a verdict adds to the query's own span."""
    attributes: Attributes = {}
    if verdict.query_class is not None:
        attributes[semconv.QUERY_CLASS] = verdict.query_class
        if verdict.threshold is not None:
            attributes[semconv.QUERY_THRESHOLD] = verdict.threshold
    if verdict.findings:
        attributes[semconv.FINDING_IDS] = tuple(found.id for found in verdict.findings)
    return attributes


def code_attributes(site: CallSite) -> Attributes:
    """``code.*`` for a call site; made once per call site, not to be changed."""
    made: Attributes | None = site.prebuilt
    if made is None:
        made = site.prebuilt = {
            semconv.CODE_FILE_PATH: site.file,
            semconv.CODE_LINE_NUMBER: site.line,
            semconv.CODE_FUNCTION_NAME: site.function,
        }
    return made


def plan_attributes(plan: PlanSummary) -> Attributes:
    """``dbsight.plan.*``, of a finding or of a log event."""
    attributes: Attributes = {semconv.PLAN_HASH: plan.hash, semconv.PLAN_ISSUES: plan.issues}
    if plan.cost is not None:
        attributes[semconv.PLAN_COST] = plan.cost
    return attributes


def finding_attributes(finding: Finding) -> Attributes:
    """The attributes of a finding's event, on a span or in a log record."""
    attributes: Attributes = {
        semconv.FINDING_ID: finding.id,
        semconv.FINDING_RULE: finding.rule,
        semconv.FINDING_SEVERITY: finding.severity,
        semconv.FINDING_PRIORITY: finding.priority,
        semconv.FINDING_CATEGORY: finding.category,
        semconv.FINDING_RUNBOOK: finding.runbook,
        semconv.FINDING_TITLE: finding.title,
        semconv.FINDING_DESCRIPTION: finding.description,
        semconv.FINDING_IMPACT: round(finding.impact, 6),
        semconv.FINDING_EFFORT: finding.effort,
        semconv.FINDING_COUNT: finding.count,
    }
    if finding.root:
        attributes[semconv.FINDING_ROOT] = finding.root
    if finding.suggestion:
        attributes[semconv.FINDING_SUGGESTION] = finding.suggestion
    if finding.metric:
        attributes[semconv.FINDING_METRIC] = finding.metric
    if finding.current_value is not None:
        attributes[semconv.FINDING_CURRENT_VALUE] = finding.current_value
    if finding.threshold is not None:
        attributes[semconv.FINDING_THRESHOLD] = finding.threshold
    if finding.statement is not None:
        attributes[semconv.DB_QUERY_SUMMARY] = finding.statement.summary
        attributes[semconv.QUERY_FINGERPRINT] = finding.statement.fingerprint
    if finding.plan is not None:
        attributes.update(plan_attributes(finding.plan))
    if finding.relationship is not None:
        attributes[semconv.ORM_RELATIONSHIP] = finding.relationship
    if finding.call_site is not None:
        attributes.update(code_attributes(finding.call_site))
    return attributes


def finding_event(finding: Finding, timestamp_ns: int) -> Event:
    """The span event of a finding."""
    from opentelemetry.sdk.trace import Event

    return Event(semconv.FINDING_EVENT, finding_attributes(finding), timestamp_ns)


def span_events(operation: Operation, verdict: Verdict | None) -> tuple[Event, ...]:
    """The events of an operation's own span, in the order in which they happened."""
    checkout = (checkout_event(operation),) if operation.pool_wait > 0 else ()
    error = (exception_event(operation),) if operation.error_type is not None else ()
    if verdict is None or not verdict.events:
        return (*checkout, *error)
    return (*checkout, *error, *(finding_event(found, operation.end_ns) for found in verdict.events))


def checkout_event(operation: Operation) -> Event:
    """The span event of a connection that the operation waited for, at the moment it was had."""
    from opentelemetry.sdk.trace import Event

    attributes: Attributes = {semconv.POOL_WAIT: operation.pool_wait}
    if operation.pool is not None:
        attributes[semconv.POOL_NAME] = operation.pool
    return Event(semconv.POOL_CHECKOUT_EVENT, attributes, operation.start_ns)


def error_status(operation: Operation) -> Status:
    """The class and the database's code, never the driver's message: it quotes values."""
    code = f" ({operation.error_code})" if operation.error_code else ""
    return Status(StatusCode.ERROR, f"{operation.error_type}{code}")


def exception_event(operation: Operation) -> Event:
    """The exception event of a failed operation: its class and where in the application, not the driver's message."""
    from opentelemetry.sdk.trace import Event

    attributes: Attributes = {semconv.EXCEPTION_TYPE: operation.error_type}
    site = operation.call_site
    if site is not None:
        attributes[semconv.EXCEPTION_STACKTRACE] = f'  File "{site.file}", line {site.line}, in {site.function}\n'
    return Event(semconv.EXCEPTION_EVENT, attributes, operation.end_ns)
