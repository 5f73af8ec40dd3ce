"""The libraries that are installed, instrumented without OpenTelemetry's SDK being configured or imported for it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from dbsight import config
from dbsight.catalog import INSTRUMENTORS, is_disabled
from dbsight.safety import guard, logger

_refused: list[bool] = []
"""Whether it was said that a sub-interpreter is not instrumented."""


@guard
def is_sub_interpreter() -> bool:
    """Whether this is not the interpreter that the process began with; says so once.

    OpenTelemetry's SDK starts threads, and a sub-interpreter that ends while it has any aborts the process; those with
    a lock of their own (Python 3.12) do not even load the extension modules of gRPC, psutil and SQLAlchemy.
    """
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    interpreters = importlib.import_module(name)
    # Before 3.13 an id, since then a tuple that begins with it.
    sub: bool = interpreters.get_current() != interpreters.get_main()
    if sub and not _refused:
        _refused.append(True)
        logger.warning("dbsight: sub-interpreters are not instrumented")
    return sub


@guard
def instrument_libraries() -> None:
    """Instrument the libraries that are installed and not disabled; those that are instrumented already stay so."""
    chosen = config.current()
    if not chosen.enabled or chosen.surroundings.sdk_disabled or is_sub_interpreter():
        return
    for entry_point, (library, ours) in INSTRUMENTORS.items():
        missing = ours.requires and importlib.util.find_spec(library) is None
        if missing or is_disabled(entry_point, chosen.surroundings.disabled_instrumentations):
            continue
        instrumentor = getattr(importlib.import_module(ours.module), ours.name)()
        if not instrumentor.is_instrumented_by_opentelemetry:
            _instrument(instrumentor)


@guard
def _instrument(instrumentor: Any) -> None:
    instrumentor.instrument()
