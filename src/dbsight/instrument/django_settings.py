"""When Django's settings are known: OpenTelemetry's instrumentor of Django reads them as it is loaded.

``manage.py``, ``wsgi.py`` and ``pytest.ini`` say which module they are in, long after that. Without, the instrumentor
would configure empty ones, which the application keeps: no database, no middleware. Private: ``LazySettings._setup``,
Django 4.2 to 6.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

VARIABLE: Final = "DJANGO_SETTINGS_MODULE"


def when_configured(action: Callable[[], object]) -> None:
    """Call ``action`` as soon as the application has Django's settings, once; never if it does not use Django.

    Args:
        action: An ``Exception`` in it is counted and logged.
    """
    patches = Patches()

    def configured(*_: object) -> None:
        if patches:
            patches.undo()
            action()

    def imported(module: ModuleType) -> None:
        if module.settings.configured:
            action()
            return
        for name in ("_setup", "configure"):
            patches.wrap(module.LazySettings, name, after=configured)

    patches.when_imported("django.conf", imported)
