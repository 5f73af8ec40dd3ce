"""Which attributes of objects that Django's ORM loaded the application reads; in development only.

A field's value stands in the object's ``__dict__``, and is read from there without asking a descriptor. Making the
fields' descriptors ask would change what other packages see of them; ``Model.__getattribute__`` changes nothing but the
time that a read takes. What is read is noted beside the objects, by identity, so that objects, copies and pickles are
what they always were.

Objects are watched as soon as their queryset is filled (``QuerySet._fetch_all``), with those that ``select_related()``
brought; what prefetching reads meanwhile is not the application's. Objects that only a rendered response refers to are
not read any more. ``iterator()``, raw queries and ``values()`` are not watched.

Private names: ``QuerySet._fetch_all`` and ``_iterable_class``, ``prefetch_one_level``, ``Query.select_related``,
``Field.is_cached``; checked with Django 5.2. Without them, nothing is watched.
"""

from __future__ import annotations

import gc
import sys
import weakref
from contextvars import ContextVar
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument import callsite, django_orm, loads
from dbsight.instrument.loads import OPAQUE, WRITTEN, Query, Relation
from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token

    from dbsight.instrument.loads import Loads
    from dbsight.model import CallSite, DjangoQuery

_MAX_KNOWN: Final = 5000
_MAX_VISITED: Final = 50_000
"""What a response refers to, as far as it is looked at."""
_DICT: Final = "__dict__"
_READERS: Final = frozenset(("__getstate__", "__reduce__", "__copy__", "__deepcopy__"))
"""Functions of Django that read all of an object for the application."""

_NO_DATA: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
_NO_MODULES: Final = (
    "django.apps",
    "django.core.handlers",
    "django.db.models.fields",
    "django.db.models.options",
    "django.db.models.sql",
    "django.http",
    "django.urls",
)
"""Modules whose objects lead from a response to the whole application, and to none of its objects alone."""

_patches: Final = Patches()
_fetching: ContextVar[_Fetch | None] = ContextVar("dbsight_django_fetch", default=None)
_level: ContextVar[tuple[Relation, ...]] = ContextVar("dbsight_django_prefetch", default=())
_watched: dict[int, tuple[set[str], frozenset[str], Any]] = {}
"""What is read of each object, what may be, and a weak reference that ends the entry; by identity."""
_names: dict[Any, frozenset[str]] = {}
_columns: dict[type, tuple[tuple[str, ...], frozenset[str]]] = {}
_queries: dict[Any, DjangoQuery] = {}
"""Of each query and line a copy of its own, by which its operations are found."""


def switch(wanted: bool) -> None:
    """Install the hooks, now or when Django's ORM is imported, or remove them."""
    _patches.undo()
    django_orm.following = None
    _watched.clear()
    if wanted:
        django_orm.following = _sending
        _patches.when_imported("django.db.models.base", _models)
        _patches.when_imported("django.db.models.query", _querysets)
        _patches.when_imported("django.template.response", _responses)


# -- What is read ---------------------------------------------------------------------------------------------------
def _models(module: ModuleType) -> None:
    model = module.Model
    watched = _watched.get

    def __getattribute__(self: Any, name: str, /) -> Any:  # noqa: N807 - it takes the place of that
        known = watched(id(self))
        if known is not None and name in known[1]:
            if name == _DICT:
                _dict_is_read(known[0])
            else:
                known[0].add(name)
        return super(model, self).__getattribute__(name)

    _patches.replace(model, "__getattribute__", __getattribute__)
    _patches.wrap(model, "save_base", before=_saved)
    _patches.wrap(model, "delete", before=_deleted)


def _dict_is_read(reads: set[str]) -> None:
    """``vars(book)``, a pickle or a copy reads all of it, Django's own descriptors do not."""
    frame = sys._getframe(2)
    name = str(frame.f_globals.get("__name__"))
    if not name.startswith(("django.db.models.", "django.utils.functional")) or frame.f_code.co_name in _READERS:
        reads.add(OPAQUE)


