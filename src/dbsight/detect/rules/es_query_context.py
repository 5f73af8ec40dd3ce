"""Conditions of Elasticsearch searches that are scored although nothing ranks by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.repetition import Repetition
from dbsight.detect.rule import WindowRule
from dbsight.detect.search_bodies import scored_without_need
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.search_bodies import Scored
    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation

_SHOWN: Final = 3
_SYSTEMS: Final = frozenset(("elasticsearch", "opensearch"))


class EsQueryContext(WindowRule):
    """A search of Elasticsearch computes scores for conditions that hold or do not hold.

        [ GET /orders ----------------------------------------- ]
          [ search orders ----------------------------------- ]   query: {match: {status}}   scored, not cached
          [ search orders ------- ]                               bool.filter: {term: {status.keyword}}

    Anti-pattern:
        client.search(index="orders", query={"match": {"status": "active"}})

    Best practice:
        client.search(index="orders", query={"bool": {"filter": [{"term": {"status.keyword": "active"}}]}})

    Severity:
        warning: Such searches took 0.5 s or more in one request.
        info: Any other.

    Not reported:
        Searches whose body is not recorded (set ``OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_CAPTURE_SEARCH_QUERY=raw``;
        values are removed before export); searches that sort or aggregate; clauses with a boost; filters, ``must_not``
        and ``constant_score``; full text.
    """

    name: ClassVar[str] = "es_query_context"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("es_query_context_threshold",)

    def concerns(self, shape: Shape) -> bool:
        """Searches."""
        return shape.system in _SYSTEMS

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at the searches of the window, each statement once."""
        by_text: dict[str, list[Operation]] = {}
        for operation in window.operations:
            if operation.database.system in _SYSTEMS and not self._allows(operation):
                by_text.setdefault(operation.statement.text, []).append(operation)
        for text, operations in by_text.items():
            scored = scored_without_need(text)
            if scored:
                yield self._finding(operations, scored, window)

    def _allows(self, operation: Operation) -> bool:
        allowed = operation.allowed | operation.statement.allowed
        return self.name in allowed or "all" in allowed

    def _finding(self, operations: list[Operation], scored: tuple[Scored, ...], window: Window) -> Finding:
        repetition = Repetition(operations)
        clauses = ", ".join(f"{each.clause} on {each.field}" if each.field else each.clause for each in scored[:_SHOWN])
        filters = ", ".join(each.filter for each in scored[:_SHOWN])
        statement = repetition.statement
        return self.finding_in(
            window,
            repetition,
            ("qc", statement.fingerprint),
            severity="warning" if repetition.duration >= self.configuration.es_query_context_threshold else "info",
            title=f"{statement.summary} scores conditions that only filter",
            description=f"{counted(len(operations), 'search', 'searches')} computed scores for {clauses}.",
            suggestion=f'query={{"bool": {{"filter": [{filters}]}}}}',
            impact=0.0,
            count=len(operations),
            metric="duration",
            current_value=repetition.duration,
            threshold=self.configuration.es_query_context_threshold,
        )
