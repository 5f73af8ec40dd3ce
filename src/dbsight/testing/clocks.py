"""Clocks that tests stop: how long a query takes is still measured by the real one.

``freezegun`` replaces ``perf_counter`` in every module that has imported it, and what begins at one time and ends at
another would have taken years. ``time-machine`` changes only the time of day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.instrument.imported import when_imported

if TYPE_CHECKING:
    from types import ModuleType


def install() -> None:
    """Leave dbsight's own clock alone, before the first test stops the others."""
    when_imported("freezegun.config", _freezegun)


def _freezegun(module: ModuleType) -> None:
    module.configure(extend_ignore_list=["dbsight"])
