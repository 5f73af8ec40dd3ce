"""The code that turns a repetition of Django's ORM into one query, in the names of this application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.detect.rewriting import compared, key_of
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from dbsight.detect.history import History
    from dbsight.detect.repetition import Repetition
    from dbsight.model import DjangoQuery, Effort, Operation

_LEVELS: Final = 3
"""Of a tree."""

_MAX_PATH: Final = 6

_COUNT: Final = pattern(r"SELECT COUNT\(", re.IGNORECASE)
_EXISTS: Final = pattern(r"SELECT (?:TOP 1 )?\(?(?:1|\?|%s|\$\d+)\)? AS ", re.IGNORECASE)


class Wording(NamedTuple):
    """As ``advice.Advice``."""

    title: str
    seen: str
    suggestion: str
    effort: Effort = "low"


class Origin(NamedTuple):
    """Where the objects come from whose relation is loaded.

    Attributes:
        manager: Expression of the manager of the query that the application wrote for the first of them.
        path: How they are reached from there, for ``select_related()``; empty where they are those.
        joinable: Whether ``select_related()`` can follow it.
        single: Whether there is one object alone.
    """

    manager: str
    path: str = ""
    joinable: bool = True
    single: bool = False


def origin(operation: Operation, query: DjangoQuery, history: History) -> Origin:
    """Find out which query of the application loaded the objects, and by which relations.

    Args:
        operation: The first load of the relation.
        query: What Django knew of it.
        history: Of the window.
    """
    path: list[str] = []
    joinable = True
    manager = query.manager
    seen: set[str] = set()
    current: Operation | None = operation
    while current is not None and current.relationship is not None and len(seen) < _MAX_PATH:
        owner, _, attribute = current.relationship.partition(".")
        if current is not operation:
            path.insert(0, attribute)
        if owner in seen:
            break
        seen.add(owner)
        current, above = _source(current, owner, history)
        if current is None or current.django is None:
            break
        if above:
            path.insert(0, above)
        manager = current.django.manager
        joinable = joinable and (current.relationship is None or current.django.joinable)
    alone = current is not None and current.relationship is None and not path and current.rows == 1
    single = alone and current is not None and len(history.groups.get(current.statement.fingerprint, ())) == 1
    return Origin(manager, "__".join(path), joinable, single)


def _source(operation: Operation, owner: str, history: History) -> tuple[Operation | None, str]:
    """The latest query before that loaded objects of a class, and by which path of ``select_related()``."""
    for earlier in history.before(operation):
        query = earlier.django
        if query is None or query.raw or earlier.load in {"deferred", "refreshed"} or not query.loads:
            continue
        if query.model == owner:
            return earlier, ""
        path = next((path for model, path in query.selected if model == owner), "")
        if path:
            return earlier, path
    return None, ""


def advise(repetition: Repetition, query: DjangoQuery, history: History) -> Wording:
    """Suggest how one query can replace the repetition.

    Args:
        repetition: What was repeated.
        query: What Django knew of it.
        history: The window, to find what loaded the parents.
    """
    name = query.relationship
    if name is None:
        return _of_model(repetition, query, query.target)
    if query.load == "refreshed":
        fix = f"{query.manager}.in_bulk(keys)  # instead of refresh_from_db() for each"
        return Wording(f"{name} is refreshed one row at a time", f"read {name} again one row at a time", fix, "medium")
    source = origin(repetition.operations[0], query, history)
    if query.kept:
        return _missing_types(name, query, source)
    if query.load == "deferred":
        return _deferred(name, query, source)
    if query.to_many and query.narrowed and source.single:
        # One object, and another condition each time.
        model, _, accessor = name.partition(".")
        return _of_model(repetition, query, f"{model.lower()}.{accessor}")
    return _relation(repetition, query, name, source)


def _missing_types(name: str, query: DjangoQuery, source: Origin) -> Wording:
    """Content types below a generic foreign key, of which none was found."""
    title, seen = f"{name} asks for content types that do not exist", f"asked for missing content types of {name}"
    lookup = f"{source.path}__{query.lookup}" if source.path else query.lookup
    return Wording(title, seen, f"{source.manager}.filter({lookup}__in={query.target}.all())")


def _relation(repetition: Repetition, query: DjangoQuery, name: str, source: Origin) -> Wording:
    model, _, accessor = name.partition(".")
    text = repetition.statement.text
    unit = "parent" if query.to_many else "row"
    title, seen = f"{name} is loaded one {unit} at a time", f"loaded {name} one {unit} at a time"
    if query.to_many:
        if _COUNT.match(text):
            fix = _annotated(f'number=Count("{query.lookup}")', query, source)
            title, seen = f"{name} is counted one {model} at a time", f"counted {name} one {model} at a time"
            return Wording(title, seen, f"{fix}  # item.number")
        if _EXISTS.match(text) and query.back:
            fix = _annotated(f'exists=Exists({query.target}.filter({query.back}=OuterRef("pk")))', query, source)
            title, seen = f"{name} is checked one {model} at a time", f"checked {name} one {model} at a time"
            return Wording(title, seen, f"{fix}  # item.exists")
    lookup = f"{source.path}__{accessor}" if source.path else accessor
    if query.narrowed and query.to_many:
        inside = f'Prefetch("{lookup}", queryset={query.target}.filter(…), to_attr="chosen")'
        return Wording(title, seen, f"{source.manager}.prefetch_related({inside})  # item.chosen", "medium")
    if query.entity == model:
        lookup = "__".join([lookup, *[accessor] * (_LEVELS - 1)])
    method = "select_related" if query.joinable and source.joinable else "prefetch_related"
    return Wording(title, seen, f'{source.manager}.{method}("{lookup}")')


def _annotated(expression: str, query: DjangoQuery, source: Origin) -> str:
    """The query for the objects with one more value each, also where they are reached by a relation."""
    if not source.path:
        return f"{query.manager}.annotate({expression})"
    inside = f'Prefetch("{source.path}", queryset={query.manager}.annotate({expression}))'
    return f"{source.manager}.prefetch_related({inside})"


def _deferred(name: str, query: DjangoQuery, source: Origin) -> Wording:
    field = name.partition(".")[2]
    if source.path:
        whole = f"{source.path}__{field}"
        fix = f'{source.manager}.select_related("{source.path}")  # without .defer("{whole}"), or with it in .only()'
    else:
        fix = f'{query.manager}.{query.lookup}  # without .defer("{field}"), or with "{field}" in .only()'
    return Wording(
        f"{name} is deferred and loaded one row at a time", f"loaded the deferred field {name} one row at a time", fix
    )


def _of_model(repetition: Repetition, query: DjangoQuery, manager: str) -> Wording:
    """A query that the application writes in a loop: ``get()``, ``count()``, ``exists()``, ``filter()``."""
    statement = repetition.statement
    columns = compared(statement.text)
    others = [each for each in columns if each not in {query.back, f"{query.back}_id"}] if query.back else []
    column = others[0] if others else key_of(statement.text) or query.key
    field = dict(query.fields).get(column, column)
    title = f"{statement.summary} runs once per item"
    seen = f"ran {statement.summary} with {{different}} from one place"
    if _COUNT.match(statement.text):
        fix = f'{manager}.filter({field}__in=keys).values("{field}").annotate(number=Count("pk"))'
    elif _EXISTS.match(statement.text):
        fix = f'set({manager}.filter({field}__in=keys).values_list("{field}", flat=True))'
    elif column == query.key:
        fix = f"{manager}.in_bulk(keys)  # objects by primary key"
    else:
        fix = f"{manager}.filter({field}__in=keys)"
    return Wording(title, seen, fix, "medium")


def of_write(operation: Operation, query: DjangoQuery, size: int) -> str:
    """One statement for rows that are written one by one, so many at a time."""
    manager, statement = query.target, operation.statement
    if statement.kind == "delete":
        return f"{manager}.filter(pk__in=keys).delete()"
    if statement.kind == "update":
        names = dict(query.fields)
        fields = ", ".join(f'"{names.get(name, name)}"' for name in _assigned(statement.text)) or "…"
        return f"{manager}.bulk_update(objects, [{fields}], batch_size={size})"
    return f"{manager}.bulk_create(objects, batch_size={size})"


def _assigned(text: str) -> list[str]:
    """The columns that an UPDATE sets."""
    changed = re.search(r"\bSET\b(.*?)(?:\bWHERE\b|$)", text, re.IGNORECASE | re.DOTALL)
    return re.findall(r'[`"\[]?(\w+)[`"\]]? = ', changed[1]) if changed else []
