"""Objects that ORMs loaded, and which of their attributes the application read; in development only.

Hooks on the ORM's attributes note what is read of each object that a query of the window loaded: a set of names per
object, which stays when the object is gone. No object is kept alive. When the window ends, ``Loads.events`` tells of
each query what was read of its objects, as far as nothing refers to them any more.

What asks for it (an analyzer, by its settings) does so with ``ask``; what installs the hooks (an ORM's instrumentor)
with ``follow``. Without anybody who asks, nothing is installed.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import Counter
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from dbsight import safety, scope
from dbsight.model import EagerLoad, LoadEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from dbsight.model import CallSite, Database, DjangoQuery, Statement

OPAQUE: Final = "\0opaque"
"""Stands for all attributes of an object that is read in ways that no hook sees: it is pickled, copied …"""
WRITTEN: Final = "\0written"
"""Stands beside an attribute that is set: the object may have been loaded to be changed."""

MAX_OBJECTS: Final = 20_000
"""Objects watched per window."""
_MAX_QUERIES: Final = 500
_MEASURED: Final = 20
"""Objects of each query whose values are measured."""
_FEW: Final = 2
_SMALL: Final = 1024
"""Bytes that were not read, below which a query of a single object is not worth an event."""
_LARGE: Final = 32 * 1024
"""Bytes that were not read, from which it matters whether objects are in use; the next two are objects."""
_MANY: Final = 50
_SOME: Final = 10
_COMPARED: Final = 2
"""Attributes that a condition reads at most."""
_NUMBER: Final = 8
_ALIVE: Final = 0.1
"""Share of objects that are still alive from which nothing is said about a query."""


def size_of(value: Any) -> int:
    """About how many bytes of an answer a value takes."""
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    if isinstance(value, dict):
        return sum([len(str(key)) + size_of(each) for key, each in list(value.items())[:100]])
    if isinstance(value, (list, tuple)):
        return sum([size_of(each) for each in value[:100]])
    return 0 if value is None else _NUMBER


class Load:
    """Objects of one class that the executions of one query loaded.

    Attributes:
        kind: The class.
        objects: How many were loaded.
        watched: Weak reference to each, and the names that were read of it.
        sizes: Bytes of the values of the objects that were measured, by column.
        measured: How many objects were measured.
    """

    __slots__ = ("kind", "measured", "objects", "sizes", "watched")

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.objects = 0
        self.watched: list[tuple[weakref.ref[Any], set[str]]] = []
        self.sizes: dict[str, int] = {}
        self.measured = 0

    def is_over(self, finished: Container[int]) -> bool:
        """Whether nearly all objects are gone, or not in use any more, so that nobody will read them."""
        alive = [reference() is not None and id(reads) not in finished for reference, reads in self.watched]
        return sum(alive) <= _ALIVE * len(alive)

    def was_read(self) -> bool:
        """Whether anything was read of any object."""
        return any(reads for _, reads in self.watched)


class Query:
    """The executions of one query of an ORM, from one line.

    Attributes:
        kind: The class that it is for.
        statement: As in ``LoadEvent``.
        database: As in ``LoadEvent``.
        django: As in ``LoadEvent``.
        call_site: The line of the application.
        own: Whether the application asked for it: it is no lazy or eager load.
        path: The relations from the class that the application asked for to this one, where it is an eager load.
        option: What asked for that load; empty where the mapping itself does.
        joined: Paths of relations that it loads eagerly by a join, and what asked for each.
        allowed: Rules allowed there.
        loads: By class.
    """

    __slots__ = (
        "allowed", "call_site", "database", "django", "joined", "kind", "loads", "option", "own", "path", "statement"
    )  # fmt: skip

    def __init__(
        self,
        kind: type,
        call_site: CallSite | None,
        *,
        statement: Statement | None = None,
        database: Database | None = None,
        django: DjangoQuery | None = None,
        own: bool = True,
        path: tuple[Relation, ...] = (),
        option: str = "",
    ) -> None:
        self.kind = kind
        self.statement = statement
        self.database = database
        self.django = django
        self.call_site = call_site
        self.own = own
        self.path = path
        self.option = option
        self.joined: dict[tuple[Relation, ...], str] = {}
        self.allowed = scope.allowed()
        self.loads: dict[type, Load] = {}

    def load(self, kind: type) -> Load:
        """The objects of one class."""
        known = self.loads.get(kind)
        if known is None:
            known = self.loads.setdefault(kind, Load(kind))
        return known

    def columns(self, kind: type) -> tuple[Iterable[str], frozenset[str]]:
        """Columns of a class, by attribute, without its primary key; and those of them that a query may leave out."""
        raise NotImplementedError


class Relation(tuple[type, str, type]):
    """A relationship: class, attribute, and class that it leads to."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self[0].__name__}.{self[1]}"


