"""dbsight: an OpenTelemetry distribution that tells you why your database is slow.

The public face: names only, loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.distro import configure
    from dbsight.instrument.redis import RedisInstrumentor, ValkeyInstrumentor
    from dbsight.instrument.sqlalchemy import SQLAlchemyInstrumentor
    from dbsight.processor import DbsightSpanProcessor
    from dbsight.scope import allow
    from dbsight.version import __version__

_HOMES = {
    "DbsightSpanProcessor": "dbsight.processor",
    "RedisInstrumentor": "dbsight.instrument.redis",
    "SQLAlchemyInstrumentor": "dbsight.instrument.sqlalchemy",
    "Settings": "dbsight.config",
    "ValkeyInstrumentor": "dbsight.instrument.redis",
    "__version__": "dbsight.version",
    "allow": "dbsight.scope",
    "configure": "dbsight.distro",
}

__all__ = [  # noqa: PLE0604 - names that __getattr__ finds
    "DbsightSpanProcessor",
    "RedisInstrumentor",
    "SQLAlchemyInstrumentor",
    "Settings",
    "ValkeyInstrumentor",
    "__version__",
    "allow",
    "configure",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dbsight' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
