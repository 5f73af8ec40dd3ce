"""Health checks of databases: one ping, sync or async, kept out of the statistics, and an endpoint that shows them."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Observation, get_meter_provider

from dbsight import semconv
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, MeterProvider

_MAX_COMPONENTS: Final = 200
_TIMEOUT: Final = 5.0

_lock = threading.Lock()
_latest: dict[str, bool] = {}
_observed: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Health:
    """The result of one check.

    Attributes:
        component: What was checked.
        healthy: It answered.
        duration: s until it answered, or until it was given up.
        error: Class of what was raised, empty when it answered.
    """

    component: str
    healthy: bool
    duration: float
    error: str = ""

    def __bool__(self) -> bool:
        return self.healthy


def health_check(target: Any, component: str = "database") -> Any:
    """Ask a database for a sign of life: ``SELECT 1``, or ``PING`` of a Redis client.

    The result is also the metric ``dbsight.health.status`` (1 or 0) of the component. The ping is kept out of
    statistics and windows.

    Args:
        target: An ``Engine`` or ``AsyncEngine`` of SQLAlchemy, a session, a connection of either, or a Redis client.
            The check takes a connection from its pool, and waits as long as that does.
        component: Name of what is checked.

    Returns:
        A ``Health``; for an asynchronous target an awaitable of one.

    Raises:
        TypeError: The target is none of these.
    """
    ping = _ping_of(target)
    if _is_asynchronous(target):
        return _check_async(ping, component)
    began = perf_counter()
    error = ""
    try:
        ping()
    except Exception as raised:
        error = type(raised).__qualname__
    return _result(component, began, error)


async def _check_async(ping: Callable[[], Any], component: str) -> Health:
    began = perf_counter()
    error = ""
    try:
        await ping()
    except Exception as raised:
        error = type(raised).__qualname__
    return _result(component, began, error)


def _result(component: str, began: float, error: str) -> Health:
    result = Health(component, not error, perf_counter() - began, error)
    with _lock:
        if component in _latest or len(_latest) < _MAX_COMPONENTS:
            _latest[component] = result.healthy
    observe()
    return result


def _is_asynchronous(target: Any) -> bool:
    module = type(target).__module__
    return ".ext.asyncio" in module or ".asyncio." in f"{module}." or inspect.iscoroutinefunction(_redis_ping(target))


def _redis_ping(target: Any) -> Any:
    return getattr(target, "ping", None)


def _ping_of(target: Any) -> Callable[[], Any]:
    if callable(getattr(target, "connect", None)) and hasattr(target, "dialect"):  # an engine
        return _engine_ping(target)
    if callable(getattr(target, "exec_driver_sql", None)):  # a connection
        return lambda: target.exec_driver_sql("SELECT 1")
    if callable(getattr(target, "execute", None)) and callable(getattr(target, "get_bind", None)):  # a session
        from sqlalchemy import text

        return lambda: target.execute(text("SELECT 1"))
    if callable(_redis_ping(target)):
        return target.ping  # type: ignore[no-any-return]
    raise TypeError(f"cannot check {type(target).__qualname__}: not an engine, connection, session or Redis client")


def _engine_ping(engine: Any) -> Callable[[], Any]:
    if ".ext.asyncio" in type(engine).__module__:

        async def ping_async() -> None:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("SELECT 1")

        return ping_async

    def ping() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    return ping


def observe(provider: MeterProvider | None = None) -> None:
    """Report the latest result of each component to a meter provider from now on; once for each provider.

    Args:
        provider: None takes the global one.
    """
    provider = provider or get_meter_provider()
    with _lock:
        if provider in _observed:
            return
        _observed[provider] = True

    def status(_: CallbackOptions) -> Iterable[Observation]:
        with _lock:
            return [Observation(int(healthy), {semconv.COMPONENT: name}) for name, healthy in _latest.items()]

    meter = provider.get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
    meter.create_observable_gauge(
        semconv.METRIC_HEALTH,
        [status],
        unit="1",
        description="Result of the latest health check: 1 if the component answered, else 0.",
    )


# -- An endpoint --------------------------------------------------------------------------------------------------


class Healthz:
    """An ASGI application for ``/healthz``: 200 while every component answers, else 503, with the results as JSON.

    Args:
        timeout: s that one check may take.
        targets: What to check, by name; as for ``health_check``. Synchronous ones are checked in threads.

    Raises:
        ValueError: There is no target.
        TypeError: A target cannot be checked.

    Example:
        >>> Healthz()
        Traceback (most recent call last):
        ValueError: nothing to check: name targets, as in Healthz(shop=engine)
    """

    def __init__(self, timeout: float = _TIMEOUT, **targets: Any) -> None:
        self._targets = _checked(targets)
        self._timeout = timeout

    async def check(self) -> list[Health]:
        """Check every component, all at once."""
        return list(await asyncio.gather(*(self._one(name, target) for name, target in self._targets.items())))

    async def _one(self, name: str, target: Any) -> Health:
        began = perf_counter()
        try:
            if _is_asynchronous(target):
                checking: Awaitable[Health] = health_check(target, name)
            else:
                checking = asyncio.to_thread(health_check, target, name)
            return await asyncio.wait_for(checking, self._timeout)
        except asyncio.TimeoutError:
            return _result(name, began, "TimeoutError")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        results = await self.check()
        status, body = _answer(results)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class WSGIHealthz:
    """The same as a WSGI application, for synchronous targets.

    Args:
        targets: What to check, by name; as for ``health_check``. A check waits as long as the pool and driver do.

    Raises:
        ValueError: There is no target.
        TypeError: A target is asynchronous, or cannot be checked.
    """

    def __init__(self, **targets: Any) -> None:
        for name, target in targets.items():
            if _is_asynchronous(target):
                raise TypeError(f"{name} is asynchronous: use Healthz, the ASGI application")
        self._targets = _checked(targets)

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        """Answer one request."""
        status, body = _answer([health_check(target, name) for name, target in self._targets.items()])
        reason = "OK" if status == 200 else "Service Unavailable"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status} {reason}", headers)
        return [body]


def _checked(targets: dict[str, Any]) -> dict[str, Any]:
    """The same targets; what is wrong with them is raised when the application starts, and not at each request."""
    if not targets:
        raise ValueError("nothing to check: name targets, as in Healthz(shop=engine)")
    for target in targets.values():
        _ping_of(target)
    return targets


def _answer(results: list[Health]) -> tuple[int, bytes]:
    healthy = all(results)
    checks = {each.component: {k: v for k, v in asdict(each).items() if k != "component"} for each in results}
    body = json.dumps({"status": "ok" if healthy else "failed", "checks": checks}).encode()
    return 200 if healthy else 503, body


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.Lock()
    _latest.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
