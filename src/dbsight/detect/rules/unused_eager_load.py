"""Relationships that are loaded with a query and that the application does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.grouping import where
from dbsight.detect.load_rule import LoadRule, seconds_of
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.config import Settings
    from dbsight.detect.window import Window
    from dbsight.model import Category, EagerLoad, Finding, LoadEvent, Operation


class UnusedEagerLoad(LoadRule):
    """A query loads a relationship eagerly, and the application does not read it.

        [ GET /menu --------------------- ]
          [ SELECT customers, orders -- ]     60 customers are read, 480 orders are not
          [ SELECT customers ]                without joinedload(Customer.orders)

    Anti-pattern:
        customers = session.scalars(select(Customer).options(joinedload(Customer.orders))).unique()
        return [customer.name for customer in customers]

    Best practice:
        customers = session.scalars(select(Customer))
        return [customer.name for customer in customers]

    Severity:
        warning: 50 times ``unused_eager_load_threshold`` objects (``unused_eager_load_warning_factor``) or more, in
        a request.
        info: From ``unused_eager_load_threshold`` objects (10).

    Not reported:
        Everything while ``watch_reads`` is off, which the preset ``development`` turns on; a relationship that is
        read of any object of the request; objects that came in handy otherwise, because something was read of them;
        objects that are still in use when the request ends, such as cached ones; objects of which nothing was read at
        all, because they may have been read through ``__dict__``; requests that delete or merge objects; ``Prefetch``
        with ``to_attr``; and suppressed queries.
    """

    name: ClassVar[str] = "unused_eager_load"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "watch_reads",
        "unused_eager_load_threshold",
        "unused_eager_load_warning_factor",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._fewest = settings.unused_eager_load_threshold

    def look(self, event: LoadEvent, operations: Sequence[Operation], window: Window) -> Iterable[Finding]:
        """Report each eager load that nobody read."""
        for eager in event.unread:
            if eager.objects >= self._fewest:
                yield self._finding(event, eager, operations, window)

    def _finding(self, event: LoadEvent, eager: EagerLoad, operations: Sequence[Operation], window: Window) -> Finding:
        part = eager.objects / max(eager.objects + event.objects, 1) if eager.shared else 1.0
        path = " → ".join(eager.path)
        many = eager.objects >= self.configuration.unused_eager_load_warning_factor * self._fewest
        return self.finding_of(
            event,
            window,
            "ue",
            *eager.path,
            severity="warning" if window.request and many else "info",
            title=f"{eager.path[-1]} is loaded eagerly and not read",
            description=f"{counted(eager.objects, 'object')} of {path} were loaded with the query, and none was read"
            f"{where(event.call_site)}.",
            suggestion=_suggestion(event, eager),
            relationship=eager.path[-1],
            impact=part * seconds_of(operations),
            count=max(len(operations), 1),
            metric="count",
            current_value=float(eager.objects),
            threshold=float(self._fewest),
        )


def _suggestion(event: LoadEvent, eager: EagerLoad) -> str:
    if event.django is not None:
        names = "__".join([each.partition(".")[2] for each in eager.path])
        return f'remove {eager.option}("{names}")'
    first = eager.path[0]
    if not eager.option:
        chain = "".join([f".defaultload({each})" for each in eager.path[:-1]]).lstrip(".")
        last = f"lazyload({eager.path[-1]})"
        return f"select({first.partition('.')[0]}).options({chain}{'.' if chain else ''}{last})"
    below = f" below {' → '.join(eager.path[:-1])}" if len(eager.path) > 1 else ""
    return f"remove {eager.option}({eager.path[-1]}){below}"
