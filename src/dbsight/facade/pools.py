"""Connection pools of this process as objects, and the settings of each preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dbsight.config import Settings
from dbsight.facade.totals import get_pool_count, get_pool_info, pool_stats


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Connections of a pool, or of all pools added.

    Attributes:
        total: Open connections.
        active: Of these, in use.
        idle: Of these, waiting in the pool.
        waiting: Requests that wait for a connection now.
        max: Connections that may be opened, None for no limit.
        checkout_time_ms: Mean wait for a connection, ms; of several pools the longest mean.
    """

    total: int = 0
    active: int = 0
    idle: int = 0
    waiting: int = 0
    max: int | None = 0
    checkout_time_ms: float = 0.0


class ConnectionPoolManager:
    """All connection pools of this process; every instance shows the same ones."""

    def __repr__(self) -> str:
        return f"<ConnectionPoolManager {self.stats()}>"

    def get_pool_info(self) -> dict[str, dict[str, Any]]:
        """``loop_id`` (None outside event loops) and ``config_hash`` (8 hexadecimal digits) of each pool, by its name.

        Further pools of the same name are ``name #2``, ``name #3`` …
        """
        return {
            name if number == 1 else f"{name} #{number}": info
            for name, infos in get_pool_info().items()
            for number, info in enumerate(infos, 1)
        }

    def get_pool_count(self) -> int:
        """How many connection pools are alive."""
        return get_pool_count()

    def stats(self, name: str | None = None) -> PoolStats:
        """Connections now.

        Args:
            name: A pool as ``dbsight.pool_stats()`` names it; None adds all pools.

        Raises:
            KeyError: There is no such pool.
        """
        known = pool_stats()
        if name is not None and name not in known:
            raise KeyError(f"no pool {name!r}; there are: {', '.join(known) or 'none'}")
        chosen = list(known.values()) if name is None else [known[name]]
        limits = [each["max"] for each in chosen]
        added = {key: sum(each[key] for each in chosen) for key in ("total", "active", "idle", "waiting")}
        return PoolStats(
            **added,
            max=None if None in limits else sum(limits),
            checkout_time_ms=max((each["checkout_time_ms"] for each in chosen), default=0.0),
        )


connection_pool = ConnectionPoolManager()
"""The pools of this process: ``connection_pool.stats().active``."""


def development_config() -> Settings:
    """Settings of the preset ``development``: a slow limit of 2 s, plans of slow queries, the report on the terminal.

    The attributes of loaded objects that are read are watched, too (``watch_reads``).

    As with every way of loading settings, the environment and the file go before the preset. ``dbsight.configure``
    takes ``preset="development"`` itself.
    """
    return Settings.load(preset="development")


def production_config() -> Settings:
    """Settings of the preset ``production``: a slow limit of 0.5 s, no report. See ``development_config``."""
    return Settings.load(preset="production")


def high_performance_config() -> Settings:
    """Settings of the preset ``high_traffic``: as ``production``, and call sites of slow queries alone."""
    return Settings.load(preset="high_traffic")
