"""What a process that runs Django did with its settings, for the checklist.

Only processes that ``dbsight doctor -- command`` starts read them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from dbsight.model import Snapshot, TransactionEvent

_ASGI: Final = ("uvicorn", "hypercorn", "daphne", "granian")
_SERVERS: Final = ("gunicorn", *_ASGI, "uwsgi", "waitress", "mod_wsgi")
FOR_EVER: Final = -1.0


@dataclass
class Alias:
    """One entry of ``DATABASES``.

    Attributes:
        name: Of it.
        server: It is a database server, no file.
        max_age: ``CONN_MAX_AGE``, s; negative for ever.
        pooled: ``OPTIONS["pool"]`` is set.
        atomic: ``ATOMIC_REQUESTS``.
    """

    name: str
    server: bool = True
    max_age: float = 0.0
    pooled: bool = False
    atomic: bool = False


@dataclass
class Django:
    """Django in one process.

    Attributes:
        debug: ``DEBUG``.
        server: The server that serves it, as its module is called; empty for ``runserver`` and commands.
        asgi: That server speaks ASGI.
        aliases: Entries of ``DATABASES``.
        opened: Connections to servers that were opened outside Django's own pools.
        used: Requests, and other work, that had one of these.
        longest: s of the longest transaction that ``ATOMIC_REQUESTS`` opened; 0 if there was none.
        where: ``file:line`` of its view.
    """

    debug: bool = False
    server: str = ""
    asgi: bool = False
    aliases: list[Alias] = field(default_factory=list)
    opened: int = 0
    used: int = 0
    longest: float = 0.0
    where: str = ""

    @classmethod
    def of(cls, plain: dict[str, Any] | None) -> Django | None:
        """Create from plain values, such as decoded JSON; None from None."""
        if plain is None:
            return None
        known = {name: value for name, value in plain.items() if name in cls.__dataclass_fields__}
        known["aliases"] = [Alias(**each) for each in known.get("aliases", ())]
        return cls(**known)


def longer(known: TransactionEvent | None, seen: TransactionEvent) -> TransactionEvent | None:
    """Return the longer of two transactions, as far as ``ATOMIC_REQUESTS`` opened them."""
    if seen.opened_by != "ATOMIC_REQUESTS" or (known is not None and known.seconds >= seen.seconds):
        return known
    return seen


def look(snapshot: Snapshot, longest: TransactionEvent | None) -> Django | None:
    """Read the settings, and what they led to; None where Django is not set up. Never raises.

    Args:
        snapshot: The totals of the process.
        longest: The longest transaction that ``ATOMIC_REQUESTS`` opened.
    """
    try:
        settings = getattr(sys.modules.get("django.conf"), "settings", None)
        if settings is None or not settings.configured:
            return None
        found = Django(
            debug=bool(settings.DEBUG),
            server=next((name for name in _SERVERS if name in sys.modules), ""),
            asgi=any(name in sys.modules for name in _ASGI) and "django.core.handlers.asgi" in sys.modules,
            aliases=[_alias(name, about) for name, about in settings.DATABASES.items() if about.get("ENGINE")],
        )
        for pool in snapshot.pools:
            if pool.state.library == "django" and pool.state.system != "sqlite":
                found.opened += pool.state.created
                found.used += pool.totals.checkouts
        if longest is not None:
            site = longest.call_site
            found.longest, found.where = longest.seconds, f"{site.file}:{site.line}" if site is not None else ""
    except Exception:
        failed("doctor.django")
        return None
    return found


def _alias(name: str, about: dict[str, Any]) -> Alias:
    age = about.get("CONN_MAX_AGE", 0)
    return Alias(
        name,
        server=not str(about["ENGINE"]).endswith(("sqlite3", "spatialite", "dummy")),
        max_age=FOR_EVER if age is None else float(age),
        pooled=bool((about.get("OPTIONS") or {}).get("pool")),
        atomic=bool(about.get("ATOMIC_REQUESTS")),
    )
