"""The table of settings: one field each, with its default, its sentence and its parser."""
# ruff: noqa: RUF009 - what setting() returns is a field

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

from dbsight.config import parsers, resolution, tables
from dbsight.config.parsers import FailOn, Parser, choice, whole
from dbsight.config.resolution import ARGUMENT, DEFAULT, Setting
from dbsight.config.spelling import did_you_mean
from dbsight.config.surroundings import Surroundings, environment
from dbsight.model import SEVERITIES, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger("dbsight")

T = TypeVar("T")

Preset = Literal["development", "balanced", "production", "high_traffic"]
RedisPreset = Literal["minimal", "balanced", "high_performance"]
FindingsTo = Literal["span", "log", "both"]
QueryText = Literal["sanitized", "raw", "off"]
Parameters = Literal["off", "hash", "full"]
CodeLocation = Literal["on", "slow", "off"]
Explain = Literal["off", "slow", "always_once"]

_PRESET: Parser[Preset] = choice(("development", "balanced", "production", "high_traffic"))
_REDIS_PRESET: Parser[RedisPreset] = choice(("minimal", "balanced", "high_performance"))
_FINDINGS_TO: Parser[FindingsTo] = choice(("span", "log", "both"))
_QUERY_TEXT: Parser[QueryText] = choice(("sanitized", "raw", "off"))
_PARAMETERS: Parser[Parameters] = choice(("off", "hash", "full"))
_CODE_LOCATION: Parser[CodeLocation] = choice(("on", "slow", "off"))
_EXPLAIN: Parser[Explain] = choice(("off", "slow", "always_once"))


