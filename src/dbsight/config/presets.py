"""Sets of default values; individual settings override them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "development": {"slow_query_threshold": 2.0, "explain": "slow", "report": ("terminal",), "watch_reads": True},
    "balanced": {},
    "production": {"slow_query_threshold": 0.5, "report": ()},
    "high_traffic": {"slow_query_threshold": 0.5, "code_location": "slow", "report": ()},
}
"""What each preset sets; ``balanced`` is the defaults. Of the slow limits a preset moves SQL's alone."""


def _redis(master: int, slave: int, local: int, async_min: int, async_max: int) -> dict[str, int]:
    return {
        "redis_master_pool_size": master,
        "redis_slave_pool_size": slave,
        "redis_local_pool_size": local,
        "redis_async_pool_min": async_min,
        "redis_async_pool_max": async_max,
    }


REDIS_PRESETS: Mapping[str, Mapping[str, int]] = {
    "minimal": _redis(5, 10, 3, 3, 10),
    "balanced": {},
    "high_performance": _redis(20, 40, 10, 10, 40),
}
"""Connections that a Redis pool of each role may have; ``balanced`` is the defaults."""
