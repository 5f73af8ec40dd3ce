"""Which attributes of objects that SQLAlchemy's ORM loaded the application reads; in development only.

SQLAlchemy has no event for that: ``InstrumentedAttribute.__get__`` is wrapped. What is read of an object is noted in a
set that its ``InstanceState`` refers to, which SQLAlchemy neither copies nor pickles.

Private names: ``orm.loading.instances``, ``QueryContext.attributes``, ``create_row_processor`` of loader strategies,
``compile_options._current_path``; checked with SQLAlchemy 1.4, 2.0 and 2.1. Without them, nothing is watched.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from dbsight.instrument import callsite, loads, orm
from dbsight.instrument.loads import OPAQUE, WRITTEN, Query, Relation
from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from types import ModuleType

_READS: Final = "_dbsight_reads"
_QUERY: Final = "_dbsight_query"
_STATE: Final = "_sa_instance_state"
_PYDANTIC: Final = "__pydantic_core_schema__"
"""What pydantic serialises by itself (SQLModel), it does not read through the class."""

_patches: Final = Patches()
_columns: WeakKeyDictionary[type, tuple[tuple[str, ...], frozenset[str]]] = WeakKeyDictionary()


def switch(wanted: bool) -> None:
    """Install the hooks, now or when the ORM is imported, or remove them."""
    _patches.undo()
    if wanted:
        _patches.when_imported("sqlalchemy.orm", _install)


def _install(module: ModuleType) -> None:
    attribute = module.attributes.InstrumentedAttribute
    _patches.wrap(attribute, "__get__", before=_read)
    _patches.wrap(attribute, "__set__", before=_written)
    _patches.wrap(module.loading, "instances", before=_loading)
    for name, hook in (("SelectInLoader", _selectin), ("SubqueryLoader", _subquery)):
        _patches.wrap(_strategy(module, name), "create_row_processor", before=hook)
    _patches.wrap(_strategy(module, "JoinedLoader"), "create_row_processor", after=_joined)
    for name in ("delete", "merge"):
        _patches.wrap(module.Session, name, before=_cascades)
    _patches.listen(module.Mapper, "load", _loaded, raw=True)
    _patches.listen(module.Mapper, "pickle", _pickled, raw=True)


def _strategy(module: ModuleType, name: str) -> type:
    """A loader strategy; since SQLAlchemy 2.1 its name begins with an underscore."""
    found: type = getattr(module.strategies, f"_{name}", None) or getattr(module.strategies, name)
    return found


# -- What is read ---------------------------------------------------------------------------------------------------
def _read(attribute: Any, instance: Any) -> None:
    """``order.status``."""
    if instance is not None:
        state = instance.__dict__.get(_STATE)
        if state is not None:
            reads = state.__dict__.get(_READS)
            if reads is not None:
                reads.add(attribute.key)


def _written(attribute: Any, instance: Any) -> None:
    """``order.status = "paid"``."""
    state = instance.__dict__.get(_STATE)
    reads = state.__dict__.get(_READS) if state is not None else None
    if reads is not None:
        reads.update((attribute.key, WRITTEN))


def _pickled(state: Any, _: Any) -> None:
    reads = state.__dict__.get(_READS)
    if reads is not None:
        reads.add(OPAQUE)


def _cascades(_: Any, instance: Any) -> None:
    """What follows from one object being deleted or merged reads others."""
    here = loads.here()
    if here is not None:
        here.opaque = True


# -- What is loaded -------------------------------------------------------------------------------------------------
class _Query(Query):
    """A query of SQLAlchemy's ORM."""

    __slots__ = ()

    def columns(self, kind: type) -> tuple[tuple[str, ...], frozenset[str]]:
        """As in the base class."""
        known = _columns.get(kind)
        if known is None:
            known = _columns[kind] = _columns_of(sys.modules["sqlalchemy"].inspect(kind))
        return known


