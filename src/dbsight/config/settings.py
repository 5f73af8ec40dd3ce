"""The table of settings: one field each, with its default, its sentence and its parser.

Its first parts are in ``general_settings.py`` and ``rule_settings.py``.
"""

from __future__ import annotations

import logging
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dbsight.config import overrides as tables
from dbsight.config import parsers, resolution
from dbsight.config.general_settings import setting
from dbsight.config.otel_env import Surroundings, environment
from dbsight.config.parsers import FailOn, Parser, choice, whole
from dbsight.config.resolution import ARGUMENT, DEFAULT, Setting
from dbsight.config.rule_settings import RuleSettings
from dbsight.config.suggest import did_you_mean
from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbsight.model import Severity

logger = logging.getLogger("dbsight")

RedisPreset = Literal["minimal", "balanced", "high_performance"]
FindingsTo = Literal["span", "log", "both"]
QueryText = Literal["sanitized", "raw", "off"]
Parameters = Literal["off", "hash", "full"]
CodeLocation = Literal["on", "slow", "off"]
Explain = Literal["off", "slow", "always_once"]
IndexProof = Literal["safe", "transaction", "scratch"]
LogLevel = Literal["off", "debug", "info", "warning", "error"]
CommentFormat = Literal["sqlcommenter", "datadog"]
CommentTrace = Literal["auto", "always", "off"]
ToolbarMode = Literal["off", "on", "badge"]

_REDIS_PRESET: Parser[RedisPreset] = choice(("minimal", "balanced", "high_performance"))
_FINDINGS_TO: Parser[FindingsTo] = choice(("span", "log", "both"))
_QUERY_TEXT: Parser[QueryText] = choice(("sanitized", "raw", "off"))
_PARAMETERS: Parser[Parameters] = choice(("off", "hash", "full"))
_CODE_LOCATION: Parser[CodeLocation] = choice(("on", "slow", "off"))
_EXPLAIN: Parser[Explain] = choice(("off", "slow", "always_once"))
_LOG_LEVEL: Parser[LogLevel] = choice(("off", "debug", "info", "warning", "error"))
_INDEX_PROOF: Parser[IndexProof] = choice(("safe", "transaction", "scratch"))
_COMMENT_FORMAT: Parser[CommentFormat] = choice(("sqlcommenter", "datadog"))
_COMMENT_TRACE: Parser[CommentTrace] = choice(("auto", "always", "off"))
_TOOLBAR: Parser[ToolbarMode] = choice(("off", "on", "badge"))


SLOWLOG_LEVELS: tuple[str, ...] = ("trace", "debug", "info", "warn")
"""The steps of a ladder of four limits, as in Elasticsearch's slow log."""


class Row(NamedTuple):
    """One setting as ``dbsight config`` prints it.

    Attributes:
        setting: The row of the table.
        value: As people write it.
        source: As ``Settings.source`` gives it.
    """

    setting: Setting
    value: str
    source: str


def _overridable() -> dict[str, Parser[Any]]:
    return {name: each.parser for name, each in SETTINGS.items() if each.overridable}