class Loads:
    """What one window loaded.

    Attributes:
        queries: By statement and line.
        options: What asks for eager loads that are queries of their own, by path.
        opaque: Objects were read in a way that no hook sees.
        finished: Sets of names, by identity, of objects that are alive, but not in use any more.
    """

    def __init__(self) -> None:
        self.finished: set[int] = set()
        self.queries: dict[Any, Query] = {}
        self.options: dict[tuple[Relation, ...], str] = {}
        self.opaque = False
        self._room = MAX_OBJECTS
        self._sessions: weakref.WeakSet[Any] = weakref.WeakSet()

    def knows(self, session: Any) -> bool:
        """Whether all that a session of SQLAlchemy has was loaded in this window."""
        if session in self._sessions:
            return True
        self._sessions.add(session)
        return not len(session.identity_map)

    def query(self, key: Any, make: Callable[[], Query]) -> Query | None:
        """The query of this key, made once; None where there are too many."""
        known = self.queries.get(key)
        if known is None:
            if len(self.queries) >= _MAX_QUERIES:
                safety.dropped("queries of an ORM")
                return None
            known = self.queries[key] = make()
        return known

    def watch(self, query: Query, instance: Any, values: Mapping[str, Any]) -> set[str] | None:
        """Note an object that a query loaded, with its values by attribute.

        Returns:
            The set that takes the names of its attributes that are read; None where there are too many objects.
        """
        kind = type(instance)
        load = query.load(kind)
        load.objects += 1
        if self._room <= 0:
            return None
        self._room -= 1
        if load.measured < _MEASURED:
            load.measured += 1
            sizes = load.sizes
            for name in query.columns(kind)[0]:
                if name in values:
                    sizes[name] = sizes.get(name, 0) + size_of(values[name])
        reads: set[str] = set()
        load.watched.append((weakref.ref(instance), reads))
        return reads

    # -- At the end of the window -------------------------------------------------------------------------------

    def events(self, *, collect: bool) -> Iterator[LoadEvent]:
        """What is to be said of each query, when the window has ended.

        Args:
            collect: Whether garbage may be collected, if something seems to be loaded in vain.
        """
        queries: list[Query] = list(self.queries.values())
        loads = [load for query in queries for load in list(query.loads.values())]
        if self.opaque or not loads:
            return
        if collect:
            self._collect(queries, loads)
        read = _Read(loads, self.finished)
        unread = {id(query): list(_unread(query, read)) for query in queries}
        paths = {path for found in unread.values() for path, _, _ in found}
        for query in queries:
            eager = [
                EagerLoad(tuple(map(str, path)), option, objects, shared=path != query.path)
                for path, option, objects in unread[id(query)]
                if not any(path[:length] in paths for length in range(1, len(path)))  # its parent was not read
            ]
            for load in list(query.loads.values()):
                event = _event(query, load, eager if load.kind is query.kind else (), self.finished)
                if event is not None:
                    yield event

    def _collect(self, queries: Iterable[Query], loads: Sequence[Load]) -> None:
        """Have objects collected that only refer to each other, as parents and children do, if it matters."""
        if gc.isenabled() and not all(load.is_over(self.finished) for load in loads):
            read = _Read(loads, self.finished)
            if any(_is_suspicious(query, read) for query in queries):
                gc.collect()


class _Read:
    """Which attributes were read of any object of the window, by class."""

    def __init__(self, loads: Iterable[Load], finished: Container[int]) -> None:
        self._names: dict[type, set[str]] = {}
        self._alive: set[type] = set()
        for load in loads:
            names = self._names.setdefault(load.kind, set())
            for _, reads in load.watched:
                names |= reads
            if not load.is_over(finished):
                self._alive.add(load.kind)

    def is_over(self, relation: Relation) -> bool:
        """Whether nearly all objects of both classes are gone, so that nobody will read them."""
        owner, _, target = relation
        return not any(_related(kind, owner) or _related(kind, target) for kind in self._alive)

    def was(self, relation: Relation) -> bool:
        """Whether a relation was read, or may have been: nothing is known of objects of which no hook saw a read."""
        owner, name, _ = relation
        known = [names for kind, names in self._names.items() if _related(kind, owner)]
        return not any(known) or any(name in names or OPAQUE in names for names in known)


