"""What caches hold and for how long: asked at each collection, of caches that are kept weakly."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import ref

from opentelemetry.metrics import Observation as Measurement
from opentelemetry.metrics import get_meter_provider

from dbsight import semconv
from dbsight.instrument.pools import registry
from dbsight.safety import failed
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, MeterProvider

    Read = Callable[[Any], float | None]

_MAX: Final = 500

COMPILED: Final = "sqlalchemy.compiled"
"""Name of SQLAlchemy's cache of compiled statements, of which each engine has one."""


class _Cache(NamedTuple):
    """One cache.

    Attributes:
        name: ``dbsight.cache.name``.
        layer: ``l1``, ``l2`` … or empty.
        reference: It, weakly.
        items: Gives the number of its items, None where it does not tell.
        ttl: Gives how long it keeps an item, s; None for no limit, or where it does not tell.
    """

    name: str
    layer: str
    reference: ref[Any]
    items: Read
    ttl: Read


_caches: dict[int, _Cache] = {}
_observed: list[ref[Any]] = []
_lock = threading.RLock()


def _nothing(_: Any) -> None:
    return None


def know(name: str, cache: Any, items: Read = _nothing, ttl: Read = _nothing, layer: str = "") -> None:
    """Report the state of a cache from now on, as long as it is alive; one that is known stays as it is."""
    identity = id(cache)
    known = _caches.get(identity)
    if known is not None and known.reference() is cache:
        return
    with _lock:
        if len(_caches) >= _MAX:
            for key, each in tuple(_caches.items()):
                if each.reference() is None:
                    del _caches[key]
        if len(_caches) < _MAX:
            _caches[identity] = _Cache(name, layer, ref(cache), items, ttl)


def forget() -> None:
    """Forget all caches."""
    with _lock:
        _caches.clear()


def _alive() -> Iterable[tuple[_Cache, Any]]:
    for key, each in tuple(_caches.items()):
        cache = each.reference()
        if cache is None:
            _caches.pop(key, None)
        else:
            yield each, cache


def items() -> dict[tuple[str, str], int]:
    """The number of items by name and layer; those of several caches of one name are added."""
    found: dict[tuple[str, str], int] = {}
    for each, cache in _alive():
        number = _asked(each.items, cache)
        if number is not None:
            found[each.name, each.layer] = found.get((each.name, each.layer), 0) + int(number)
    compiled = [getattr(engine, "_compiled_cache", None) for engine in tuple(registry.engines())]
    sizes = [len(each) for each in compiled if each is not None]
    if sizes:
        found[COMPILED, ""] = sum(sizes)
    return found


def ttls() -> dict[tuple[str, str], float]:
    """For how long an item is kept, s, by name and layer; the longest of several caches of one name."""
    found: dict[tuple[str, str], float] = {}
    for each, cache in _alive():
        seconds = _asked(each.ttl, cache)
        if seconds is not None:
            found[each.name, each.layer] = max(seconds, found.get((each.name, each.layer), 0.0))
    return found


def _asked(read: Read, cache: Any) -> float | None:
    try:
        value = read(cache)
    except Exception:  # it is the application's object
        failed("caches.state")
        return None
    return value if isinstance(value, (int, float)) and value >= 0 else None


def observe(provider: MeterProvider | None = None) -> None:
    """Report the states of caches to a meter provider from now on; once for each provider.

    Args:
        provider: None takes the global one; its instruments start to work when it is set.
    """
    provider = provider or get_meter_provider()
    with _lock:
        if any(known() is provider for known in _observed):
            return
        _observed[:] = [*(known for known in _observed if known() is not None), ref(provider)]
    meter = provider.get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
    meter.create_observable_up_down_counter(
        semconv.METRIC_CACHE_ITEMS, [_measuring(items)], unit="{item}", description="Items that a cache holds."
    )
    meter.create_observable_gauge(
        semconv.METRIC_CACHE_TTL,
        [_measuring(ttls)],
        unit="s",
        description="Time to live of the items of a cache that has one for all.",
    )


def _measuring(
    read: Callable[[], dict[tuple[str, str], Any]],
) -> Callable[[CallbackOptions], Iterable[Measurement]]:
    def measure(_: CallbackOptions) -> Iterable[Measurement]:
        found = []
        for (name, layer), value in read().items():
            attributes = {semconv.CACHE_NAME: name}
            if layer:
                attributes[semconv.CACHE_LAYER] = layer
            found.append(Measurement(value, attributes))
        return found

    return measure


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
