"""What the ORM was doing when it asked for a query: which relationship, how it was loaded, which flush.

Read from the execution context that SQLAlchemy makes for every statement. A ``do_orm_execute`` listener would tell the
same by documented names, but makes SQLAlchemy build an ``ORMExecuteState`` and prepare the statement a second time for
every ORM query of the application. The private names (``_sa_orm_load_options``, ``_compile_options``,
``_propagate_attrs``, ``mapper._all_registries``, ``registry._managers``) have been the same since SQLAlchemy 1.4 and
are read with a default: without them, queries have no relationship and no class, and nothing breaks.
"""

from __future__ import annotations

import itertools
import sys
from contextvars import ContextVar
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary


class Loading(NamedTuple):
    """How the ORM came to load something.

    Attributes:
        relationship: ``Order.customer``: the class that declares it, and the attribute; the class alone for an
            expired object that is reloaded as a whole.
        load: As ``Operation.load``.
        to_many: Whether the relationship is a collection; None for columns.
        entity: The class that the relationship leads to; of inherited columns, the class that was asked for.
    """

    relationship: str
    load: str
    to_many: bool | None
    entity: str | None = None


class Flush(NamedTuple):
    """A flush that is going on.

    Attributes:
        number: Different for each flush of this process, from 1.
        auto: A read triggered it.
    """

    number: int
    auto: bool


class Purpose:
    """What the ORM asks for with a compiled statement: the same for each execution, and kept on it.

    Attributes:
        writes: It is an INSERT, UPDATE or DELETE.
        of_orm: It is a query of the ORM.
        model: Name of the class that is asked for.
        loading: What it loads, if that is not what the application asked for.
        lazily: The same where that is a lazy load; None where the application asked for it.
        of_subclass: It may be the load of a subclass by selectin_polymorphic.
    """

    __slots__ = ("lazily", "loading", "model", "of_orm", "of_subclass", "writes")

    def __init__(self, model: str | None = None, loading: Loading | None = None) -> None:
        self.model = model
        self.loading = loading
        self.lazily: Purpose | None = None
        self.writes = self.of_orm = self.of_subclass = False


_NONE: Final = Purpose()


def purpose(context: Any) -> Purpose:
    """What the ORM asks for with a statement, remembered on the compiled one, which SQLAlchemy keeps in its cache.

    What it is read from is part of the key in that cache.

    Args:
        context: SQLAlchemy's ``ExecutionContext``.
    """
    compiled = getattr(context, "compiled", None)
    if compiled is None:
        return _NONE
    found = compiled._dbsight = _purpose(context, compiled)
    return found


def _purpose(context: Any, compiled: Any) -> Purpose:
    invoked = getattr(context, "invoked_statement", None)
    if invoked is None:
        return _NONE
    made = Purpose()
    if context.isinsert or context.isupdate or context.isdelete:
        made.writes = True
        return made
    attributes = invoked._propagate_attrs
    if not attributes:
        return _NONE
    made.of_orm = True
    made.model = getattr(getattr(attributes.get("plugin_subject"), "class_", None), "__name__", None)
    path = getattr(getattr(invoked, "_compile_options", None), "_current_path", None)
    if path is not None and path.path:  # the path of the application's own queries is empty
        made.loading = of_path(path, lazy=False)
        made.lazily = Purpose(made.model, of_path(path, lazy=True))
    else:
        made.of_subclass = OF_SUBCLASS in getattr(compiled, "binds", ())
    return made


flush: ContextVar[Flush | None] = ContextVar("dbsight_flush", default=None)

OF_SUBCLASS: Final = "primary_keys"
"""A parameter of queries by selectin_polymorphic, which have no path."""

_numbers = itertools.count(1)
_relationships: WeakKeyDictionary[Any, dict[str, Loading]] = WeakKeyDictionary()
_models: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()


def loading(context: Any) -> Loading | None:
    """What the ORM was loading with this statement, None for a query that the application wrote.

    Args:
        context: SQLAlchemy's ``ExecutionContext``.
    """
    load_options = context.execution_options.get("_sa_orm_load_options")
    compile_options = getattr(getattr(context, "invoked_statement", None), "_compile_options", None)
    if compile_options is None:
        return None
    path = getattr(compile_options, "_current_path", None)
    if load_options is not None:
        state = load_options._refresh_state
        if state is not None:
            # SQLAlchemy 1.4 does not say so, but what it reads again by itself it names.
            if getattr(load_options, "_is_user_refresh", compile_options._only_load_props is None):
                return None
            return _columns(state, compile_options._only_load_props)
        if load_options._lazy_loaded_from is not None:
            return of_path(path, lazy=True) if path else None
    return of_path(path, lazy=False) if path else _subclass(context)


