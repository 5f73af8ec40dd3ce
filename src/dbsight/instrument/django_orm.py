"""What Django's ORM was doing when it asked for a query: which model, which relation, which deferred field.

What a descriptor loads (foreign keys, one-to-one relations, generic foreign keys, deferred fields) and prefetches is
said for as long as that takes. Querysets of managers are sent later: they are marked where the manager makes them. The
mark lies in ``Query.__dict__``, which Django copies with every step of a chain, so that
``author.book_set.filter(…).count()`` is still known as ``Author.book_set``; it is a plain tuple, because querysets are
pickled. Where a query is sent (``SQLCompiler.execute_sql``), mark and load are put where the driver's instrumentation
finds them.

``django_generic.py`` follows generic foreign keys and content types.

Private names: ``_apply_rel_filters`` and other attributes of the classes of managers, ``Query.__dict__``,
``get_object`` and ``fetch_one`` of descriptors; checked with Django 4.2, 5.2 and 6.1. Without them, queries have no
relation.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbsight.instrument import callsite
from dbsight.model import DjangoQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token
    from types import ModuleType

    from dbsight.instrument.wrap import Patches
    from dbsight.model import CallSite

_asked: ContextVar[DjangoQuery | None] = ContextVar("dbsight_django", default=None)
asked = _asked.get
"""What Django's ORM is sending, None outside of it."""

ambient: Final[ContextVar[tuple[Any, ...] | None]] = ContextVar("dbsight_django_load", default=None)
"""The mark of what is loaded without a queryset of its own."""

_ambient: Final = ambient.get

following: Callable[[DjangoQuery], DjangoQuery] | None = None
"""Is told of each query, and gives what stands for it; set by ``django_loads.py`` while objects are watched."""

_MARK: Final = "_dbsight_relation"
_MODEL: Final = "_dbsight_model"
_INNER: Final = "inner_query"
"""Where Django keeps the query inside the one of a count over a slice, or over distinct rows."""
_MAX_KNOWN: Final = 5000
_known: dict[tuple[Any, ...], DjangoQuery] = {}
_plain: dict[Any, DjangoQuery] = {}  # of each model what is loaded by no relation and with none
_relations: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_marks: dict[tuple[Any, ...], Mark] = {}


class Mark(NamedTuple):
    """The relation of a queryset; kept as a plain tuple.

    Attributes:
        relationship: ``Author.book_set``: the class of the object that was asked, and the attribute.
        load: As ``Operation.load``.
        to_many: Whether it leads to several objects; None for fields.
        entity: Name of the class that it leads to, None where any can be.
        manager: As ``DjangoQuery.manager``.
        lookup: As ``DjangoQuery.lookup``.
        target: Expression of the manager of what a relation to many leads to.
        back: The name of the way back in ``filter()``.
        joinable: Whether ``select_related()`` can follow it.
        conditions: Parts of WHERE that it needs itself.
        kept: As ``DjangoQuery.kept``.
    """

    relationship: str
    load: str
    to_many: bool | None = None
    entity: str | None = None
    manager: str = ""
    lookup: str = ""
    target: str = ""
    back: str = ""
    joinable: bool = False
    conditions: int = 0
    kept: bool = False


def patch(patches: Patches) -> None:
    """Follow the ORM from now on, or from when it is imported."""
    patches.when_imported("django.db.models.fields.related_descriptors", lambda module: _descriptors(patches, module))
    patches.when_imported("django.db.models.base", lambda module: _models(patches, module))
    patches.when_imported("django.db.models.query", lambda module: _prefetches(patches, module))
    patches.when_imported("django.db.models.sql.compiler", lambda module: _compilers(patches, module))
    patches.when_imported("asgiref.sync", lambda module: _threads(patches, module))


# -- Where queries are sent -------------------------------------------------------------------------------------------
_CONDITIONS: Final = Mark._fields.index("conditions")