def _saved(instance: Any) -> None:
    known = _watched.get(id(instance))
    if known is not None:
        known[0].add(WRITTEN)


def _deleted(_: Any) -> None:
    """A cascade reads what no hook sees."""
    here = loads.here()
    if here is not None:
        here.opaque = True


# -- What is loaded -------------------------------------------------------------------------------------------------
class _Query(Query):
    """A query of Django's ORM."""

    __slots__ = ()

    def columns(self, kind: type) -> tuple[tuple[str, ...], frozenset[str]]:
        """As in the base class."""
        known = _columns.get(kind)
        if known is None:
            fields = [each for each in kind._meta.concrete_fields if not each.primary_key]  # type: ignore[attr-defined]
            spare = [each.attname for each in fields if not each.is_relation]
            known = _columns[kind] = (tuple([each.attname for each in fields]), frozenset(spare))
        return known


class _Fetch:
    """A queryset that is being filled.

    Attributes:
        queryset: Which.
        outer: That which asked for it: prefetching fills querysets.
        django: What Django's ORM knows of its query.
        site: The line of the application.
        path: The relations by which it is prefetched.
        inner: Those that are filled meanwhile.
        relations: Of a prefetch, by path of names.
    """

    __slots__ = ("_token", "django", "inner", "outer", "path", "queryset", "relations", "site")

    def __init__(self, queryset: Any) -> None:
        self.queryset = queryset
        self.outer = _fetching.get()
        self.django: DjangoQuery | None = None
        self.site: CallSite | None = None
        self.inner: list[_Fetch] = []
        self.path = _level.get()
        self.relations: dict[str, Relation] = {}
        self._token: Token[_Fetch | None] = _fetching.set(self)

    def returned(self, _: Any) -> None:
        """It is filled, and so is what is prefetched with it."""
        _fetching.reset(self._token)
        if self.outer is not None:
            self.outer.inner.extend((self, *self.inner))
            return
        here = loads.here()
        if here is not None:
            for fetch in (self, *self.inner):
                fetch.watch(here)

    def raised(self, _: BaseException) -> None:
        """The query failed, or what looked at its rows."""
        _fetching.reset(self._token)

    def watch(self, here: Loads) -> None:
        """Watch the objects that it brought."""
        django, found, path = self.django, self.queryset._result_cache, self.path
        if django is None or not found or not hasattr(self.queryset.model, "_meta"):
            return
        kind = type(found[0])
        if path:
            last = path[-1]
            path = (*path[:-1], Relation((last[0], last[1], kind)))
        query = here.query(
            ("django", id(django)),
            lambda: _Query(
                kind,
                self.site,
                django=django,
                own=django.load is None,
                path=path,
                option="prefetch_related" if path else "",
            ),
        )
        if query is None:
            return
        joined = self.queryset.query.select_related
        for instance in found:
            _watch(here, query, instance, self.queryset)
            if isinstance(joined, dict) and joined:
                for below, relations in _joined(instance, joined, path):
                    query.joined[relations] = "select_related"
                    _watch(here, query, below, self.queryset)


def _watch(here: Loads, query: Query, instance: Any, queryset: Any) -> None:
    identity = id(instance)
    kind = type(instance)
    if identity in _watched or not hasattr(kind, "_meta"):
        return  # the same object by another way
    reads = here.watch(query, instance, instance.__dict__)
    if reads is not None:
        lookups = queryset._prefetch_related_lookups
        attributes = tuple([each.to_attr for each in lookups if getattr(each, "to_attr", None)]) if lookups else ()
        key = (kind, attributes)
        names = _names.get(key) or _learn(key)
        _watched[identity] = (reads, names, weakref.ref(instance, lambda _: _watched.pop(identity, None)))