def of_path(path: Any, *, lazy: bool) -> Loading | None:
    """What a path of the ORM leads to: a relationship, or None."""
    prop = getattr(path, "prop", None)
    return _relationship(prop, "lazy" if lazy else "eager") if prop is not None else None


def _relationship(prop: Any, load: str) -> Loading:
    known = _relationships.get(prop)
    if known is None:
        known = _relationships[prop] = {}
    found = known.get(load)
    if found is None:
        name = f"{prop.parent.class_.__name__}.{prop.key}"
        target = getattr(prop, "mapper", None)
        entity = target.class_.__name__ if target is not None else None
        found = known[load] = Loading(name, load, bool(getattr(prop, "uselist", False)), entity)
    return found


def _subclass(context: Any) -> Loading | None:
    """The load of a subclass by selectin_polymorphic."""
    if OF_SUBCLASS not in getattr(context.compiled, "binds", ()):
        return None
    subject = context.invoked_statement._propagate_attrs.get("plugin_subject")
    return Loading(subject.class_.__name__, "eager", None, subject.class_.__name__) if subject is not None else None


def written(context: Any) -> str | None:
    """The class that a write is about: that of ``insert(Order)``, or in a flush the one whose table is written.

    Args:
        context: SQLAlchemy's ``ExecutionContext`` of an INSERT, UPDATE or DELETE.

    Returns:
        Its name; None for a table that no class is mapped to, and for a statement that was written in terms of tables.
    """
    statement = getattr(context, "invoked_statement", None)
    subject = getattr(statement, "_propagate_attrs", {}).get("plugin_subject")
    if subject is not None:
        return str(subject.class_.__name__)
    table = getattr(statement, "table", None) if flush.get() is not None else None
    if table is None:
        return None
    try:
        return _models[table]
    except KeyError:
        _models[table] = found = _mapped_to(table)
        return found


def _mapped_to(table: Any) -> str | None:
    """The class that a table belongs to: of a hierarchy in one table its base, of several the first by name."""
    registries = getattr(sys.modules.get("sqlalchemy.orm.mapper"), "_all_registries", tuple)
    # ``registry.mappers`` raises when one class could not be mapped: such a class keeps a manager without a mapper.
    managers = [manager for registry in registries() for manager in list(getattr(registry, "_managers", ()))]
    mappers = [manager.__dict__["mapper"] for manager in managers if "mapper" in manager.__dict__]
    names = [
        mapper.class_.__name__
        for mapper in mappers
        if mapper.local_table is table and (mapper.inherits is None or mapper.inherits.local_table is not table)
    ]
    return min(names, default=None)


def _columns(state: Any, names: frozenset[str] | None) -> Loading:
    """A refresh of columns: deferred ones that are read for the first time, or expired ones that are read again."""
    model = state.class_.__name__
    expired = state.expired_attributes
    if names and not expired.intersection(names):
        return Loading(f"{model}.{min(names)}", "deferred", None)
    # What a query for a base class leaves out of a subclass counts as expired there: nothing of the base does.
    above = state.manager.mapper.inherits
    while above is not None and any(above.has_property(name) for name in expired):
        above = above.inherits
    if above is not None and names:
        return Loading(f"{model}.{min(names)}", "inherited", None, above.class_.__name__)
    if names and all(_made_by_the_database(state.manager.mapper, name) for name in names):
        return Loading(model, "generated", None)
    if names and len(names) == 1:
        return Loading(f"{model}.{min(names)}", "expired", None)
    return Loading(model, "expired", None)


def _made_by_the_database(mapper: Any, name: str) -> bool:
    """Whether the attribute's value is a default of the server: it is read again after each INSERT or UPDATE."""
    columns = getattr(mapper.attrs.get(name), "columns", ())
    return any(column.server_default is not None or column.server_onupdate is not None for column in columns)


def before_flush(session: Any, flush_context: Any, instances: Any) -> None:
    """Give the flush that begins a number, and find out whether a read triggered it."""
    frame = sys._getframe(1)
    auto = False
    for _ in range(8):
        if frame is None or auto:
            break
        auto = frame.f_code.co_name == "_autoflush"
        frame = frame.f_back  # type: ignore[assignment]
    flush.set(Flush(next(_numbers), auto))


def number_of(context: Any) -> int:
    """The number of one statement with many rows, as if it were a flush: not every database can take them together."""
    number = getattr(context, "_dbsight_rows", 0)
    if not number:
        number = context._dbsight_rows = next(_numbers)
    return int(number)


def after_flush(session: Any, *_: Any) -> None:
    """The flush is over, for good or for bad."""
    flush.set(None)