def _sending(compiler: Any) -> DjangoQuery:
    """What a compiler is about to send."""
    query = compiler.query
    names = query.__dict__
    joined: Any = query.select_related
    if not joined and query.default_cols and _MARK not in names and _INNER not in names and _ambient() is None:
        found = _plain.get(query.model) or _learn(query.model, None, False, None, True)  # as most are
        return found if following is None else following(found)
    narrowed = False
    if joined:
        joined = _frozen(joined) if isinstance(joined, dict) else ()
    mark = names.get(_MARK)
    if mark is None:
        inner = names.get(_INNER)
        mark = inner.__dict__.get(_MARK) if inner is not None else None
    if mark is None:
        mark = _ambient()
    elif mark[_CONDITIONS]:
        narrowed = len(query.where.children) != mark[_CONDITIONS] or query.is_sliced
    key = (query.model, mark, narrowed, joined or None, query.default_cols)
    found = _known.get(key) or _learn(*key)
    return found if following is None else following(found)


def _sending_raw(query: Any) -> DjangoQuery:
    """A query that the application wrote itself, for a model."""
    key = (query.__dict__.get(_MODEL), None, False, None, True)
    return (_known.get(key) or _learn(*key))._replace(raw=True)


def _frozen(joined: dict[str, Any]) -> tuple[Any, ...]:
    """``{"author": {"publisher": {}}}`` as something to look up by."""
    return tuple([(name, _frozen(below)) for name, below in joined.items()])


def _learn(model: Any, mark: tuple[Any, ...] | None, narrowed: bool, joined: Any, loads: bool) -> DjangoQuery:
    relation = Mark(*mark) if mark is not None else Mark("", "")
    meta = getattr(model, "_meta", None)
    name = _name(model)
    manager = f"{name}.{_manager_of(meta)}"
    load = "related" if relation.load == "lazy" and narrowed else relation.load
    found = DjangoQuery(
        model=name,
        key=getattr(getattr(meta, "pk", None), "column", None) or "",
        relationship=relation.relationship or None,
        load=load or None,
        to_many=relation.to_many,
        entity=relation.entity or (name if relation.load in {"eager", "lazy"} else None),
        manager=relation.manager or manager,
        target=relation.target or manager,
        lookup=relation.lookup,
        back=relation.back,
        joinable=relation.joinable,
        narrowed=narrowed,
        selected=tuple(_selected(meta, joined or (), ())),
        fields=tuple((f.column, f.name) for f in getattr(meta, "fields", ()) if f.column not in {f.name, f.attname}),
        loads=bool(loads),
        kept=relation.kept,
    )
    if len(_known) >= _MAX_KNOWN:
        _known.clear()
        _plain.clear()
    _known[model, mark, narrowed, joined, loads] = found
    if mark is None and not narrowed and not joined and loads:
        _plain[model] = found
    return found


def _name(model: Any) -> str | None:
    """The name by which code finds a class; of the table of a many-to-many relation, by that relation."""
    meta = getattr(model, "_meta", None)
    source = getattr(meta, "auto_created", None)
    if source:
        for field in source._meta.local_many_to_many:
            if field.remote_field.through is model:
                return f"{source.__name__}.{field.name}.through"
    return getattr(model, "__name__", None)


def _manager_of(meta: Any) -> str:
    """The name of the manager of a class: ``objects``, unless it has others only."""
    names = [each.name for each in getattr(meta, "managers", ())]
    return "objects" if not names or "objects" in names else str(names[0])