@record(frozen=True, kw_only=True)
class Settings(RuleSettings):
    """Everything that can be set, as it holds in this process.

    Made by ``Settings.load`` from arguments, environment, file and preset; made directly, its values are taken as
    they are. Durations are seconds. Each field's sentence stands beside it and makes the documentation.

    Attributes:
        sources: Where the values that are no default came from, by name.
        surroundings: OpenTelemetry's own switches as they stood when the settings were loaded.
    """

    stats_window: float = setting(
        300.0,
        "Length of the sliding window over which rates and shares are compared with the thresholds of alerts.",
        parsers.positive_duration,
        theme="Alerts, in the process and in the generated Prometheus rules",
    )
    error_rate_threshold: float = setting(
        0.05,
        "Raise an alert (`DbErrorRateHigh`) when a larger share of queries fails.",
        parsers.fraction,
    )
    pool_usage_threshold: float = setting(
        0.8,
        "Raise an alert (`DbPoolUsageHigh`) when a larger share of a pool's connections is in use.",
        parsers.fraction,
    )
    avg_query_time_threshold: float = setting(
        0.5, "Raise an alert (`DbAvgQueryTimeHigh`) when the mean query duration is longer.", parsers.duration
    )
    qps_threshold: float = setting(
        100.0, "Raise an alert (`DbQpsHigh`) above this number of queries per second.", parsers.number
    )
    connection_leak_threshold: int = setting(
        5, "Raise an alert (`DbConnectionLeaks`) from this number of leaked connections.", whole(1)
    )
    failed_connection_threshold: int = setting(
        10,
        "Raise an alert (`DbConnectionFailures`) when more connection attempts than this fail.",
        whole(0),
    )

    findings: FindingsTo = setting(
        "span",
        "Export findings as span events, as log events, or both; findings that belong to no exported span are always"
        " log events.",
        _FINDINGS_TO,
        theme="Findings and reports",
    )
    report: tuple[str, ...] | None = setting(
        None,
        "Reports written when the process exits; `html` needs `pip install 'dbsight[html]'`.",
        parsers.reports,
        unset="terminal if stderr is a terminal or nothing is exported",
    )
    report_file: str | None = setting(
        None,
        "Path of the report file; with `html,json`, each has its own suffix.",
        parsers.path,
        unset="dbsight-report.html, .json",
    )
    fail_on: tuple[FailOn, ...] = setting(
        (),
        "Exit with code 3 on matching findings: `rule`, `severity`, or `rule:minimum-severity`.",
        parsers.fail_on,
    )
    budgets: Mapping[str, Mapping[str, float]] = setting(
        {}, "Maximum number of queries, and maximum time in the database, per request of a route.", parsers.budgets
    )

    query_text: QueryText = setting(
        "sanitized",
        "Content of `db.query.text`: without literals (`sanitized`), as executed (`raw`), or omitted (`off`).",
        _QUERY_TEXT,
        theme="What is recorded",
    )
    parameters: Parameters = setting(
        "hash",
        "Bound parameters: ignored (`off`), compared by a salted hash that is never exported (`hash`), or exported"
        " (`full`).",
        _PARAMETERS,
    )
    code_location: CodeLocation = setting(
        "on",
        "Record the line of code on every query span (`on`), on slow queries and findings only (`slow`), or never"
        " (`off`).",
        _CODE_LOCATION,
    )
    explain: Explain = setting(
        "off",
        "Explain SELECT statements on a connection of dbsight's own: never, when they are slow, or also each once.",
        _EXPLAIN,
    )
    explain_interval: float = setting(
        600.0, "Ask for the plan of a statement at most once within this time.", parsers.duration
    )
    explain_per_minute: int = setting(10, "Maximum number of query plans requested per minute.", whole(1))
    index_proof: IndexProof = setting(
        "safe",
        "How an index is proved before it is advised: without a change to the server (`safe`), by creating it on"
        " PostgreSQL in a transaction that is rolled back (`transaction`), or with a sample of the rows in a scratch"
        " schema on MariaDB and MySQL (`scratch`).",
        _INDEX_PROOF,
    )
    blocking_sessions: bool = setting(
        False,
        "While a query of SQLAlchemy on PostgreSQL, MariaDB or MySQL takes longer than its slow threshold, ask the"
        " server on a connection of dbsight's own which session blocks it.",
        parsers.boolean,
    )
    sqlcommenter: bool = setting(
        False,
        "Add route, framework and trace context to every SQLAlchemy statement but batches as a SQL comment"
        " (sqlcommenter).",
        parsers.boolean,
    )
    sqlcommenter_format: CommentFormat = setting(
        "sqlcommenter",
        "Keys of the comment: those of sqlcommenter, or also those by which Datadog's Database Monitoring joins"
        " statements with traces, in front of the statement.",
        _COMMENT_FORMAT,
    )
    sqlcommenter_trace: CommentTrace = setting(
        "auto",
        "When the comment names the trace, which makes every text another one: unless the driver or the server keeps"
        " prepared statements or plans by text (`auto`), always, or never (`off`).",
        _COMMENT_TRACE,
    )
    suppress_driver_spans: bool = setting(
        True, "Suppress spans of the driver's instrumentation for queries that already have a span.", parsers.boolean
    )
    transaction_spans: bool = setting(
        False,
        "Create an INTERNAL span `transaction` from the begin of each transaction to its end; the spans of its queries"
        " stay beside it.",
        parsers.boolean,
    )
    process_metrics: bool = setting(
        True, "Export metrics about the memory and the garbage collector of the process.", parsers.boolean
    )

    log_level: LogLevel | None = setting(
        None,
        "Write a line of JSON about each query (`debug`), each slow or failed one (`warning`), or each very slow or"
        " failed one (`error`).",
        _LOG_LEVEL,
        theme="Query log",
        unset="debug if one of the next two is set, else off",
    )
    log_min_duration: float | None = setting(
        None, "Of these queries, log those that take at least this long.", parsers.duration, unset="all"
    )
    log_file: str | None = setting(
        None, "Path of the file of the query log.", parsers.path, unset="to Python's logger dbsight.queries"
    )
    log_file_size: int = setting(
        10_000_000, "Rotate the file of the query log before it has more bytes than this.", whole(1000)
    )
    log_file_count: int = setting(5, "Number of older files of the query log that are kept.", whole(0, 1000))
    log_export: bool = setting(
        False, "Export the lines of the query log as OpenTelemetry log events (`dbsight.query`), too.", parsers.boolean
    )

    prometheus_port: int | None = setting(
        None,
        "Serve the metrics to Prometheus at `/metrics` on this port, beside other exporters; needs the extra"
        " `prometheus`. `OTEL_EXPORTER_PROMETHEUS_HOST` names the address to listen at, by default `localhost`.",
        whole(1, 65535),
        theme="Prometheus",
        unset="not served",
    )

    serve: int | None = setting(
        None,
        "Serve totals and the latest requests on this port of the loopback interface, for `dbsight top`, `serve`,"
        " `load` and `mcp` of the same user. Further processes take the next free ports; 0 is any free port.",
        whole(0, 65535),
        theme="Endpoint of the process",
        unset="not served",
    )

    toolbar: ToolbarMode = setting(
        "off",
        "For development: have the toolbar's middleware add figures about the database to the headers of responses"
        " (`on`), and a small badge with them to HTML pages, too (`badge`).",
        _TOOLBAR,
    )

    redis_preset: RedisPreset = setting(
        "balanced", "Default sizes of the Redis pools.", _REDIS_PRESET, theme="Redis pools"
    )
    redis_master_pool_size: int = setting(
        10, "Maximum connections to a master, per process.", whole(1), also="REDIS_MASTER_POOL_SIZE"
    )
    redis_slave_pool_size: int = setting(
        20, "Maximum connections to a replica, per process.", whole(1), also="REDIS_SLAVE_POOL_SIZE"
    )
    redis_local_pool_size: int = setting(
        5, "Maximum connections to a local server, per process.", whole(1), also="REDIS_LOCAL_POOL_SIZE"
    )
    redis_roles: Mapping[str, str] = setting(
        {},
        "Role of the Redis pools of a host, or of `host:port`, that neither `redis_pool()` made nor"
        " `SharedPoolRegistry.register()` gave one.",
        parsers.roles,
    )
    redis_async_pool_min: int = setting(
        5, "Minimum connections of an asynchronous pool.", whole(0), also="REDIS_ASYNC_POOL_MIN"
    )
    redis_async_pool_max: int = setting(
        20, "Maximum connections of an asynchronous pool.", whole(1), also="REDIS_ASYNC_POOL_MAX"
    )

    poll_redis_every: float | None = setting(
        None,
        "Interval at which each Redis server is polled for INFO and SLOWLOG, in the background.",
        parsers.positive_duration,
        unset="never",
    )

    max_slow_queries: int = setting(100, "Maximum number of slow queries kept for reports.", whole(1), theme="Bounds")
    max_alerts: int = setting(1000, "Maximum number of alerts kept.", whole(1))
    max_windows: int = setting(
        1000, "Maximum number of windows (requests, tasks) that are open at the same time.", whole(1)
    )
    max_operations_per_window: int = setting(
        1000, "Maximum number of operations kept per window; then its rules run, and it is emptied.", whole(1)
    )
    max_window_age: float = setting(
        60.0, "Age at which the rules of a window that is still open run, and it is emptied.", parsers.positive_duration
    )

    baseline: str | None = setting(
        None,
        "JSON file of known findings, which are not reported; written by `dbsight baseline save`.",
        parsers.path,
        theme="Suppressions",
    )

    overrides: Mapping[str, Mapping[str, Any]] = setting(
        {},
        "Settings that differ for a query fingerprint, table or route.",
        tables.overrides(_overridable),
        theme="Only in the file",
        file_only=True,
    )
    ignore: tuple[Mapping[str, Any], ...] = setting(
        (), "Findings to suppress, each with a reason.", tables.ignore, file_only=True
    )

    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    surroundings: Surroundings = field(default_factory=Surroundings, repr=False, compare=False)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """Settle every value: argument before environment before file before preset before default.

        What is wrong in the environment or in the file is one warning each, and the next best value holds: the
        application starts.

        Args:
            environ: By default the process's environment.
            **arguments: Settings by name; None counts as not given.

        Raises:
            TypeError: An argument is an unknown setting.
            ValueError: An argument's value does not parse.
        """
        if environ is None:
            environ = environment()
        values, sources, complaints = resolution.resolve(SETTINGS, environ, arguments)
        for complaint in complaints:
            _warn(complaint)
        return cls(**values, sources=sources, surroundings=Surroundings.read(environ))

    def replaced(self, **arguments: Any) -> Settings:
        """The same settings with other values for some; of the slow and very slow limits the other follows.

        Args:
            **arguments: Settings by name, as for ``load``.

        Raises:
            TypeError: An argument is an unknown setting.
            ValueError: An argument's value does not parse, or both slow limits are given the wrong way round.
        """
        given = resolution.parsed(SETTINGS, arguments)
        sources = {**self.sources, **dict.fromkeys(given, resolution.ARGUMENT)}
        values = {name: SETTINGS[name].parser.read(raw) for name, raw in given.items()}
        resolution.follow_slow_limit(values, self)
        changed: Settings = replace(self, **values, sources=sources)
        return changed

    def source(self, name: str) -> str:
        """Where a value came from.

        Returns:
            ``argument``, ``environment``, ``file <path>``, ``preset <name>`` or ``default``.

        Raises:
            KeyError: There is no such setting.
        """
        known = self.sources.get(name)
        if known is not None:
            return known
        return DEFAULT if SETTINGS[name].default == getattr(self, name) else ARGUMENT

    def describe(self) -> list[Row]:
        """Every setting with its value and where that came from, in the order of the table."""
        return [Row(each, each.show(getattr(self, name)), self.source(name)) for name, each in SETTINGS.items()]

    def limits(self, system: str) -> tuple[float, float]:
        """Durations from which an operation is slow and very slow.

        Args:
            system: ``db.system.name``; one without limits of its own has those of SQL.

        Returns:
            Slow and very slow, s. Of a ladder of four these are its info and warn steps.
        """
        ladder = self.slow_query_thresholds.get(system)
        if ladder is None:
            return self.slow_query_threshold, self.very_slow_query_threshold
        return ladder[-2], ladder[-1]

    def slowlog_level(self, system: str, duration: float) -> str | None:
        """The step of a ladder of four limits that an operation reached.

        Args:
            system: ``db.system.name``.
            duration: s.

        Returns:
            ``trace``, ``debug``, ``info`` or ``warn``, as Elasticsearch names them; None below all of them, and for a
            system without a ladder.
        """
        ladder = self.slow_query_thresholds.get(system, ())
        if len(ladder) < len(SLOWLOG_LEVELS):
            return None
        reached = sum(duration >= limit for limit in ladder)
        return SLOWLOG_LEVELS[reached - 1] if reached else None

    def redis_pool_size(self, role: str) -> int:
        """Connections that a Redis pool of a role may hold.

        Args:
            role: ``master``, ``slave``, ``local`` or ``async``.

        Raises:
            KeyError: There is no such role.
        """
        return {
            "master": self.redis_master_pool_size,
            "slave": self.redis_slave_pool_size,
            "local": self.redis_local_pool_size,
            "async": self.redis_async_pool_max,
        }[role]

    def rule_enabled(self, rule: str) -> bool:
        """Whether a rule is to look; in ``rules`` the last word about it counts."""
        enabled = self.rules[:1] != () and self.rules[0].startswith("-")
        for word in self.rules:
            if word.lstrip("-") in {rule, "all"}:
                enabled = not word.startswith("-")
        return enabled

    def fails_on(self, rule: str, severity: Severity) -> bool:
        """Whether a finding of this rule and severity makes the process fail at exit."""
        return any(each.holds(rule, severity) for each in self.fail_on)

    def check_rules(self, known: Iterable[str], allowed: Iterable[str] = ()) -> None:
        """Warn of names in ``rules``, ``fail_on`` and ``ignore`` that are no rule; the list of rules is not known here.

        Args:
            known: Names of all rules.
            allowed: Names that the application passed to ``allow()``.
        """
        names = {*known, "all"}
        asked = [("rules", word.lstrip("-")) for word in self.rules]
        asked += [("fail_on", condition.rule) for condition in self.fail_on]
        asked += [("ignore", entry["rule"]) for entry in self.ignore]
        asked += [("allow()", rule) for rule in sorted(allowed)]
        for name, rule in asked:
            if rule not in names:
                _warn(f"unknown rule {rule} in {name}{did_you_mean(rule, names)}; ignored")


def _table() -> dict[str, Setting]:
    table = {}
    theme = ""
    for each in fields(Settings):
        if "parser" not in each.metadata:
            continue
        theme = each.metadata.get("theme", theme)
        default = each.default_factory() if callable(each.default_factory) else each.default
        table[each.name] = Setting(name=each.name, default=default, **{**each.metadata, "theme": theme})
    return table


SETTINGS: Mapping[str, Setting] = _table()
"""The table by name, in the order of the documentation."""

_MAX_WARNINGS = 1000

_warned: set[str] = set()


def _warn(complaint: str) -> None:
    """Say it once in this process: settings are loaded again by ``configure()``, and the fault is still the same."""
    if complaint in _warned or len(_warned) >= _MAX_WARNINGS:
        return
    _warned.add(complaint)
    logger.warning("dbsight: %s", complaint)


def forget_warnings() -> None:
    """Say again what was said; between tests."""
    _warned.clear()
