"""What an ORM loaded in one unit of work, and which of it the application read; watched in development only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dbsight.model.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbsight.model.query import CallSite, Database, DjangoQuery, Statement


class EagerLoad(NamedTuple):
    """A relationship that was loaded eagerly, and that the application did not read.

    Attributes:
        path: From the class that was asked for: ``("Customer.orders", "Order.lines")``.
        option: What asked for it: ``joinedload``, ``select_related`` …; empty where the mapping itself does.
        objects: How many objects it loaded.
        shared: Whether it shares the statement of the objects that it belongs to: a join.
    """

    path: tuple[str, ...]
    option: str
    objects: int
    shared: bool


class LoadEvent(Event):
    """Objects of one class that the executions of one query loaded, told when their unit of work ends.

    Attributes:
        model: Name of the class.
        objects: How many were loaded.
        alive: How many of them may still be read, because something refers to them.
        reads: The attributes that the application read or set, and of how many objects exactly these; of objects
            that are not alive.
        sizes: Mean size of a value in bytes, by attribute; of columns that a query may leave out, and that no object
            was read of, alive or not.
        read_columns: The columns that were read of any object.
        size: Mean size of all columns of an object, bytes.
        own: The application asked for this class; else it came with another one, or lazily.
        eager: The relationship by which it was loaded eagerly: the path as in ``EagerLoad``, and the option.
        unread: Eager loads of this query that nobody read.
        statement: The query, None where ``django`` finds it among the operations of the window.
        database: Where it ran.
        django: What Django's ORM knew of the query; the same object as that of the operation.
    """

    __slots__ = (
        "alive",
        "database",
        "django",
        "eager",
        "model",
        "objects",
        "own",
        "read_columns",
        "reads",
        "size",
        "sizes",
        "statement",
        "unread",
    )

    def __init__(
        self,
        model: str,
        at_ns: int,
        objects: int,
        *,
        alive: int = 0,
        reads: Mapping[frozenset[str], int],
        sizes: Mapping[str, float],
        read_columns: Sequence[str] = (),
        size: float = 0.0,
        own: bool = True,
        eager: tuple[tuple[str, ...], str] | None = None,
        unread: Sequence[EagerLoad] = (),
        statement: Statement | None = None,
        database: Database | None = None,
        django: DjangoQuery | None = None,
        call_site: CallSite | None = None,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(at_ns, call_site, allowed=allowed)
        self.model = model
        self.objects = objects
        self.alive = alive
        self.reads = reads
        self.sizes = sizes
        self.read_columns = read_columns
        self.size = size
        self.own = own
        self.eager = eager
        self.unread = unread
        self.statement = statement
        self.database = database
        self.django = django

    @property
    def finished(self) -> int:
        """How many objects are not alive, so that what was read of them is all that ever will be."""
        return sum(self.reads.values())
