"""When the application imports a module: dbsight imports no library to watch it.

``wrapt`` calls back when a module has been executed, before the importer gets it. It has no way to call a
hook off and calls each once; so one hook is registered with it for each module, and what it runs is kept here.
"""

from __future__ import annotations

import importlib._bootstrap
import importlib.util
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Patch = Callable[[ModuleType], object]

_waiting: dict[str, list[Patch]] = {}
_hooked: set[str] = set()
_registering = threading.local()
# What Python itself calls for a module that it finds half imported, 3.3 to 3.14; a deadlock is noticed there.
_wait: Callable[[str], None] | None = getattr(importlib._bootstrap, "_lock_unlock_module", None)
# A module of ``importlib.util.LazyLoader`` that is not loaded: any look at one of its attributes would load it.
_LAZY: type | None = getattr(importlib.util, "_LazyModule", None)
# Modules that a thread of the parent process was importing at the fork: nobody will end that here.
_orphaned: frozenset[str] = frozenset()
_lock = threading.Lock()  # held for a look at these two, never while anything is called


def when_imported(name: str, patch: Patch) -> None:
    """Call ``patch`` with a module: at once if it is imported, else as soon as the application has imported it.

    An ``Exception`` in ``patch`` is counted and logged, and the import goes on. An import that fails does not count; a
    lazy module is imported when it is used. Reloading a module does not call ``patch`` again.

    Args:
        name: Full name of the module, which need not exist. One that another thread is importing is waited for.
        patch: Called once, in whatever thread imports the module, unless ``forget`` is called first.
    """
    module = _loaded(name)
    if module is None:
        with _lock:
            _waiting.setdefault(name, []).append(patch)
            new = name not in _hooked
            _hooked.add(name)
        if new:
            _register(name)
        module = _loaded(name)  # another thread may have been about to import it
        if module is None or not forget(name, patch):
            return
    _run(name, patch, module)


def _register(name: str) -> None:
    """Let ``wrapt`` call back; not at once, where another thread has begun to import it: it is not complete then."""
    module = sys.modules.get(name)
    if _is_lazy(module):
        spec = object.__getattribute__(module, "__spec__")
        spec.loader = _LazyLoader(spec.loader)
        return
    _registering.name = name
    try:
        register_post_import_hook(_imported, name)
    finally:
        _registering.name = None


def forget(name: str, patch: Patch) -> bool:
    """Do not call what ``when_imported`` was given; gives whether it was still waiting."""
    with _lock:
        waiting = _waiting.get(name, [])
        if patch not in waiting:
            return False
        waiting.remove(patch)
        if not waiting:
            del _waiting[name]
        return True


def _loaded(name: str) -> ModuleType | None:
    """A module that is imported; one that another thread is importing, when that is over."""
    if name in _orphaned:
        return None
    if _wait is not None:
        _wait(name)
    module = sys.modules.get(name)
    return None if _is_lazy(module) else module


def _is_lazy(module: ModuleType | None) -> bool:
    return _LAZY is not None and type(module) is _LAZY


class _LazyLoader:
    """Stands for the loader of a lazy module until that is loaded, and tells of it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def exec_module(self, module: Any) -> None:
        self._loader.exec_module(module)
        module.__spec__.loader = self._loader
        _imported(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _imported(module: Any) -> None:
    name = module.__name__
    if getattr(_registering, "name", None) == name:
        with _lock:
            _hooked.discard(name)
        return
    with _lock:
        _hooked.discard(name)
        waiting = _waiting.pop(name, [])
    for patch in waiting:
        _run(name, patch, module)


def _run(name: str, patch: Patch, module: ModuleType) -> None:
    try:
        patch(module)
    except Exception:  # a release that we do not know, or one that is broken
        failed(f"instrument.imported.{name}")


def _after_fork() -> None:
    global _lock, _orphaned  # noqa: PLW0603 - a lock that another thread held at the fork would never be released
    _lock = threading.Lock()
    locks = {name: lock() for name, lock in getattr(importlib._bootstrap, "_module_locks", {}).items()}
    ours = {None, threading.get_ident()}
    _orphaned = frozenset(name for name, lock in locks.items() if getattr(lock, "owner", None) not in ours)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
