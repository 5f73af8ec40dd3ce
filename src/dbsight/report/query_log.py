"""The query log: one line of JSON for each query, on a logger, in a file, and as OpenTelemetry log events.

Lines are written when records are drained, not where the query ran. Literals are never in them, nor messages of errors.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime, timezone
from json import dumps
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight import semconv
from dbsight.report.log_events import LogEvents
from dbsight.report.rotating_file import RotatingFile
from dbsight.safety import failed, guard
from dbsight.span.attributes import code_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.trace import SpanContext

    from dbsight.config import Settings
    from dbsight.model import Operation, Verdict
    from dbsight.recording import OpenWindow

logger: Final = logging.getLogger("dbsight.queries")
"""Has lines once its level is set: by ``set_log_level``, by the settings, or by the application."""
_dbsight: Final = logging.getLogger("dbsight")

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_OFF: Final = logging.CRITICAL + 1
_NUMBERS: Final = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}


def set_log_level(level: int | str) -> None:
    """Log queries to the logger ``dbsight.queries`` from now on.

    Args:
        level: As for ``logging``: ``DEBUG`` logs every query, ``WARNING`` those that are slow or failed, ``ERROR``
            those that are very slow or failed, ``CRITICAL`` none.

    Raises:
        TypeError: Neither a number nor a text.
        ValueError: The name of no level.
    """
    logger.setLevel(level)


class Line(NamedTuple):
    """One line of the log.

    Attributes:
        operation: The query.
        level: Of ``logging``.
        context: Of its span, or of what it belongs to; None where it belongs to no trace.
        route: Name of the request or task, empty when unknown.
        query_class: ``slow``, ``very_slow`` or None.
        text: Of the query, sanitised; None where the settings want none.
    """

    operation: Operation
    level: int
    context: SpanContext | None
    route: str
    query_class: str | None
    text: str | None

    def json(self, process: int) -> str:
        """As people read it: always with the same keys; durations are seconds."""
        operation = self.operation
        statement, database, site, context = operation.statement, operation.database, operation.call_site, self.context
        began = datetime.fromtimestamp(operation.start_ns / 1e9, timezone.utc)
        return dumps(
            {
                "timestamp": began.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "level": logging.getLevelName(self.level),
                "trace_id": f"{context.trace_id:032x}" if context is not None else None,
                "span_id": f"{context.span_id:016x}" if context is not None else None,
                "summary": statement.summary,
                "duration": round(operation.duration, 9),
                "rows": operation.rows if operation.rows is not None else operation.affected,
                "class": self.query_class,
                "error": operation.error_type,
                "error_code": operation.error_code,
                "route": self.route or None,
                "call_site": str(site) if site is not None else None,
                "system": database.system,
                "database": database.namespace,
                "server": database.address,
                "fingerprint": statement.fingerprint,
                "text": self.text,
                "process": process,
            }
        )

    def attributes(self) -> dict[str, Any]:
        """As attributes of a log event."""
        operation = self.operation
        statement, database = operation.statement, operation.database
        attributes: dict[str, Any] = {
            semconv.DB_SYSTEM_NAME: database.system,
            semconv.DB_NAMESPACE: database.namespace,
            semconv.SERVER_ADDRESS: database.address,
            semconv.SERVER_PORT: database.port,
            semconv.DB_QUERY_SUMMARY: statement.summary,
            semconv.DB_QUERY_TEXT: self.text,
            semconv.QUERY_FINGERPRINT: statement.fingerprint,
            semconv.QUERY_DURATION: operation.duration,
            semconv.QUERY_CLASS: self.query_class,
            semconv.DB_RESPONSE_RETURNED_ROWS: operation.rows,
            semconv.QUERY_ROWS_AFFECTED: operation.affected,
            semconv.ERROR_TYPE: operation.error_type,
            semconv.DB_RESPONSE_STATUS_CODE: operation.error_code,
            semconv.ROUTE: self.route or None,
        }
        if operation.call_site is not None:
            attributes |= code_attributes(operation.call_site)
        return {name: value for name, value in attributes.items() if value is not None}


class QueryLog:
    """Writes the query log of one analyzer, where the settings or the logger's level ask for one.

    Args:
        provider: Of log events; None follows the global one.
    """

    def __init__(self, provider: LoggerProvider | None = None) -> None:
        self._events = LogEvents(provider)
        self._file: RotatingFile | None = None
        self._exports = False
        self._level = _OFF  # of the file and the events; the logger has its own
        self._level_set = False  # the logger's, by us
        self._least = 0.0
        self._texts = True

    def use(self, settings: Settings) -> None:
        """Follow other settings from now on."""
        self._least = settings.log_min_duration or 0.0
        self._texts = settings.query_text != "off"
        asked = settings.log_level
        if asked is None and (settings.log_min_duration is not None or settings.log_file is not None):
            asked = "debug"
        self._level = _LEVELS.get(asked or "off", _OFF)
        self._exports = settings.log_export and self._level != _OFF
        file = self._file
        if file is not None and settings.log_file != file.path:
            file.close()
            file = None
        if self._level == _OFF or settings.log_file is None:
            self._file = None
        else:
            self._file = RotatingFile(settings.log_file, settings.log_file_size, settings.log_file_count)
        if self._level != _OFF and settings.log_file is None:
            if self._level_set or not logger.level:
                logger.setLevel(self._level)
                self._level_set = True
        else:
            self._unset_level()

    def _unset_level(self) -> None:
        if self._level_set:
            self._level_set = False
            logger.setLevel(logging.NOTSET)

    def wanted(self) -> bool:
        """Whether there may be lines to be written; asked for every batch."""
        return self._level != _OFF or bool(logger.level) or 0 < _dbsight.level <= logging.DEBUG

    @guard
    def take(
        self,
        operations: Sequence[Operation],
        windows: Sequence[OpenWindow | None],
        verdicts: Sequence[Verdict | None],
    ) -> None:
        """Log queries, in the order of their ends; pings and the setup of connections are none.

        Args:
            operations: What ran.
            windows: Those that they belong to.
            verdicts: What was said of them; empty when there is nothing to say of any.
        """
        to_logger = logger.getEffectiveLevel() if logger.level or 0 < _dbsight.level <= logging.DEBUG else _OFF
        lowest = min(to_logger, self._level)
        lines = []
        for position, operation in enumerate(operations):
            if operation.duration < self._least or operation.statement.ping or operation.statement.setup:
                continue
            verdict = verdicts[position] if verdicts else None
            query_class = verdict.query_class if verdict is not None else None
            level = _level_of(operation, query_class)
            if level < lowest:
                continue
            window = windows[position]
            if window is not None:
                window.rename()
            context = operation.context or operation.parent
            route = window.name if window is not None else ""
            text = operation.statement.text if self._texts else None
            lines.append(Line(operation, level, context, route, query_class, text))
        if lines:
            self._write(lines, to_logger)

    def _write(self, lines: Sequence[Line], to_logger: int) -> None:
        process = os.getpid()
        written = [line.json(process) for line in lines]
        if self._file is not None:
            texts = [text for text, line in zip(written, lines, strict=True) if line.level >= self._level]
            if texts:
                self._file.write(("\n".join(texts) + "\n").encode(), len(texts))
        # A handler or an exporter that asks a database must not be logged in turn, without end.
        with suppress_instrumentation():
            if to_logger != _OFF:
                for text, line in zip(written, lines, strict=True):
                    if logger.isEnabledFor(line.level):
                        _log(text, line)
            if self._exports:
                for line in lines:
                    if line.level >= self._level:
                        self._export(line)

    def _export(self, line: Line) -> None:
        operation = line.operation
        self._events.emit(
            semconv.QUERY_EVENT,
            _NUMBERS[line.level],
            operation.statement.summary,
            line.attributes(),
            line.context,
            at_ns=operation.end_ns,
        )

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self._unset_level()
        if self._file is not None:
            self._file.close()

    def after_fork(self) -> None:
        """In a forked child: locks of the parent's threads would never be released."""
        if self._file is not None:
            self._file.after_fork()


def _level_of(operation: Operation, query_class: str | None) -> int:
    if operation.error_type is not None or query_class == "very_slow":
        return logging.ERROR
    return logging.DEBUG if query_class is None else logging.WARNING


def _log(text: str, line: Line) -> None:
    site, context = line.operation.call_site, line.context
    record = logger.makeRecord(
        logger.name,
        line.level,
        site.file if site is not None else "",
        site.line if site is not None else 0,
        text,
        (),
        None,
        site.function if site is not None else None,
        {
            "trace_id": f"{context.trace_id:032x}" if context is not None else "",
            "span_id": f"{context.span_id:016x}" if context is not None else "",
        },
    )
    try:
        if logger.hasHandlers():
            logger.handle(record)
        else:
            _unhandled.handle(record)
    except Exception:  # of a handler; the next line is another matter
        failed("query_log.handler")


class _StderrHandler(logging.Handler):
    """Prints lines to the current stderr where the application has no handlers: who asks for a log wants to see it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        if sys.stderr is not None:
            sys.stderr.write(f"{record.getMessage()}\n")


_unhandled: Final = _StderrHandler()