def _learn(key: tuple[Any, tuple[str, ...]]) -> frozenset[str]:
    """The names of fields, relations and prefetched lists of a class."""
    kind, attributes = key
    if len(_names) >= _MAX_KNOWN:
        _names.clear()
    names = {_DICT, *attributes}
    for field in kind._meta.get_fields(include_hidden=False):
        accessor = getattr(field, "get_accessor_name", None)
        names.update(filter(None, (getattr(field, "attname", ""), accessor() if accessor is not None else field.name)))
    _names[key] = found = frozenset(names)
    return found


def _joined(
    instance: Any, joined: dict[str, Any], path: tuple[Relation, ...]
) -> Iterator[tuple[Any, tuple[Relation, ...]]]:
    """The objects that ``select_related()`` brought with one, and their paths."""
    meta = instance._meta
    for name, below in joined.items():
        try:
            field = meta.get_field(name)
        except Exception:  # noqa: S112 - a FilteredRelation
            continue
        if not field.is_cached(instance):
            continue
        related = field.get_cached_value(instance)
        accessor = getattr(field, "get_accessor_name", None)
        attribute = accessor() if accessor is not None else field.name
        relations = (*path, Relation((type(instance), attribute, field.related_model)))
        if related is not None:
            yield related, relations
            yield from _joined(related, below, relations)


def _querysets(module: ModuleType) -> None:
    iterable = module.ModelIterable

    def fetch(queryset: Any) -> _Fetch | None:
        if queryset._result_cache is not None or queryset._iterable_class is not iterable:
            return None
        return _Fetch(queryset)

    _patches.wrap(module.QuerySet, "_fetch_all", begin=fetch)
    _patches.wrap(module, "prefetch_one_level", begin=_Level)


class _Level:
    """One step of the path of a prefetch."""

    __slots__ = ("_token",)

    def __init__(self, instances: Any, prefetcher: Any, lookup: Any, level: int) -> None:
        fetch = _fetching.get()
        names = lookup.prefetch_to.split("__")[: level + 1]
        kind = type(instances[0])
        relation = Relation((kind, names[-1], kind))  # the class that it leads to is known when its objects are
        path: tuple[Relation, ...] = (relation,)
        if fetch is not None:
            fetch.relations["__".join(names)] = relation
            above = ["__".join(names[:length]) for length in range(1, len(names))]
            if all(each in fetch.relations for each in above):
                path = (*[fetch.relations[each] for each in above], relation)
        self._token: Token[tuple[Relation, ...]] = _level.set(path)

    def returned(self, _: Any) -> None:
        """The objects are there, or could not be loaded."""
        _level.reset(self._token)

    raised = returned


def _sending(found: DjangoQuery) -> DjangoQuery:
    """A query is about to be sent: of one that fills a queryset, a copy that is found again."""
    fetch = _fetching.get()
    if fetch is None or fetch.django is not None:
        return found
    fetch.site = site = callsite.find()
    key = (found, str(site), fetch.path)
    known = _queries.get(key)
    if known is None:
        if len(_queries) >= _MAX_KNOWN:
            _queries.clear()
        known = _queries[key] = found._replace()
    fetch.django = known
    return known


# -- Responses ------------------------------------------------------------------------------------------------------
def _responses(module: ModuleType) -> None:
    _patches.wrap(module.SimpleTemplateResponse, "render", after=_rendered)


def _rendered(_: Any, response: Any) -> None:
    """A response keeps what it was made of, and does not read it any more."""
    here = loads.here()
    if here is None or not response.is_rendered:
        return
    made_of = [getattr(response, "context_data", None), getattr(response, "data", None)]
    seen = {id(each) for each in made_of}
    left: list[Any] = [each for each in made_of if each is not None]
    while left and len(seen) < _MAX_VISITED:
        current = left.pop()
        known = _watched.get(id(current))
        if known is not None and known[2]() is current:
            here.finished.add(id(known[0]))
        for each in gc.get_referents(current):
            kind = type(each)  # isinstance() would evaluate a lazy object
            if id(each) in seen or issubclass(kind, _NO_DATA) or kind.__module__.startswith(_NO_MODULES):
                continue
            if gc.is_tracked(each):
                seen.add(id(each))
                left.append(each)
