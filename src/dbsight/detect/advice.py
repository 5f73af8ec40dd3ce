"""The code that turns a repetition into one query, in the names of this application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight import config
from dbsight.detect import django_advice
from dbsight.detect.rewriting import all_at_once
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.detect.history import History
    from dbsight.detect.repetition import Repetition
    from dbsight.model import Effort, Operation, Statement

_MAX_PATH = 6
_AT_ONCE: Final = "Ask for all keys in one query: WHERE … IN (…)"
"""The suggestion where texts of queries are off."""

DIFFERENT = "{different}"


class Advice(NamedTuple):
    """What to say about a repetition.

    Attributes:
        title: One line, the same in every run.
        seen: What was seen, to follow a number of queries: ``loaded Order.customer one row at a time``; ``DIFFERENT``
            stands for the number of different parameters.
        suggestion: Code to paste; empty if unknown.
        effort: How much work that is.
    """

    title: str
    seen: str
    suggestion: str
    effort: Effort = "low"


def advise(repetition: Repetition, history: History, siblings: Sequence[str] = ()) -> Advice:
    """Suggest how one query can replace the repetition.

    Args:
        repetition: What was repeated.
        history: The window, to find what loaded the parents.
        siblings: The classes with columns of their own that were loaded row by row for the same base class.
    """
    first = repetition.operations[0]
    if first.django is not None:
        if first.django.raw:
            return _without_orm(repetition)
        return Advice(*django_advice.advise(repetition, first.django, history))
    name = repetition.relationship
    if name is None:
        return _without_orm(repetition)
    if repetition.load == "lazy":
        return _relationship(name, repetition, history)
    return _columns(name, repetition, history, siblings)


# -- The ORM ------------------------------------------------------------------------------------------------------
def _relationship(name: str, repetition: Repetition, history: History) -> Advice:
    model = name.partition(".")[0]
    unit = "parent" if repetition.to_many else "row"
    if repetition.entity == model:
        # A tree: one option loads as many levels as recursion_depth says.
        fix = f"select({model}).options(selectinload({name}, recursion_depth=3))"
    else:
        loader = "selectinload" if repetition.to_many else "joinedload"
        fix = _eager([*_path(repetition.operations[0], history), (loader, name)])
    return Advice(f"{name} is loaded one {unit} at a time", f"loaded {name} one {unit} at a time", fix)


def _columns(name: str, repetition: Repetition, history: History, siblings: Sequence[str]) -> Advice:
    model = name.partition(".")[0]
    if repetition.load == "expired":
        return Advice(
            f"{model} is refreshed one row at a time after a commit expired it",
            f"read {model} again one row at a time after a commit or rollback expired it",
            "Session(engine, expire_on_commit=False)",
        )
    if repetition.load == "generated":
        return Advice(
            f"Values that the database generated for {model} are read one row at a time",
            f"read values that the database generated for {model} one row at a time",
            '__mapper_args__ = {"eager_defaults": True}',
        )
    if repetition.load == "inherited" and repetition.entity:
        classes = ", ".join(siblings or (model,))
        return Advice(
            f"The columns of {model} are loaded one row at a time",
            f"loaded the columns of {model} one row at a time, which a query for {repetition.entity} does not load",
            f"select({repetition.entity}).options(selectin_polymorphic({repetition.entity}, [{classes}]))",
        )
    return Advice(
        f"{name} is deferred and loaded one row at a time",
        f"loaded the deferred column {name} one row at a time",
        _eager([*_path(repetition.operations[0], history), ("undefer", name)]),
    )


def _eager(path: Sequence[tuple[str, str]]) -> str:
    root = path[0][1].partition(".")[0]
    return f"select({root}).options({'.'.join(f'{loader}({name})' for loader, name in path)})"


def _path(operation: Operation, history: History) -> list[tuple[str, str]]:
    """The loaders above this load: by which relationships its parents were loaded, from the root down.

    The root is what a query of the application loaded. Empty when that is the parents themselves.
    """
    path: list[tuple[str, str]] = []
    seen: set[str] = set()
    current: Operation | None = operation
    for _ in range(_MAX_PATH):
        if current is None or current.relationship is None:
            break
        model = current.relationship.partition(".")[0]
        if model in seen:
            break
        seen.add(model)
        current = _parent(current, model, history)
        if current is not None and current.relationship is not None:
            path.append(("selectinload" if current.to_many else "joinedload", current.relationship))
    return path[::-1]


def _parent(operation: Operation, model: str, history: History) -> Operation | None:
    """The relationship load that loaded the parent; None if a query of the application did, or if unknown."""
    tables: set[str] = set()
    for loaded in _loads_of(model, history):
        tables.update(loaded.statement.targets[:1])
    if not tables:
        return None
    for earlier in history.before(operation):
        if earlier.relationship is None:
            if earlier.statement.kind == "select" and not tables.isdisjoint(earlier.statement.targets):
                return None
        elif earlier.entity == model and earlier.load in {"lazy", "eager"}:
            return earlier
    return None


def _loads_of(model: str, history: History) -> Iterator[Operation]:
    """One load of each statement that loads this class through a relationship."""
    for group in history.groups.values():
        first = group[0]
        if first.entity == model and first.relationship is not None and first.load in {"lazy", "eager"}:
            yield first


# -- Without it ---------------------------------------------------------------------------------------------------
def _without_orm(repetition: Repetition) -> Advice:
    statement = repetition.statement
    if statement.system in _STORES:
        fix = _of_a_store(statement)
    else:
        fix = all_at_once(statement.text) if config.current().query_text != "off" else _AT_ONCE
    return Advice(
        f"{statement.summary} runs once per item",
        f"ran {statement.summary} with {DIFFERENT} from one place",
        fix,
        "medium",
    )


_STORES: Final = frozenset(("elasticsearch", "opensearch", "mongodb", "s3"))
_KEY_OF_FILTER: Final = pattern(r"""\{\s*["']([\w.]+)["']\s*:""")


def _of_a_store(statement: Statement) -> str:
    """How a store answers for many keys at once; S3 cannot."""
    target = statement.targets[0] if statement.targets else ""
    if statement.system == "s3":
        return "with ThreadPoolExecutor(10) as pool: list(pool.map(get, keys))  # max_pool_connections=10 or more"
    if statement.system == "mongodb":
        key = _KEY_OF_FILTER.search(statement.text)
        return f'db.{target or "collection"}.find({{"{key[1] if key else "_id"}": {{"$in": […]}}}})'
    if statement.operation in {"get", "exists", "get_source"}:
        return f'client.mget(index="{target}", ids=[…])'
    return "client.msearch(searches=[…])"
