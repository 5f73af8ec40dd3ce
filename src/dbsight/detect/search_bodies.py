"""The shape of a search of Elasticsearch: which of its clauses are scored without need."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXACT: Final = frozenset(("term", "terms", "range", "exists", "ids"))
"""Clauses that hold or do not hold: nothing about them is more or less relevant."""
_ANALYSED: Final = frozenset(("match", "match_phrase"))
_KEYWORD: Final = pattern(
    r"(?:^|[._])(?:id|ids|uuid|status|state|type|kind|category|code|sku|country|lang|language|locale|currency|tenant"
    r"|is_\w+|has_\w+|keyword)$|[a-z]Id$|^is[A-Z]|^has[A-Z]"
)
"""Names of fields that hold a word of a few, or an identity, and no text."""
_RANKED: Final = frozenset(("function_score", "script_score", "rank_feature", "boosting", "dis_max", "more_like_this"))
_MAX_TEXTS: Final = 500
_MAX_DEPTH: Final = 20


class Scored(NamedTuple):
    """A clause that is scored without need.

    Attributes:
        clause: ``term``, ``match`` …
        field: Its field; empty where it has none.
    """

    clause: str
    field: str

    @property
    def filter(self) -> str:
        """The same clause as a filter."""
        if self.clause in _ANALYSED:
            field = self.field if self.field.endswith("keyword") else f"{self.field}.keyword"
            return f'{{"term": {{"{field}": …}}}}'
        return f'{{"{self.clause}": {{"{self.field}": …}}}}'


@lru_cache(maxsize=_MAX_TEXTS)
def scored_without_need(text: str) -> tuple[Scored, ...]:
    """The clauses of a search that compute a score which nobody needs.

    Args:
        text: Of a statement, as ``statement.stores`` makes it: ``search orders {"query":{"term":{"status":?}}}``.

    Returns:
        Empty for other texts, for a search that sorts by something else or only aggregates (nothing is scored then),
        and where a clause ranks on purpose.
    """
    start = text.find("{")
    if start < 0:
        return ()
    try:
        body = json.loads(re.sub(r"\?(?=\s*[,}\]])", "null", text[start:]))
    except ValueError:  # cut, or a Python literal
        return ()
    if not isinstance(body, dict) or not isinstance(body.get("query"), dict):
        return ()
    if {"sort", "aggs", "aggregations", "knn", "rescore", "min_score"} & body.keys():
        return ()
    return tuple(dict.fromkeys(_scored(body["query"], 0)))


def _scored(query: Any, depth: int) -> Iterator[Scored]:
    if depth > _MAX_DEPTH or not isinstance(query, dict) or _RANKED & query.keys():
        return
    for clause, content in query.items():
        if not isinstance(content, dict):
            continue
        if clause == "bool":
            for part in ("must", "should"):
                clauses = content.get(part, ())
                for each in clauses if isinstance(clauses, list) else (clauses,):
                    yield from _scored(each, depth + 1)
        elif clause == "nested":
            yield from _scored(content.get("query"), depth + 1)
        elif clause in _EXACT or clause in _ANALYSED:
            yield from _of_clause(clause, content)


def _of_clause(clause: str, content: dict[str, Any]) -> Iterator[Scored]:
    if "boost" in content or any(isinstance(each, dict) and "boost" in each for each in content.values()):
        return  # its weight is meant
    field = "" if clause in {"exists", "ids"} else next(iter(content), "")
    if clause in _EXACT or _KEYWORD.search(field):
        yield Scored(clause, field)