def _related(one: type, other: type) -> bool:
    return issubclass(one, other) or issubclass(other, one)


def _is_suspicious(query: Query, read: _Read) -> bool:
    """Whether something was loaded in vain, unless it is read later."""
    if any(objects >= _SOME for _, _, objects in _unread(query, read, alive=True)):
        return True
    for load in list(query.loads.values()):
        sets = Counter([frozenset(reads) for _, reads in load.watched])
        least = min(sets, key=len, default=frozenset())
        if len(sets) > 1 and len(least) <= _COMPARED and sets[least] > load.objects / 2 and load.objects >= _MANY:
            return True
        names = frozenset().union(*sets)
        spare = query.columns(load.kind)[1] - names
        unread = sum([size for name, size in load.sizes.items() if name in spare])
        if unread * load.objects >= _LARGE * load.measured:
            return True
    return False


def _unread(query: Query, read: _Read, *, alive: bool = False) -> Iterator[tuple[tuple[Relation, ...], str, int]]:
    """The eager loads of a query that nobody read: path, option, and how many objects they loaded.

    Args:
        query: Which.
        read: What was read in its window.
        alive: Also those of objects that may still be read.
    """
    every = {query.path: query.option, **query.joined} if query.path else query.joined
    loads = list(query.loads.values())
    for path, option in every.items():
        relation = path[-1]
        owner, _, target = relation
        if read.was(relation) or not (alive or read.is_over(relation)):
            continue
        below = [load for load in loads if _related(load.kind, target)]
        if not _related(owner, target) and any(load.was_read() for load in below):
            continue  # the application came by them in another way
        yield path, option, sum([load.objects for load in below])


def _event(query: Query, load: Load, eager: Iterable[EagerLoad], finished: Container[int]) -> LoadEvent | None:
    reads = [(reference() is None or id(names) in finished, frozenset(names)) for reference, names in load.watched]
    read = frozenset().union(*[names for _, names in reads])
    sizes = {}
    if read.isdisjoint((OPAQUE, WRITTEN)):
        spare = query.columns(load.kind)[1]
        sizes = {name: size / load.measured for name, size in load.sizes.items() if name in spare and name not in read}
    if not eager and load.objects < _FEW and sum(sizes.values()) * load.objects < _SMALL:
        return None
    return LoadEvent(
        load.kind.__name__,
        time_ns(),
        load.objects,
        alive=sum([not gone for gone, _ in reads]),
        reads=Counter([names for gone, names in reads if gone]),
        sizes=sizes,
        read_columns=sorted(read & load.sizes.keys()),
        size=sum(load.sizes.values()) / max(load.measured, 1),
        own=query.own and load.kind is query.kind,
        eager=(tuple(map(str, query.path)), query.option) if query.path else None,
        unread=tuple(eager),
        statement=query.statement,
        database=query.database,
        django=query.django,
        call_site=query.call_site,
        allowed=query.allowed,
    )


# -- Whether objects are watched ------------------------------------------------------------------------------------
_lock = threading.RLock()
_askers: set[int] = set()
_followers: list[Callable[[bool], None]] = []


def ask(owner: object, *, wanted: bool) -> None:
    """Have objects watched on behalf of an owner from now on, or no longer."""
    with _lock:
        before = bool(_askers)
        (_askers.add if wanted else _askers.discard)(id(owner))
        if bool(_askers) is not before:
            for follower in tuple(_followers):
                follower(not before)


def follow(follower: Callable[[bool], None]) -> None:
    """Call ``follower`` with whether objects are watched, now and whenever that changes."""
    with _lock:
        _followers.append(follower)
        if _askers:
            follower(True)


def unfollow(follower: Callable[[bool], None]) -> None:
    """Undo ``follow``."""
    with _lock:
        if follower in _followers:
            _followers.remove(follower)
            if _askers:
                follower(False)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def here() -> Loads | None:
    """What the unit of work that this thread or task belongs to has loaded; None outside of any, and if suppressed."""
    if scope.suppressed():
        return None
    window = scope.window.get()
    if window is None or window.sealed:
        window = getattr(scope.root.get(), "window", None)
        if window is None or window.sealed:
            return None
    loads: Loads | None = window.loads
    if loads is None:
        loads = window.loads = Loads()
    return loads
