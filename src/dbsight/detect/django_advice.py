"""The code that turns a repetition of Django's ORM into one query, in the names of this application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.detect.rewriting import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.detect.repetition import Repetition
    from dbsight.model import DjangoQuery, Effort, Operation

_LEVELS: Final = 3
"""Of a tree."""

_COUNT: Final = re.compile(r"SELECT COUNT\(", re.IGNORECASE)
_EXISTS: Final = re.compile(r"SELECT (?:TOP 1 )?\(?(?:1|\?|%s|\$\d+)\)? AS ", re.IGNORECASE)

AT_ONCE: Final = 500
"""Rows in one statement."""


class Wording(NamedTuple):
    """As ``advice.Advice``."""

    title: str
    seen: str
    suggestion: str
    effort: Effort = "low"


def advise(repetition: Repetition, query: DjangoQuery, path: Sequence[Operation]) -> Wording:
    """Suggest how one query can replace the repetition.

    Args:
        repetition: What was repeated.
        query: What Django knew of it.
        path: The loads that led to its parents, from the root down; empty when a query of the application did.
    """
    if query.relationship is None:
        return _of_model(repetition, query)
    if query.load == "deferred":
        return _deferred(query.relationship)
    return _relation(repetition, query, query.relationship, [each.django for each in path if each.django])


def _relation(repetition: Repetition, query: DjangoQuery, name: str, path: Sequence[DjangoQuery]) -> Wording:
    model, _, accessor = name.partition(".")
    text = repetition.statement.text
    if query.to_many and _COUNT.match(text):
        fix = f'{model}.objects.annotate(number=Count("{query.lookup}"))  # item.number'
        return Wording(f"{name} is counted one {model} at a time", f"counted {name} one {model} at a time", fix)
    if query.to_many and _EXISTS.match(text):
        inside = f'{query.entity}.objects.filter({query.back}=OuterRef("pk"))'
        fix = f"{model}.objects.annotate(exists=Exists({inside}))  # item.exists"
        return Wording(f"{name} is checked one {model} at a time", f"checked {name} one {model} at a time", fix)
    unit = "parent" if query.to_many else "row"
    title, seen = f"{name} is loaded one {unit} at a time", f"loaded {name} one {unit} at a time"
    if query.narrowed:
        inside = f'Prefetch("{accessor}", queryset={query.entity}.objects.filter(…), to_attr="chosen")'
        return Wording(title, seen, f"{model}.objects.prefetch_related({inside})  # item.chosen", "medium")
    names = [*(each.relationship or "" for each in path), name]
    root = names[0].partition(".")[0]
    lookup = "__".join(each.partition(".")[2] for each in names)
    if query.entity == model:
        lookup = "__".join([lookup, *[accessor] * (_LEVELS - 1)])
    joined = query.joinable and all(each.joinable for each in path)
    method = "select_related" if joined else "prefetch_related"
    return Wording(title, seen, f'{root}.objects.{method}("{lookup}")')


def _deferred(name: str) -> Wording:
    model, _, field = name.partition(".")
    return Wording(
        f"{name} is deferred and loaded one row at a time",
        f"loaded the deferred field {name} one row at a time",
        f'{model}.objects.defer(None)  # without .defer("{field}"), or with "{field}" in .only()',
    )


def _of_model(repetition: Repetition, query: DjangoQuery) -> Wording:
    """A query that the application writes in a loop: ``get()``, ``count()``, ``exists()``, ``filter()``."""
    statement = repetition.statement
    model = query.model
    column = (key_of(statement.text) or query.key).rpartition(".")[2].strip('"`[]')
    title = f"{statement.summary} runs once per item"
    seen = f"ran {statement.summary} with {{different}} from one place"
    if _COUNT.match(statement.text):
        fix = f'{model}.objects.filter({column}__in=keys).values("{column}").annotate(number=Count("pk"))'
    elif _EXISTS.match(statement.text):
        fix = f'set({model}.objects.filter({column}__in=keys).values_list("{column}", flat=True))'
    elif column == query.key:
        fix = f"{model}.objects.in_bulk(keys)  # objects by primary key"
    else:
        fix = f"{model}.objects.filter({column}__in=keys)"
    return Wording(title, seen, fix, "medium")


def of_write(operation: Operation, query: DjangoQuery) -> str:
    """One statement for rows that are written one by one."""
    model, statement = query.model, operation.statement
    if statement.kind == "delete":
        return f"{model}.objects.filter(pk__in=keys).delete()"
    if statement.kind == "update":
        fields = ", ".join(f'"{name}"' for name in _assigned(statement.text)) or "…"
        return f"{model}.objects.bulk_update(objects, [{fields}], batch_size={AT_ONCE})"
    return f"{model}.objects.bulk_create(objects, batch_size={AT_ONCE})"


def _assigned(text: str) -> list[str]:
    """The columns that an UPDATE sets."""
    changed = re.search(r"\bSET\b(.*?)(?:\bWHERE\b|$)", text, re.IGNORECASE | re.DOTALL)
    return re.findall(r'[`"\[]?(\w+)[`"\]]? = ', changed[1]) if changed else []
