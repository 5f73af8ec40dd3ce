"""Statistics of ORM classes and of caches by class, with the names that ActiveRecord libraries use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbsight import analyzer
from dbsight.engines import cache_totals
from dbsight.model import ModelTotals

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY_CACHE = "sqlalchemy.compiled"
"""The cache of compiled statements."""


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What the ORM did with the objects of one class since the process started, or since ``reset()``.

    Attributes:
        loads: Objects made from rows; those that a session already had are not made again.
        saves: Objects that flushes inserted or updated.
        deletes: Objects that flushes deleted.
        average_load_time_ms: ms, mean of the queries that the ORM sent for the class; 0 without any.
        average_save_time_ms: ms, mean of the statements that wrote its table; 0 without any.
        inserts: Of the saves.
        updates: Of the saves.
    """

    loads: int = 0
    saves: int = 0
    deletes: int = 0
    average_load_time_ms: float = 0.0
    average_save_time_ms: float = 0.0
    inserts: int = 0
    updates: int = 0

    @classmethod
    def get(cls, model: type | str) -> ModelStats:
        """The statistics of a class, or of the class of this name; zeros where nothing is known of it."""
        return _stats(next((each for each in _models() if each.model == _name(model)), ModelTotals(_name(model))))

    @classmethod
    def all(cls) -> dict[str, ModelStats]:
        """The statistics of all classes by name, most time first."""
        return {each.model: _stats(each) for each in _models()}


def model_stats(model: type | str) -> ModelStats:
    """What the ORM did with the objects of a class so far; as ``ModelStats.get``.

    Args:
        model: The class, or its name.

    Returns:
        A copy that does not change; zeros where nothing is known of the class.
    """
    return ModelStats.get(model)


def _name(model: type | str) -> str:
    return model if isinstance(model, str) else model.__name__


def _models() -> list[ModelTotals]:
    engine = analyzer.engine()
    if engine is None:
        return []
    engine.collect()
    return list(engine.totals.models.totals())


def _stats(totals: ModelTotals) -> ModelStats:
    return ModelStats(
        totals.loads,
        totals.inserts + totals.updates,
        totals.deletes,
        totals.read_time / totals.reads * 1e3 if totals.reads else 0.0,
        totals.write_time / totals.writes * 1e3 if totals.writes else 0.0,
        totals.inserts,
        totals.updates,
    )


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Look-ups in caches since the process started.

    Attributes:
        hits: Keys that were found.
        misses: Keys that were not.
    """

    hits: int = 0
    misses: int = 0

    @property
    def hit_ratio(self) -> float:
        """Share of the look-ups that found something, 0 to 1; 0 without any."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0

    @classmethod
    def get(cls, name: str | None = None) -> CacheStats:
        """Of the cache of this name; of all caches but that of compiled statements where it is None."""
        return cls._sum(
            lambda cache, _: cache == name if name is not None else cache != QUERY_CACHE,
        )

    @classmethod
    def get_model_stats(cls, model: type | str) -> CacheStats:
        """Of the caches that keep objects of a class: ``dbsight.watch_cache(…, model="User")``."""
        return cls._sum(lambda _, its: its == _name(model))

    @classmethod
    def get_query_stats(cls) -> CacheStats:
        """Of the cache of compiled statements."""
        return cls.get(QUERY_CACHE)

    @classmethod
    def _sum(cls, wanted: Callable[[str, str], bool]) -> CacheStats:
        chosen = [each for each in cache_totals() if wanted(each.cache, each.model)]
        return cls(sum(each.hits for each in chosen), sum(each.misses for each in chosen))