@overload
def setting(default: T, sentence: str, parser: Parser[T], **more: Any) -> T: ...
@overload
def setting(default: None, sentence: str, parser: Parser[T], **more: Any) -> T | None: ...
def setting(default: Any, sentence: str, parser: Parser[Any], **more: Any) -> Any:
    """One field of ``Settings``; ``more`` is what ``Setting`` has besides."""
    metadata = {"sentence": sentence, "parser": parser, **more}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata, hash=False)
    return field(default=default, metadata=metadata)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, as it holds in this process.

    Made by ``Settings.load`` from arguments, environment, file and preset; made directly, its values are taken as
    they are. Durations are seconds. Each field's sentence stands beside it and makes the documentation.

    Attributes:
        sources: Where the values that are no default came from, by name.
        surroundings: OpenTelemetry's own switches as they stood when the settings were loaded.
    """

    # `theme` holds for the settings that follow, too.
    enabled: bool = setting(True, "Master switch: false leaves plain OpenTelemetry.", parsers.boolean, theme="General")
    preset: Preset = setting("balanced", "Set of values to start from; every single setting beats it.", _PRESET)
    config: str | None = setting(
        None,
        "Configuration file, TOML.",
        parsers.path,
        unset="dbsight.toml, else [tool.dbsight] in pyproject.toml",
    )
    flush_on_sigterm: bool = setting(
        True,
        "Export what is pending, for at most 5 s, before SIGTERM ends the process; only where the application leaves"
        " SIGTERM its default action, and dbsight set OpenTelemetry up.",
        parsers.boolean,
    )

    slow_query_threshold: float = setting(
        1.0,
        "From this duration a SQL query is slow: a finding of severity warning.",
        parsers.duration,
        theme="Slow queries",
        overridable=True,
    )
    very_slow_query_threshold: float = setting(
        5.0,
        "From this duration a SQL query is very slow: a finding of severity error.",
        parsers.duration,
        overridable=True,
    )
    slow_query_thresholds: Mapping[str, tuple[float, ...]] = setting(
        {"redis": (0.05, 0.25), "s3": (2.0, 10.0), "elasticsearch": (0.5, 2.0, 5.0, 10.0)},
        "Slow and very slow for other systems, or a ladder of trace, debug, info and warn;"
        " systems that are not named keep their limits.",
        parsers.ladders,
    )

    rules: tuple[str, ...] = setting(
        ("all",), "Rules that look; a minus takes one away.", parsers.rules, theme="Rules", overridable=True
    )
    n_plus_one_threshold: int = setting(
        5, "Repetitions of one query that make an N+1 a warning.", whole(2), overridable=True
    )
    row_by_row_write_threshold: int = setting(
        5, "Rows written one at a time from one place that are a finding.", whole(2), overridable=True
    )
    max_rows_threshold: int = setting(
        10_000,
        "Rows that one query may fetch at once without LIMIT or streaming.",
        whole(1),
        overridable=True,
        planned=True,
    )
    connection_leak_after: float = setting(
        30.0, "A connection that is out for longer counts as leaked.", parsers.duration
    )
    pool_wait_threshold: float = setting(
        0.1, "Waiting for connections in one unit of work that is a finding.", parsers.duration
    )
    long_transaction_threshold: float = setting(
        5.0, "A transaction that is open for longer is a finding.", parsers.duration
    )
    blocked_loop_threshold: float = setting(
        0.05, "A running event loop that synchronous database calls stop for longer is a finding.", parsers.duration
    )
    cache_hit_ratio_threshold: float = setting(
        0.7, "A cache whose hit ratio is lower is a finding, once it has enough requests.", parsers.fraction
    )
    pool_count_threshold: int = setting(100, "More connection pools than this are a finding.", whole(1))

    error_rate_threshold: float = setting(
        0.05, "Failed queries as a share of all, above which an alert is raised.", parsers.fraction, theme="Alerts"
    )
    pool_usage_threshold: float = setting(
        0.8, "Connections in use as a share of the pool, above which an alert is raised.", parsers.fraction
    )
    avg_query_time_threshold: float = setting(
        0.5, "Mean duration of a query above which an alert is raised.", parsers.duration
    )
    qps_threshold: float = setting(100.0, "Queries a second above which an alert is raised.", parsers.number)
    connection_leak_threshold: int = setting(5, "Leaked connections from which an alert is raised.", whole(1))
    failed_connection_threshold: int = setting(
        10, "Failed attempts to connect above which an alert is raised.", whole(0)
    )

    findings: FindingsTo = setting(
        "span",
        "Where findings go: events on spans, log events, or both; a finding that no span can carry is always a log"
        " event.",
        _FINDINGS_TO,
        theme="Findings and reports",
    )
    report: tuple[str, ...] | None = setting(
        None,
        "Reports made when the process ends; html is planned, and makes nothing in this version.",
        parsers.reports,
        unset="terminal where stderr is one, or where nothing is exported",
    )
    report_file: str | None = setting(
        None, "Where a report that is a file is written.", parsers.path, unset="dbsight-report.html, .json"
    )
    fail_on: tuple[FailOn, ...] = setting(
        (),
        "Findings that turn exit code 0 into 3: a rule, a severity, or a rule from a severity upward.",
        parsers.fail_on,
    )
    budgets: Mapping[str, Mapping[str, float]] = setting(
        {}, "Queries, and time in the database, that one request of a route may use.", parsers.budgets
    )

    query_text: QueryText = setting(
        "sanitized",
        "`db.query.text` without literals, as it was sent (raw), or not at all.",
        _QUERY_TEXT,
        theme="What is recorded",
    )
    parameters: Parameters = setting(
        "hash",
        "Bound values: unread (off), told apart by a salted hash that never leaves the process, or exported (full).",
        _PARAMETERS,
    )
    code_location: CodeLocation = setting(
        "on", "Line of code on every query span, on slow queries and findings alone, or nowhere.", _CODE_LOCATION
    )
    explain: Explain = setting(
        "off",
        "Query plans: never, of slow SELECTs, or once for every SELECT.",
        _EXPLAIN,
        planned=True,
    )
    sqlcommenter: bool = setting(
        False, "Append a comment with the trace context to every statement.", parsers.boolean, planned=True
    )
    suppress_driver_spans: bool = setting(
        True, "Leave out the driver's own span of a query that already has one.", parsers.boolean
    )
    process_metrics: bool = setting(True, "Memory and garbage collector of the process as metrics.", parsers.boolean)

    log_min_duration: float | None = setting(
        None,
        "Queries from this duration on are written to the query log.",
        parsers.duration,
        theme="Other ways out",
        planned=True,
    )
    log_file: str | None = setting(
        None,
        "File of the query log, one JSON object a line.",
        parsers.path,
        unset="the logger dbsight.queries",
        planned=True,
    )
    prometheus_port: int | None = setting(
        None, "Serve `/metrics` for Prometheus on this port.", whole(1, 65535), planned=True
    )

    redis_preset: RedisPreset = setting(
        "balanced", "Sizes of the Redis pools to start from.", _REDIS_PRESET, theme="Redis pools"
    )
    redis_master_pool_size: int = setting(
        10, "Connections to a master that a process may hold.", whole(1), also="REDIS_MASTER_POOL_SIZE"
    )
    redis_slave_pool_size: int = setting(
        20, "Connections to a replica that a process may hold.", whole(1), also="REDIS_SLAVE_POOL_SIZE"
    )
    redis_local_pool_size: int = setting(
        5, "Connections to a local server that a process may hold.", whole(1), also="REDIS_LOCAL_POOL_SIZE"
    )
    redis_async_pool_min: int = setting(
        5, "Connections that an asynchronous pool keeps open.", whole(0), also="REDIS_ASYNC_POOL_MIN"
    )
    redis_async_pool_max: int = setting(
        20, "Connections that an asynchronous pool may hold.", whole(1), also="REDIS_ASYNC_POOL_MAX"
    )

    poll_redis_every: float | None = setting(
        None,
        "Ask each Redis server for INFO and SLOWLOG every so often, beside the requests.",
        parsers.positive_duration,
        unset="never",
    )

    max_slow_queries: int = setting(100, "Slow queries remembered for the reports.", whole(1), theme="Bounds")
    max_alerts: int = setting(1000, "Alerts remembered.", whole(1), planned=True)
    max_windows: int = setting(1000, "Units of work (requests, tasks) watched at the same time.", whole(1))
    max_operations_per_window: int = setting(
        1000, "Operations remembered of one unit of work before it is judged and emptied.", whole(1)
    )
    max_window_age: float = setting(
        60.0, "Age at which a unit of work that goes on is judged and emptied.", parsers.positive_duration
    )

    baseline: str | None = setting(
        None,
        "JSON file of known findings that are not reported; `dbsight baseline save` makes it.",
        parsers.path,
        theme="Known findings",
    )

    overrides: Mapping[str, Mapping[str, Any]] = setting(
        {},
        "Settings that differ for one fingerprint, table or route.",
        tables.overrides(_overridable),
        theme="In the file only",
        file_only=True,
    )
    ignore: tuple[Mapping[str, Any], ...] = setting(
        (), "Known findings that are not reported, each with a reason.", tables.ignore, file_only=True
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
            TypeError: An argument is no setting.
            ValueError: An argument's value does not parse.
        """
        if environ is None:
            environ = environment()
        values, sources, complaints = resolution.resolve(SETTINGS, environ, arguments)
        complaints += [
            f"{SETTINGS[name].variable} has no effect in this version"
            for name, source in sources.items()
            if SETTINGS[name].planned and not source.startswith("preset")
        ]
        for complaint in complaints:
            _warn(complaint)
        return cls(**values, sources=sources, surroundings=Surroundings.read(environ))

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
        rank = SEVERITIES.index(severity)
        return any(each.rule in {rule, "all"} and rank >= SEVERITIES.index(each.severity) for each in self.fail_on)

    def check_rules(self, known: Iterable[str]) -> None:
        """Warn of names in ``rules``, ``fail_on`` and ``ignore`` that are no rule; the list of rules is not known here.

        Args:
            known: Names of all rules.
        """
        names = {*known, "all"}
        asked = [("rules", word.lstrip("-")) for word in self.rules]
        asked += [("fail_on", condition.rule) for condition in self.fail_on]
        asked += [("ignore", entry["rule"]) for entry in self.ignore]
        for name, rule in asked:
            if rule not in names:
                _warn(f"{rule} in {name} is no rule{did_you_mean(rule, names)}")


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
