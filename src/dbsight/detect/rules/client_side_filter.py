"""Objects that are loaded to compare one attribute in Python, and then given up."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from dbsight.detect.grouping import where
from dbsight.detect.load_rule import LoadRule, is_over, seconds_of
from dbsight.formatting import count
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.config import Settings
    from dbsight.detect.window import Window
    from dbsight.model import CallSite, Category, Finding, LoadEvent, Operation

_COMPARED: Final = 2
"""Attributes that a condition reads at most."""
_AGGREGATES: Final = pattern(r"\b(sum|min|max)\(")
_LENGTH: Final = pattern(r"\blen\(")


class ClientSideFilter(LoadRule):
    """Many objects are loaded, and most are given up after one attribute was read.

        [ GET /mine ------------------- ]
          [ SELECT orders ----------- ]     800 orders; customer_id is read of all, the rest of 10
          [ SELECT orders ]                 WHERE customer_id = ?: 10 orders

    Anti-pattern:
        orders = session.scalars(select(Order)).all()
        return [order.status for order in orders if order.customer_id == customer_id]

    Best practice:
        orders = session.scalars(select(Order).where(Order.customer_id == customer_id)).all()
        return [order.status for order in orders]

    Severity:
        warning: Ten times ``client_side_filter_threshold`` objects (``client_side_filter_warning_factor``) or more, of
        which 95 % are given up, in a request.
        info: From ``client_side_filter_threshold`` objects (100), of which 80 % are given up
        (``client_side_filter_share_threshold``); or a line that counts them by ``len()``, or
        reduces one attribute of all by ``sum()``, ``min()`` or ``max()``.

    Not reported:
        Everything while ``watch_reads`` is off, which the preset ``development`` turns on; lazy and eager loads;
        objects that are still in use when the request ends, such as cached ones; objects of which more than two
        attributes are read before they are given up, or one attribute of all and nothing else, which may be a list of
        values; and suppressed queries.
    """

    name: ClassVar[str] = "client_side_filter"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "watch_reads",
        "client_side_filter_threshold",
        "client_side_filter_share_threshold",
        "client_side_filter_warning_factor",
        "client_side_filter_warning_share",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._fewest = settings.client_side_filter_threshold

    def look(self, event: LoadEvent, operations: Sequence[Operation], window: Window) -> Iterable[Finding]:
        """Compare how many objects were used with how many were looked at."""
        if event.finished < self._fewest or not event.own or not is_over(event):
            return
        found = _filtered(event, self.configuration.client_side_filter_share_threshold) or _reduced(event)
        if found is None:
            return
        discarded = found.discarded / event.finished
        many = event.finished >= self.configuration.client_side_filter_warning_factor * self._fewest
        strong = many and discarded >= self.configuration.client_side_filter_warning_share and window.request
        yield self.finding_of(
            event,
            window,
            "cf",
            *found.attributes,
            severity="warning" if strong else "info",
            title=f"Objects of {event.model} are {found.what} in Python",
            description=f"{found.evidence}{where(event.call_site)}.",
            suggestion=found.suggestion,
            effort="medium",
            impact=discarded * seconds_of(operations),
            count=max(len(operations), 1),
            metric="rows",
            current_value=float(event.finished),
            threshold=float(self._fewest),
        )


class _Found(NamedTuple):
    """Objects that the database could have looked at.

    Attributes:
        what: What was done with them.
        attributes: What was read of all.
        discarded: How many were not needed.
        evidence: The same as a sentence, without its end.
        suggestion: Code.
    """

    what: str
    attributes: tuple[str, ...]
    discarded: int
    evidence: str
    suggestion: str


def _filtered(event: LoadEvent, share: float) -> _Found | None:
    """One attribute, or two, were read of all objects, and more of few."""
    short = [
        names
        for names in event.reads
        if 0 < len(names) <= _COMPARED and any(not other <= names for other in event.reads)  # of some, more was read
    ]
    compared = max(short, key=lambda names: _within(names, event), default=frozenset[str]())
    discarded = _within(compared, event)
    first = frozenset.intersection(*[names for names in event.reads if names] or [frozenset()])
    if not first or discarded < share * event.finished:
        return None
    if len(compared) == _COMPARED and first == compared:
        return None  # both were read of all: a list of values rather than a condition
    if frozenset() in event.reads:
        return None  # some were not looked at: a walk that ended early
    attributes = tuple(sorted(first))
    used = event.finished - discarded
    names = " and ".join(attributes)
    return _Found(
        "filtered",
        attributes,
        discarded,
        f"{count(event.finished)} objects of {event.model} were loaded; {names} was read of all of them, and more of"
        f" only {count(used)}",
        _condition(event, attributes[0]),
    )


def _within(compared: frozenset[str], event: LoadEvent) -> int:
    """Of how many objects nothing but these attributes was read."""
    return sum([number for names, number in event.reads.items() if names and names <= compared])


def _condition(event: LoadEvent, name: str) -> str:
    if event.django is not None:
        return f'{event.django.target}.filter({name}=…)  # or .order_by("{name}")[:n]'
    return f"select({event.model}).where({event.model}.{name} == …)  # or .order_by({event.model}.{name}).limit(n)"


def _reduced(event: LoadEvent) -> _Found | None:
    """Nothing, or one attribute, was read, on a line that reduces all objects to one number."""
    if len(event.reads) != 1 or event.call_site is None:
        return None
    ((names, number),) = event.reads.items()
    if len(names) > 1:
        return None
    line = _line(event.call_site)
    loaded = f"{count(number)} objects of {event.model} were loaded"
    if not names:
        if not _LENGTH.search(line):
            return None
        suggestion = (
            f"{event.django.target}.count()"
            if event.django is not None
            else f"session.scalar(select(func.count()).select_from({event.model}))"
        )
        return _Found("counted", (), number, f"{loaded} to be counted by len()", suggestion)
    (name,) = names
    called = _AGGREGATES.search(line)
    if called is None:
        return None
    function = called.group(1)
    suggestion = (
        f'{event.django.target}.aggregate({function.capitalize()}("{name}"))'
        if event.django is not None
        else f"session.scalar(select(func.{function}({event.model}.{name})))"
    )
    return _Found("reduced", (name,), number, f"{loaded} for {function}() of {name}", suggestion)


def _line(site: CallSite) -> str:
    return linecache.getline(site.file, site.line)
