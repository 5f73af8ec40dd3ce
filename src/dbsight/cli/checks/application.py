"""The checklist of the application: five lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Line
from dbsight.cli.checks.database import Advice, names

if TYPE_CHECKING:
    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Practice


class Caching(Advice):
    """Checklist: are repeated reads cached?

    Good:
        A cache was used, and no query was repeated redundantly.

    What to do:
        Keep the result for the duration of the request, or cache it with an expiry.
    """

    name: ClassVar[str] = "caching"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        repeated = practice.found("redundant_query")
        if repeated:
            return Line("✘", repeated[0], "keep the result, or cache it")
        asked = sum(each.hits + each.misses for each in practice.caches if each.name != "sqlalchemy.compiled")
        if asked:
            return Line("✔", f"caches were read {asked} times, and no query was repeated redundantly")
        return Line("?", "no cache was used", "consider one for rows that many requests read")


class Batches(Advice):
    """Checklist: are rows read and written in batches?

    Good:
        No queries in loops, and many rows are written by one statement.

    What to do:
        Apply the suggestion of the finding: an eager load, ``WHERE id IN (…)``, ``executemany``, ``MGET``, a pipeline.
    """

    name: ClassVar[str] = "batches"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        loops = practice.found("row_by_row_write", "n_plus_one", "redis_chatter")
        if loops:
            return Line("✘", loops[0], "apply the suggestion of the finding")
        if practice.batches:
            return Line("✔", f"{practice.batches} statements with many rows each, and no queries in loops")
        if evidence.inside is not None and evidence.inside.calls:
            return Line("✔", "no queries in loops")
        return Line("?", "no query was captured", "run a command that executes queries")


class Awaits(Advice):
    """Checklist: do queries keep the event loop free?

    Good:
        Queries on an event loop use asynchronous drivers and pools.

    What to do:
        Use an asynchronous driver and ``create_async_engine``, or ``asyncio.to_thread`` around the call.
    """

    name: ClassVar[str] = "async"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        blocked = practice.found("blocking_call", "async_engine_sync_pool", "serial_awaits")
        if blocked:
            return Line("✘", blocked[0], "use an asynchronous driver, or asyncio.to_thread")
        if practice.asynchronous:
            return Line("✔", f"{practice.asynchronous} queries on an event loop, none of which blocked it")
        pools = [each for each in practice.engines if each.asynchronous and each.created]
        if pools:
            return Line("✔", f"asynchronous pools were used: {names(pools)}")
        return Line("?", "no query ran on an event loop", "relevant to asynchronous services only")


class Leaks(Advice):
    """Checklist: are all resources released?

    Good:
        No connection, session, transaction or lock stayed open, and memory did not grow.

    What to do:
        Use ``with`` for sessions and connections, and locks with a time to live.
    """

    name: ClassVar[str] = "leaks"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        left = practice.found("connection_leak", "session_leak", "lock_leak", "memory_growth", "connection_growth")
        if left:
            return Line("✘", left[0], "use with for sessions and connections, and a time to live for locks")
        if evidence.inside is not None and evidence.inside.calls:
            return Line("✔", "no connection, session or lock stayed open")
        return Line("?", "no query was captured", "run a command that executes queries")


class Monitoring(Advice):
    """Checklist: is telemetry exported?

    Good:
        Spans are exported to a configured endpoint.

    What to do:
        ``OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317``.
    """

    name: ClassVar[str] = "monitoring"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        where = ", ".join(evidence.exporters)
        if evidence.exporters and all(each in {"none", "console"} for each in evidence.exporters):
            return Line("✘", f"spans are not exported: {where}", "OTEL_TRACES_EXPORTER=otlp")
        if evidence.configured:
            return Line("✔", f"spans are exported to {evidence.endpoint}")
        return Line(
            "?", f"no endpoint is configured; default {evidence.endpoint}", "OTEL_EXPORTER_OTLP_ENDPOINT=http://…:4317"
        )