def _selected(meta: Any, joined: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, below in joined:
        try:
            related = meta.get_field(name).related_model
        except Exception:  # noqa: S112 - Django will say so, or it is a FilteredRelation
            continue
        if related is None:  # no relation, or a generic one: Django will say so, too
            continue
        yield related.__name__, "__".join((*path, name))
        yield from _selected(related._meta, below, (*path, name))


def _compilers(patches: Patches, module: ModuleType) -> None:
    patches.wrap(module.SQLCompiler, "execute_sql", value=_sending, variable=_asked)
    patches.wrap(module.SQLInsertCompiler, "execute_sql", value=_sending, variable=_asked)


# -- Querysets of relations -------------------------------------------------------------------------------------------
def _descriptors(patches: Patches, module: ModuleType) -> None:
    patches.wrap(module.ForwardManyToOneDescriptor, "get_object", begin=_forward)
    fetching(patches, module.ReverseOneToOneDescriptor, _reverse_one, _reverse_one_unless_cached)
    for name in ("create_reverse_many_to_one_manager", "create_forward_many_to_many_manager"):
        managers(patches, module, name)
    apps = sys.modules["django.apps"].apps
    if apps.models_ready:  # what was made before
        for model in apps.get_models(include_auto_created=True):
            for descriptor in list(vars(model).values()):
                made = getattr(descriptor, "__dict__", {}).get("related_manager_cls")
                if made is not None:
                    _manager(patches, made)


def managers(patches: Patches, module: ModuleType, name: str) -> None:
    """Classes of related managers are made for each relation when it is first asked."""
    patches.wrap(module, name, after=lambda manager: _manager(patches, manager))


def _manager(patches: Patches, made: Any) -> None:
    patches.wrap(made, "_apply_rel_filters", after=_of_manager)
    for name in ("count", "exists"):
        if name in vars(made):  # of many to many, where it asks the table between alone
            patches.wrap(made, name, begin=_between)


def fetching(patches: Patches, descriptor: Any, fetch: Any, read: Any) -> None:
    """Follow what a descriptor loads: Django 6.1 has a method for it, before that it is part of reading."""
    if hasattr(descriptor, "fetch_one"):
        patches.wrap(descriptor, "fetch_one", begin=fetch)
    else:
        patches.wrap(descriptor, "__get__", begin=read)


def _forward(descriptor: Any, instance: Any) -> During:
    """``book.author``."""
    key = (descriptor, type(instance))
    return During(_relations.get(key) or _keep(key, _to_one(type(instance), descriptor.field)))


def _reverse_one(descriptor: Any, instance: Any) -> During:
    """``author.profile``, where the profile has the key."""
    key = (descriptor, type(instance))
    related = descriptor.related
    return During(_relations.get(key) or _keep(key, _to_one(type(instance), related, related.get_accessor_name())))


def _reverse_one_unless_cached(descriptor: Any, instance: Any) -> During | None:
    if instance is None or descriptor.related.is_cached(instance):
        return None
    return _reverse_one(descriptor, instance)


def _to_one(owner: Any, field: Any, name: str = "") -> tuple[Any, ...]:
    """The mark of a relation to one object, from either side."""
    name = name or field.name
    back = field.remote_field.name if name != field.name else ""
    entity = field.related_model.__name__
    return (f"{owner.__name__}.{name}", "lazy", False, entity, _manager_for(owner), name, "", back or "", True, 0)


def _manager_for(owner: Any) -> str:
    return f"{owner.__name__}.{_manager_of(owner._meta)}"


def _keep(key: tuple[Any, ...], mark: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(_relations) >= _MAX_KNOWN:
        _relations.clear()
    _relations[key] = mark
    return mark


def _of_manager(queryset: Any, manager: Any) -> None:
    """``author.book_set`` and ``book.tags``, and what is chained to them."""
    # Not ``query``: to read that applies the condition of the relation, which Django puts off.
    query = queryset._query
    own = len(query.where.children) + (queryset._deferred_filter is not None)
    query.__dict__[_MARK] = (*_relation_of(manager), own)


def _between(manager: Any) -> During:
    """``book.tags.count()``."""
    return During(Mark(*_relation_of(manager)))


def _relation_of(manager: Any) -> tuple[Any, ...]:
    """A mark but for its conditions; found once for each relation."""
    key = (type(manager), type(manager.instance))
    return _relations.get(key) or _keep(key, _relation(manager, key[1]))


def _relation(manager: Any, owner: Any) -> tuple[Any, ...]:
    if hasattr(manager, "source_field_name"):
        accessor = lookup = manager.prefetch_cache_name
        back = manager.query_field_name
        if manager.reverse:
            for each in owner._meta.related_objects:
                if each.many_to_many and each.field.name == back and each.related_model is manager.model:
                    accessor, lookup = each.get_accessor_name(), each.field.related_query_name()
    elif hasattr(manager, "content_type_field_name"):
        accessor = lookup = manager.prefetch_cache_name
        back = manager.object_id_field_name
    elif hasattr(manager.field, "get_accessor_name"):  # a ForeignObject that the application reads as many
        accessor = lookup = manager.field.field.name
        back = ""
    else:
        accessor, lookup = manager.field.remote_field.get_accessor_name(), manager.field.related_query_name()
        back = manager.field.name
    name, model = f"{owner.__name__}.{accessor}", manager.model
    return (name, "lazy", True, model.__name__, _manager_for(owner), lookup, _manager_for(model), back, False)


# -- What is loaded without a queryset of its own -----------------------------------------------------------------
class During:
    """A load that is going on; what a ``begin`` hook returns."""

    __slots__ = ("_token",)

    def __init__(self, mark: tuple[Any, ...]) -> None:
        self._token: Token[tuple[Any, ...] | None] = ambient.set(mark)

    def returned(self, _: Any) -> None:
        """It is over."""
        ambient.reset(self._token)

    raised = returned


def mark_of(owner: Any, name: str, load: str, *, to_many: bool | None = None, lookup: str | None = None) -> Mark:
    """A mark without what only a descriptor knows; made once."""
    key = (owner, name, load, lookup)
    found = _marks.get(key)
    if found is None:
        if len(_marks) >= _MAX_KNOWN:
            _marks.clear()
        relation = f"{owner.__name__}.{name}" if name else owner.__name__
        manager = _manager_for(owner)
        found = _marks[key] = Mark(relation, load, to_many, None, manager, name if lookup is None else lookup)
    return found


def _models(patches: Patches, module: ModuleType) -> None:
    patches.wrap(module.Model, "refresh_from_db", begin=_refresh)


def _refresh(instance: Any, using: Any, fields: Any) -> During:
    """A field that was deferred, or columns that are read again."""
    names = instance.__dict__
    owner = type(instance)
    if not isinstance(fields, (list, tuple)) or not fields or any(name in names for name in fields):
        return During(mark_of(owner, "", "refreshed"))
    return During(mark_of(owner, min(fields), "deferred", lookup=_with_field(owner, names, min(fields))))


def _with_field(owner: Any, loaded: Any, name: str) -> str:
    """The call by which the queryset would have loaded this field, too: the shorter of ``defer`` and ``only``."""
    fields = owner._meta.concrete_fields
    left_out = [each.name for each in fields if each.attname not in loaded and name not in {each.name, each.attname}]
    kept = [each.name for each in fields if each.name not in left_out and not each.primary_key]
    if not left_out:
        return "defer(None)"
    method, named = ("defer", left_out) if len(left_out) <= len(kept) else ("only", kept)
    return f"{method}({', '.join([f'{chr(34)}{each}{chr(34)}' for each in named])})"


def _prefetches(patches: Patches, module: ModuleType) -> None:
    patches.wrap(module, "prefetch_one_level", begin=_prefetch)
    patches.wrap(module.RawQuerySet, "__init__", after=_raw)
    patches.wrap(module.sql.RawQuery, "_execute_query", value=_sending_raw, variable=_asked)


def _raw(_: Any, queryset: Any, raw_query: Any, model: Any) -> None:
    queryset.query.__dict__[_MODEL] = model


def _prefetch(instances: Any, prefetcher: Any, lookup: Any, level: int) -> During:
    name = lookup.prefetch_through.split("__")[level]
    return During(mark_of(type(instances[0]), name, "eager"))


# -- Asynchronous views -----------------------------------------------------------------------------------------------
class _Submitting:
    """A coroutine hands a query to a thread: the line that awaits it is on the stack now, and not there."""

    __slots__ = ("_token",)

    def __init__(self, _: Any) -> None:
        self._token: Token[CallSite | None] = callsite.submitted.set(callsite.find())

    def returned(self, _: Any) -> None:
        """The thread is done."""
        callsite.submitted.reset(self._token)

    raised = returned


def _threads(patches: Patches, module: ModuleType) -> None:
    patches.wrap(module.SyncToAsync, "__call__", begin=_Submitting)
