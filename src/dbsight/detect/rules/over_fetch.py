"""Columns that are loaded for many or large rows and that the application does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import where
from dbsight.detect.load_rule import LoadRule, is_over, seconds_of
from dbsight.formatting import count, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.config import Settings
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, LoadEvent, Operation

_SHARE: Final = 0.02
"""Share of these bytes from which a column is worth its name."""
_SHOWN: Final = 6


class OverFetch(LoadRule):
    """A query loads columns with many bytes, and the application does not read them.

        [ GET /articles ----------- ]
          [ SELECT articles ----- ]     id, title, body, notes: 2 MB
          [ SELECT articles ]           id, title: 6 kB

    Anti-pattern:
        articles = session.scalars(select(Article))
        return [article.title for article in articles]

    Best practice:
        articles = session.scalars(select(Article).options(load_only(Article.title)))
        return [article.title for article in articles]

    Severity:
        warning: 16 times ``over_fetch_threshold`` (``over_fetch_warning_factor``) or more, in a request.
        info: From ``over_fetch_threshold`` (64 KiB) and half of the bytes of the query
        (``over_fetch_share_threshold``).

    Not reported:
        Everything while ``watch_reads`` is off, which the preset ``development`` turns on; keys, and columns of
        composite attributes; objects that are written, deleted, merged or pickled; objects that are still in use when
        the request ends, such as cached ones; queries of whose objects less than half were read at all, because they
        may have been read through ``__dict__``; objects of SQLModel, which pydantic reads; and suppressed queries.
    """

    name: ClassVar[str] = "over_fetch"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "watch_reads",
        "over_fetch_threshold",
        "over_fetch_share_threshold",
        "over_fetch_warning_factor",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._least = settings.over_fetch_threshold

    def look(self, event: LoadEvent, operations: Sequence[Operation], window: Window) -> Iterable[Finding]:
        """Compare the bytes that were read of no object with those of the query."""
        each = sum(event.sizes.values())
        wasted = each * event.objects
        if (
            wasted < self._least
            or each < self.configuration.over_fetch_share_threshold * event.size
            or not is_over(event)
        ):
            return
        if not (event.own or event.eager is not None):
            return  # a lazy load, which is a finding of its own where it matters
        if sum([number for names, number in event.reads.items() if names]) < event.finished / 2:
            return
        grave = wasted >= self.configuration.over_fetch_warning_factor * self._least
        names = [name for name, of_each in event.sizes.items() if of_each >= _SHARE * each]
        shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
        yield self.finding_of(
            event,
            window,
            "of",
            event.model,
            severity="warning" if window.request and grave else "info",
            title=f"Columns of {event.model} are loaded and not read",
            description=f"{size(wasted)} of {size(event.size * event.objects)} in {count(event.objects)} rows belong to"
            f" columns that were not read: {shown}{where(event.call_site)}.",
            suggestion=_suggestion(event, names),
            impact=each / event.size * seconds_of(operations),
            count=max(len(operations), 1),
            metric="bytes",
            current_value=float(wasted),
            threshold=float(self._least),
        )


def _suggestion(event: LoadEvent, unread: Sequence[str]) -> str:
    """The shorter of what to keep and what to leave out."""
    kept = event.read_columns
    keeps = bool(kept) and len(kept) <= len(unread)
    columns = kept if keeps else unread
    if event.django is not None:
        arguments = ", ".join([f'"{name}"' for name in columns])
        return f"{event.django.target}.{'only' if keeps else 'defer'}({arguments})"
    if keeps:
        option = f"load_only({', '.join([f'{event.model}.{name}' for name in columns])})"
    else:
        option = ", ".join([f"defer({event.model}.{name})" for name in columns])
    if event.eager is None:
        return f"select({event.model}).options({option})"
    path, eager = event.eager
    return f"{eager or 'defaultload'}({path[-1]}).{option if keeps else f'options({option})'}"