def _columns_of(mapper: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    needed = {mapper.version_id_col, mapper.polymorphic_on}
    for composite in mapper.composites:  # they are made of their columns when the object is loaded
        needed.update([column for prop in composite.props for column in prop.columns])
    keys = set(mapper.primary_key)
    attributes = [each for each in mapper.column_attrs if keys.isdisjoint(each.columns)]
    spare = [
        each.key
        for each in attributes
        if needed.isdisjoint(each.columns)
        # A foreign key may be read by the load of a relationship; an expression has no such attributes.
        and all(hasattr(column, "server_default") and not column.foreign_keys for column in each.columns)
    ]
    return tuple([each.key for each in attributes]), frozenset(spare)


def _loading(cursor: Any, context: Any) -> None:
    """A query was executed, and its objects are about to be made."""
    here = loads.here()
    execution = getattr(cursor, "context", None)
    if here is None or execution is None or context.refresh_state is not None or not _selects(execution):
        return
    if not here.knows(context.session):
        here.opaque = True  # what it has from before is not loaded again, and nothing is known of it
    compiled = context.compile_state
    subject = compiled.select_statement._propagate_attrs.get("plugin_subject")
    engine = execution.dialect.__dict__.get("_dbsight")
    if subject is None or engine is None:
        return
    path = getattr(compiled.compile_options, "_current_path", None)
    relations = _relations(path) if path else ()
    statement, _ = engine.known.get(execution.statement) or engine.learn(execution.statement)
    site = callsite.find()

    def make() -> Query:
        loading = orm.loading(execution)
        eager = relations if loading is not None and loading.load == "eager" else ()
        return _Query(
            subject.class_,
            site,
            statement=statement,
            database=engine.database,
            own=loading is None,
            path=eager,
            option=here.options.get(eager, ""),
        )

    query = here.query((statement.fingerprint, str(site), relations), make)
    if query is not None:
        context.attributes[_QUERY] = (here, query)


def _selects(execution: Any) -> bool:
    """Whether it is no INSERT, UPDATE or DELETE with RETURNING."""
    return not (execution.isinsert or execution.isupdate or execution.isdelete)


def _relations(path: Any) -> tuple[Relation, ...]:
    """The relationships in a path of SQLAlchemy, which alternates entities and properties."""
    props = [each for each in path.path if hasattr(each, "uselist")]
    return tuple([Relation((prop.parent.class_, prop.key, prop.mapper.class_)) for prop in props])


def _selectin(loader: Any, context: Any, query_entity: Any, path: Any, loadopt: Any) -> None:
    _asked(loader, context, path, loadopt, "selectinload")


def _subquery(loader: Any, context: Any, query_entity: Any, path: Any, loadopt: Any) -> None:
    _asked(loader, context, path, loadopt, "subqueryload")


def _asked(loader: Any, context: Any, path: Any, loadopt: Any, option: str) -> None:
    """A query is about to load a relationship by a second one."""
    if loadopt is not None and loadopt.strategy is not None and _QUERY in context.attributes:
        here, query = context.attributes[_QUERY]
        here.options[_below(query, path[loader.parent_property])] = option


def _below(query: Query, path: Any) -> tuple[Relation, ...]:
    """The relationships of a path from the class that the application asked for: an eager load begins its own."""
    relations = _relations(path)
    above = query.path
    return relations if len(relations) > len(above) and relations[: len(above)] == above else (*above, *relations)


def _joined(
    _: Any,
    loader: Any,
    context: Any,
    query_entity: Any,
    path: Any,
    loadopt: Any,
    mapper: Any,
    result: Any,
    adapter: Any,
    populators: Any,
) -> None:
    """A query loads a relationship by a join, unless it has put a lazy load in its place."""
    if _QUERY not in context.attributes or all(key != loader.key for key, _ in populators.get("existing", ())):
        return
    _, query = context.attributes[_QUERY]
    option = ""
    if loadopt is not None and loadopt.strategy is not None:
        option = "contains_eager" if "eager_from_alias" in loadopt.local_opts else "joinedload"
    query.joined[_below(query, path[loader.parent_property])] = option


def _loaded(state: Any, context: Any) -> None:
    """An object was made of a row."""
    known = context.attributes.get(_QUERY) if context is not None else None
    if known is not None and not hasattr(state.class_, _PYDANTIC):
        here, query = known
        reads = here.watch(query, state.obj(), state.dict)
        if reads is not None:
            state.__dict__[_READS] = reads
