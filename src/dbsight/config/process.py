"""The settings of this process."""

from __future__ import annotations

import logging
import os
import threading

from dbsight.config.settings import Settings, forget_warnings

logger = logging.getLogger("dbsight")

_lock = threading.Lock()
in_force: Settings | None = None
"""What ``current`` gives, None until it is asked; read for each command, without a function."""


def current() -> Settings:
    """The settings in force: those handed to ``use``, else loaded from environment and file at the first call.

    Never raises.
    """
    if in_force is not None:
        return in_force
    return _load()


def _load() -> Settings:
    global in_force  # noqa: PLW0603 - one process, one set
    with _lock:
        if in_force is None:
            try:
                in_force = Settings.load()
            except Exception as error:
                logger.warning("dbsight: settings could not be loaded (%s); defaults are used", type(error).__name__)
                in_force = Settings()
        return in_force


def use(settings: Settings | None) -> None:
    """Set the current settings; None reloads them on next use."""
    global in_force  # noqa: PLW0603 - one process, one set
    with _lock:
        in_force = settings


def reset() -> None:
    """Forget settings and warnings: between tests."""
    use(None)
    forget_warnings()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a lock that another thread held at the fork would never be released
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
